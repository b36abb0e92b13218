"""A sidecar that puts the real credential into an agent's LLM calls and measures them."""

__version__ = "0.1.0"
_HOME = f"https://agent-relay.example/v{__version__}"
DOCS = f"{_HOME}/docs"
"""Where the docs of this version are; the same as in ``project.urls``."""
EXAMPLES = f"{_HOME}/examples"
SECURITY = f"{_HOME}/SECURITY.md"
