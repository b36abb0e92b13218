"""What the suites share: peers, relays to test, certificates, configurations."""
