"""What the suites share: peers over sockets, relays to test, what they log, certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Final

FUSE_SECONDS: Final = 10.0
ROOT: Final = Path(__file__).parents[2]
