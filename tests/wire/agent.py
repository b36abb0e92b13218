"""An agent that writes raw bytes, cut as it likes, and keeps every byte that comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

from tests.harness import FUSE_SECONDS
from tests.wire.strict import Partial, Response, read_response


class RawAgent(asyncio.Protocol):
    """One connection to the relay."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.ending: Literal["", "end", "reset"] = ""
        self.transport: asyncio.Transport
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP: always a full transport
        """Begin."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep what came."""
        self.received += data
        self._changed.set()

    def eof_received(self) -> bool:
        """Note that nothing more will come; stay open for writing."""
        self.ending = self.ending or "end"
        self._changed.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end, and whether it was a reset."""
        self.ending = self.ending or ("reset" if exc else "end")
        self._changed.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """Note that nobody takes what is written."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Note that it is taken again."""
        self._writable.set()

    async def send(self, pieces: Sequence[bytes]) -> None:
        """Write each piece by itself: the relay reads between them."""
        for piece in pieces:
            if self.transport.is_closing():
                return
            self.transport.write(piece)
            await self._writable.wait()
            if len(pieces) > 1:
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    def answers(self, methods: Sequence[bytes]) -> list[Response]:
        """Return the answers so far, to requests with these methods."""
        data, position = bytes(self.received), 0
        answers: list[Response] = []
        while position < len(data):
            method = methods[len(answers)] if len(answers) < len(methods) else b"GET"
            try:
                answer = read_response(data, position, method=method, closed=self.ending == "end")
            except Partial:
                break
            answers.append(answer)
            position = answer.end
        return answers

    async def until(self, condition: Callable[[], bool], seconds: float = FUSE_SECONDS) -> None:
        """Wait until something is true of what came, or nothing more will come."""
        async with asyncio.timeout(seconds):
            while not self.ending and not condition():
                self._changed.clear()
                await self._changed.wait()

    async def gone(self, seconds: float = FUSE_SECONDS) -> None:
        """Wait until the relay has ended the connection."""
        await self.until(lambda: False, seconds)


async def connect(port: int) -> RawAgent:
    """Connect an agent to a relay."""
    loop = asyncio.get_running_loop()
    _, agent = await loop.create_connection(RawAgent, "127.0.0.1", port)
    return agent
