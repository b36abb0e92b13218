"""A sidecar that puts the real credential into an agent's LLM calls and measures them."""

__version__ = "0.1.0"
