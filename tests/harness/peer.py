"""Either end of a connection, played by a test over a socket.

A test writes the bytes, waits for what comes, and ends the connection in any way there is. Nothing
here sleeps; time limits are fuses.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.harness import FUSE_SECONDS
from tests.harness.secrets import CREDENTIALS

Ending = Literal["", "end", "reset"]


class Ended(Exception):
    """The other side ended before what was waited for had come."""


@dataclass
class Message:
    """A request or a response as far as it came; ``complete`` says what its framing said."""

    start: bytes
    fields: list[tuple[bytes, bytes]]
    pieces: list[bytes] = field(default_factory=list)
    complete: bool = False

    @property
    def body(self) -> bytes:
        """The body without its framing."""
        return b"".join(self.pieces)

    def values(self, name: str) -> list[bytes]:
        """Return the values of the fields of that name, in any case."""
        return [value for key, value in self.fields if key.lower() == name.encode().lower()]

    @property
    def names(self) -> list[bytes]:
        """The names of the fields in lower case, in order."""
        return [key.lower() for key, _ in self.fields]


@dataclass
class Answer(Message):
    """What an agent got."""

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.start.split(b" ")[1])

    @property
    def outcome(self) -> str:
        """The ``x-relay-error`` header, or empty."""
        return b"".join(self.values("x-relay-error")).decode()

    @property
    def error(self) -> dict[str, Any]:
        """The error in the body, in the shape of either API."""
        return dict(json.loads(self.body)["error"])


@dataclass
class Request(Message):
    """What an upstream got."""

    @property
    def method(self) -> bytes:
        """The method."""
        return self.start.split(b" ")[0]

    @property
    def target(self) -> bytes:
        """The request target."""
        return self.start.split(b" ")[1]


class Peer(asyncio.Protocol):
    """One end of a connection: keeps what came, however the connection ended."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.ending: Ending = ""
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self.lost = asyncio.Event()
        self.transport: asyncio.Transport

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP or TLS: always a full transport
        """Begin."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep what came."""
        self.received += data
        self._changed.set()

    def eof_received(self) -> bool:
        """Note that nothing more will come; stay open for writing where that can be."""
        self._end("end")
        return not self.transport.get_extra_info("sslcontext")

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end, and whether it was a reset."""
        self._end("reset" if exc else "end")
        self._writable.set()
        self.lost.set()

    def pause_writing(self) -> None:
        """Note that nobody takes what is written."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Note that it is taken again."""
        self._writable.set()

    def _end(self, ending: Ending) -> None:
        self.ending = self.ending or ending
        self._changed.set()

    # Bytes

    async def send(self, data: bytes) -> None:
        """Write bytes, and wait until the transport wants more."""
        self.transport.write(data)
        async with asyncio.timeout(FUSE_SECONDS):
            await self._writable.wait()

    async def dribble(self, data: bytes) -> None:
        """Write bytes one at a time, each in a turn of the event loop of its own."""
        for byte in data:
            if self.ending:
                return
            await self.send(bytes([byte]))
            await asyncio.sleep(0)

    async def push(self, data: bytes, total: int, quiet_seconds: float = 0.25) -> int:
        """Write data over and over up to a total; return how much until nobody took more."""
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < total and not self.ending:
                self.transport.write(data)
                sent += len(data)
                async with asyncio.timeout(quiet_seconds):
                    await self._writable.wait()
        return sent

    async def wait(self) -> None:
        """Wait for something to come, or the end, for however long."""
        self._changed.clear()
        await self._changed.wait()

    async def _more(self) -> None:
        if self.ending:
            raise Ended
        async with asyncio.timeout(FUSE_SECONDS):
            await self.wait()

    def _take(self, count: int) -> bytes:
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken

    async def some(self, limit: int = 1 << 30) -> bytes:
        """Return what is there, at least a byte; raise Ended at the end."""
        while not self.received:
            await self._more()
        return self._take(limit)

    async def exactly(self, count: int) -> bytes:
        """Return so many bytes; raise Ended if they do not come."""
        while len(self.received) < count:
            await self._more()
        return self._take(count)

    async def line(self, end: bytes = b"\r\n") -> bytes:
        """Return bytes up to an end, without it; raise Ended if it does not come."""
        while (position := self.received.find(end)) < 0:
            await self._more()
        line = self._take(position)
        self._take(len(end))
        return line

    async def rest(self) -> bytes:
        """Return everything up to the connection's end, whatever the end was."""
        await self.gone()
        return self._take(len(self.received))

    async def gone(self) -> Ending:
        """Wait for the other side to end the connection, and return how."""
        with contextlib.suppress(Ended):
            while True:
                await self._more()
        return self.ending

    # Ways to end

    def leave(self) -> None:
        """Close the connection."""
        self.transport.close()

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self.transport.write_eof()

    def reset(self) -> None:
        """Reset the connection."""
        handle = self.transport.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def hold(self) -> None:
        """Read no more for now."""
        self.transport.pause_reading()

    def read_on(self) -> None:
        """Read again."""
        self.transport.resume_reading()

    # Messages

    async def _head(self) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        start, *lines = (await self.line(b"\r\n\r\n")).split(b"\r\n")
        pairs = [line.split(b":", 1) for line in lines]
        return start, [(name, value.strip(b" \t")) for name, value in pairs]

    async def piece(self, message: Message) -> bytes:
        """Return a body's next chunk, or what is there of it; empty at its end."""
        if message.complete:
            return b""
        if message.values("transfer-encoding") == [b"chunked"]:
            piece = await self.exactly(int(await self.line(), 16))
            assert await self.line() == b""
        elif lengths := message.values("content-length"):
            missing = int(lengths[0]) - len(message.body)
            piece = await self.some(missing) if missing else b""
        elif isinstance(message, Request):
            piece = b""
        else:
            piece = await self._piece_until_close()
        message.complete = not piece
        message.pieces += [piece] if piece else []
        return piece

    async def _piece_until_close(self) -> bytes:
        try:
            return await self.some()
        except Ended:
            if self.ending == "reset":
                raise
            return b""

    async def finish(self, message: Message) -> None:
        """Read a body as far as it comes."""
        with contextlib.suppress(Ended):
            while await self.piece(message):
                pass


class Agent(Peer):
    """An agent's connection to the relay."""

    async def head(self, *, bodiless: bool = False) -> Answer:
        """Read a response's head; 204, 304 and those to HEAD have no body."""
        start, fields = await self._head()
        answer = Answer(start, fields)
        answer.complete = bodiless or answer.status in (100, 204, 304)
        return answer

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """Read a response, as far as it comes, and see that it gives no credential away."""
        answer = await self.head(bodiless=bodiless)
        await self.finish(answer)
        whole = repr(answer)
        assert not any(credential in whole for credential in CREDENTIALS)
        return answer

    async def ask(self, data: bytes) -> Answer:
        """Send a request and read its answer."""
        await self.send(data)
        return await self.answer(bodiless=data.startswith(b"HEAD "))


class Caller(Peer):
    """The relay's connection to an upstream."""

    def __init__(
        self, on_open: Callable[[Caller], None], on_call: Callable[[Caller], None]
    ) -> None:
        super().__init__()
        self._on_open = on_open
        self._on_call = on_call
        self._silent = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as above
        """Begin."""
        super().connection_made(transport)
        self._on_open(self)

    def data_received(self, data: bytes) -> None:
        """Keep what came."""
        super().data_received(data)
        if self._silent:
            self._silent = False
            self._on_call(self)

    async def head(self) -> Request:
        """Read a request's head."""
        return Request(*await self._head())

    async def request(self) -> Request:
        """Read a request, as far as it comes."""
        request = await self.head()
        await self.finish(request)
        return request
