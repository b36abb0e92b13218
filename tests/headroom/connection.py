"""One client connection: bytes in, bytes out, and the news that the client has gone.

A protocol rather than a pair of streams, because a stream notices a departed client only
when somebody reads. Here the end of the input cancels the task that serves the connection,
at once, whatever it is waiting for. A client that shuts down only its sending side counts
as gone, as it does for uvicorn. Knows nothing of HTTP.
"""

import asyncio
import contextlib
import itertools
import socket
import struct
from collections.abc import Callable, Coroutine

# What is read ahead of the server, as in asyncio's own streams.
READ_AHEAD_BYTES = 64 * 1024
# Closing with unread input makes the kernel send a reset, which can overtake the answer
# (RFC 9112 §9.6): the rest is read and thrown away for this long.
LINGER_SECONDS = 1.0

# From accept(2) to the first step of a task that `connection_made` starts, in asyncio's own loop.
TURNS_TO_BEGIN = 4

_numbers = itertools.count(1)


async def stop_accepting(listener: asyncio.Server) -> None:
    """Close a listener, once each connection that it took has begun.

    Until then whoever drops the connections that there are knows nothing of it; and asyncio's own
    loop fails to begin one whose listener is closed, and leaves it open.
    """
    for each in listener.sockets:
        asyncio.get_running_loop().remove_reader(each.fileno())
    for _ in range(TURNS_TO_BEGIN):
        await asyncio.sleep(0)
    listener.close()


class LineTooLongError(Exception):
    """A line went on beyond its limit."""


class Connection(asyncio.Protocol):
    """Serves one connection with the given coroutine, which is cancelled when the client goes."""

    def __init__(self, serve: "Callable[[Connection], Coroutine[None, None, None]]") -> None:
        """Wait for a transport, then serve it."""
        self.number = next(_numbers)
        self._serve = serve
        self._buffer = bytearray()
        self._arrival = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._departed = asyncio.Event()
        self._closing = False
        self._discarding = False
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP: always a full transport
        """Start to serve."""
        self._transport = transport
        self._task = asyncio.get_running_loop().create_task(self._serve(self))

    def data_received(self, data: bytes) -> None:
        """Keep what came until it is read, and no more than that."""
        if self._discarding:
            return
        self._buffer += data
        if len(self._buffer) >= READ_AHEAD_BYTES:
            self._transport.pause_reading()
        self._arrival.set()

    def eof_received(self) -> None:
        """Take the end of the input for a departure."""
        self._depart()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take a lost connection for a departure, however it was lost."""
        del exc
        self._depart()

    def pause_writing(self) -> None:
        """Hold the writer until the client has read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let the writer go on."""
        self._writable.set()

    def _depart(self) -> None:
        self._departed.set()
        if not self._closing:
            self._task.cancel()

    @property
    def peer(self) -> str:
        """Return the address that the client calls from."""
        return str(self._transport.get_extra_info("peername")[0])

    async def wait_for_input(self) -> None:
        """Return as soon as there is something to read."""
        while not self._buffer:
            await self._more()

    async def read_some(self, limit: int) -> bytes:
        """Return what is there, at least one byte and at most `limit`."""
        await self.wait_for_input()
        return self._take(min(limit, len(self._buffer)))

    async def read_line(self, limit: int) -> bytes:
        """Return one line including its line feed; LineTooLongError beyond `limit` bytes."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched, limit)) < 0:
            searched = len(self._buffer)
            if searched >= limit:
                raise LineTooLongError
            await self._more()
        return self._take(end + 1)

    def has_input(self) -> bool:
        """Tell whether something was received that nobody has read."""
        return bool(self._buffer)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def _more(self) -> None:
        self._arrival.clear()
        self._transport.resume_reading()
        await self._arrival.wait()

    async def write(self, data: bytes) -> None:
        """Hand `data` to the kernel, once what was written before has nearly all gone."""
        await self._writable.wait()
        self._transport.write(data)

    def close(self) -> None:
        """Close after what was written has gone out."""
        self._closing = True
        self._transport.close()

    def reset(self) -> None:
        """Close with a TCP reset (SO_LINGER of zero seconds); what is queued is lost."""
        self._closing = True
        held = self._transport.get_extra_info("socket")
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    async def linger(self, seconds: float = LINGER_SECONDS) -> None:
        """Close so that the answer survives: end the output, discard input, then close."""
        self._closing = True
        self._discarding = True
        self._buffer.clear()
        if self._transport.can_write_eof() and not self._departed.is_set():
            self._transport.write_eof()
            self._transport.resume_reading()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._departed.wait()
        self._transport.close()

    async def shut(self) -> None:
        """Drop the connection and see its task end."""
        self._transport.abort()
        self._task.cancel()
        await asyncio.wait([self._task])
