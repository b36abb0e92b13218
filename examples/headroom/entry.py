"""Starts Headroom with the token that it wants to be called with, from a file that others read too.

Headroom takes it from its environment alone, where ``docker inspect`` would show it if it stood in
the container's description.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if file := os.environ.pop("HEADROOM_PROXY_TOKEN_FILE", None):
    os.environ["HEADROOM_PROXY_TOKEN"] = Path(file).read_text(encoding="ascii").strip()
os.execvp("headroom", ["headroom", *sys.argv[1:]])  # noqa: S606, S607  # no shell; the image's own
