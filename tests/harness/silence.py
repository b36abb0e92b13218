"""Ports that nobody gets anywhere with: one refuses, one accepts nobody, one does no TLS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def refusing() -> Iterator[int]:
    """Hold a port that nobody listens on, so that nobody else comes to; yield it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextmanager
def accepting_nobody(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Listen with a queue that is full, so that what comes is dropped; yield the port."""
    with socket.socket() as full:
        full.bind((host, port))
        full.listen(0)
        port = full.getsockname()[1]
        with socket.create_connection((host, port)):
            yield port


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
