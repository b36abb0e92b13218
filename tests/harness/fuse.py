"""How long a test waits for what must come: a fuse against hanging, never a pause."""

from __future__ import annotations

from typing import Final

FUSE_SECONDS: Final = 10.0
