"""The answering of one request: framing an answer, writing it piece by piece.

Every piece is written by itself, in a turn of the event loop of its own, and its time is
recorded. It is for the modes to decide what to write; how the bytes are framed for the
version and method of the request is decided here.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from .answers import Answer
from .arguments import Arguments
from .connection import Connection
from .forwarder import Forwarder
from .record import Exchange
from .wire import LAST_CHUNK, Header, RequestHead, chunk, response_head

# Observed: what Headroom needs between message_stop and the last chunk.
LAST_CHUNK_DELAY_SECONDS = 0.01


@dataclass
class Answering:
    """A request, what is usually answered to it, and the connection to answer on."""

    connection: Connection
    head: RequestHead
    exchange: Exchange
    usual: Answer
    arguments: Arguments
    body: AsyncIterator[bytes]
    gap_seconds: float
    forwarder: Forwarder | None = None
    keep: bool = True
    _chunked: bool = field(default=False, init=False)

    async def begin(self, answer: Answer) -> None:
        """Write the head of an answer."""
        self._chunked = answer.streamed and self.head.version == "1.1"
        fields = (*answer.headers, *self._framing(answer))
        await self.connection.write(response_head(answer.status, answer.reason, fields))

    def _framing(self, answer: Answer) -> Iterable[Header]:
        if self._chunked:
            yield ("transfer-encoding", "chunked")
        elif not answer.streamed:
            yield ("content-length", str(answer.length))
        self.keep = self.keep and not self.head.closes()
        if not self.keep:
            yield ("connection", "close")

    async def send(self, pieces: Iterable[bytes], gap_seconds: float = 0.0) -> None:
        """Write pieces of the body, each at its own time."""
        for index, piece in enumerate(pieces):
            await asyncio.sleep(gap_seconds if index else 0.0)
            await self._write(self._framed(piece))

    async def burst(self, pieces: Iterable[bytes]) -> None:
        """Write pieces of the body and its end all at once."""
        await self._write(b"".join(map(self._framed, pieces)) + self._last())

    async def end(self) -> None:
        """End the body."""
        if last := self._last():
            await asyncio.sleep(LAST_CHUNK_DELAY_SECONDS)
            await self.connection.write(last)

    async def whole(self, answer: Answer) -> None:
        """Write all of an answer, with the gap that was asked for between its pieces."""
        await self.begin(answer)
        await self.send(answer.pieces, self.gap_seconds)
        await self.end()

    async def raw(self, data: bytes) -> None:
        """Write bytes as they are, head and all."""
        await self._write(data)

    def _framed(self, piece: bytes) -> bytes:
        if self.head.method == "HEAD":
            return b""
        return chunk(piece) if self._chunked and piece else piece

    def _last(self) -> bytes:
        return LAST_CHUNK if self._chunked and self.head.method != "HEAD" else b""

    async def _write(self, data: bytes) -> None:
        if data:
            await self.connection.write(data)
            self.exchange.events.append(time.time())
