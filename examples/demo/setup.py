"""Writes what the relay serves by while the demo runs: an agent.yaml, and a made-up key.

Both are in a volume in memory, where the relay looks first. Whoever has a configuration of
their own (RELAY_CONFIG_DIR) keeps it.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

FOLDER = Path("/run/demo")


def write(name: str, text: str) -> None:
    """Put a file in its place, for the relay to read."""
    fresh = FOLDER / f".{name}"
    fresh.write_text(text, encoding="ascii")
    fresh.chmod(0o444)
    fresh.replace(FOLDER / name)


def main() -> None:
    """Write both, unless there is a configuration already."""
    if os.environ["OWN_CONFIG"]:
        sys.stdout.write("RELAY_CONFIG_DIR is set: the relay serves by the agent.yaml there\n")
        return
    write("anthropic_api_key", f"sk-ant-api03-made-up-{secrets.token_urlsafe(32)}")
    write("agent.yaml", os.environ["CONFIG"])


if __name__ == "__main__":
    main()
