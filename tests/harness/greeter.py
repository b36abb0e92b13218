"""A server that says a word to whoever connects."""

from __future__ import annotations

import asyncio
from typing import Final

GREETING: Final = b"relay"


class Greeter(asyncio.Protocol):
    """Says it and ends the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP
        """Greet."""
        transport.write(GREETING)
        transport.close()
