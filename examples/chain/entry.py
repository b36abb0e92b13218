"""Starts LiteLLM's proxy with its key and its pass, from files that the relay reads too.

It takes them from its environment alone, where ``docker inspect`` would show them if they stood in
the container's description.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

for name in ("LITELLM_MASTER_KEY", "RELAY_PASS"):
    if file := os.environ.pop(f"{name}_FILE", None):
        os.environ[name] = Path(file).read_text(encoding="ascii").strip()
os.execvp("litellm", ["litellm", *sys.argv[1:]])  # noqa: S606, S607  # no shell; the image's own
