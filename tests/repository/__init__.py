"""What the repository promises beside its code: docs, locks, manifests, stand-ins."""
