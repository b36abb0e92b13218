"""One end of a connection over a real socket: bytes, messages, and every way to end.

A test writes the bytes of either side, waits for what comes out at the other, and ends
connections in any way there is. Nothing here sleeps; time limits are fuses.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Literal

from tests.harness.fuse import FUSE_SECONDS
from tests.harness.message import Message, Request

Ending = Literal["", "end", "reset"]


class Ended(Exception):
    """The other side ended before what was waited for had come."""


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
