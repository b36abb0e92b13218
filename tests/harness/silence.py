"""A listener that takes part in no handshake."""

from __future__ import annotations

import asyncio


class NoTls:
    """A listener that says one thing to whoever says something, or nothing; and listens."""

    def __init__(self, answer: bytes) -> None:
        self.heard = b""
        self.port = 0
        self._answer = answer
        self._server: asyncio.Server

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            self.heard += data
            writer.write(self._answer)
        writer.close()

    def stop(self) -> None:
        """Listen no more."""
        self._server.close()
