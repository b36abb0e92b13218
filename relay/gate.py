"""The strict gate in front of aiohttp's server, one for each connection of an agent.

The gate reads every byte by the relay's own rules (``framing``, ``chunks``). What aiohttp
then gets is written by the gate: a bare head that says how long the body is, and the body.
So aiohttp keeps what it is good at (the life of a connection, the order of pipelined
requests, flow control of bodies, the cancelling of a handler whose agent has gone), and
neither its leniency nor its error pages can be reached. A refused request reaches the
handler in its turn, as a refusal; nothing behind it is read.
"""

from __future__ import annotations

import asyncio
import fcntl
import select
import socket
import struct
import termios
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from relay.chunks import LAST_CHUNK, ChunkReader, chunk
from relay.errors import MalformedRequest, RelayError, RequestStalled
from relay.framing import RequestHead, RequestHeadReader
from relay.headers import wants_close

# Apache allows 20 s for a head, nginx 60; an agent beside us sends it in one piece.
HEAD_SECONDS: Final = 10.0
# Requests read ahead of those answered. Clients in use pipeline none; nginx reads one.
PIPELINE_LIMIT: Final = 16
LINGER_SECONDS: Final = 2.0  # nginx's lingering_timeout is 5 s
_FLUSH_POLL_SECONDS: Final = 0.01
_BARE_HEAD: Final = b"GET / HTTP/1.1\r\nHost: gate\r\n"
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Incoming:
    """A request as the gate read it: its head, or why it was refused."""

    head: RequestHead | None = None
    refusal: RelayError | None = None
    broken: bool = False
    """Whether its body turned out malformed; known once the body has ended."""


class Register(Protocol):
    """Where gates say that they opened, closed, or finished a request."""

    def opened(self, gate: Gate) -> None:
        """Note a new connection."""

    def closed(self, gate: Gate) -> None:
        """Note that a connection has gone."""

    def request_over(self) -> None:
        """Note that a request has been answered, or given up."""


class Gate(asyncio.Protocol):
    """One connection from an agent, read strictly before the inner protocol sees it."""

    def __init__(self, inner: asyncio.Protocol, register: Register) -> None:
        self._inner = inner
        self._register = register
        self._loop = asyncio.get_running_loop()
        self._incoming: deque[Incoming] = deque()
        self._latest = Incoming()
        self._reader = RequestHeadReader()
        self._head_timer: asyncio.TimerHandle | None = None
        self._take: Callable[[bytes], bytes] = self._take_head
        self._remaining = 0
        self._chunks = ChunkReader(MalformedRequest)
        self._transport: asyncio.Transport | None = None
        self._held = b""
        self._on_writable: Callable[[bool], None] | None = None
        self.writable = True
        """Whether the agent keeps up with what is written."""
        self.framed = True
        """Whether the agent can tell a complete answer from one that broke off."""
        self.busy = 0
        """Requests that are read or answered now."""
        self.closing_since: float | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP or TLS: always a full transport
        self._transport = transport
        self._register.opened(self)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._held or len(self._incoming) >= PIPELINE_LIMIT:
            self._hold(data)
            return
        try:
            while data:
                data = self._take(data)
                if data and len(self._incoming) >= PIPELINE_LIMIT:
                    self._hold(data)
                    return
        except RelayError as error:
            self._refuse(error)

    def _hold(self, data: bytes) -> None:
        """Take no further requests until some of those that wait are answered."""
        self._held += data
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _let_go(self) -> None:
        if self._held and len(self._incoming) < PIPELINE_LIMIT // 2:
            data, self._held = self._held, b""
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
            self.data_received(data)

    def eof_received(self) -> None:
        # An agent that closes its sending side cannot be told from one that has gone.
        self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._register.closed(self)
        self._stop_head_timer()
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()
        self._set_writable(value=False)

    def resume_writing(self) -> None:
        self._inner.resume_writing()
        self._set_writable(value=True)

    def _set_writable(self, *, value: bool) -> None:
        self.writable = value
        if self._on_writable is not None:
            self._on_writable(value)

    # Reading

    def _take_head(self, data: bytes) -> bytes:
        if self._head_timer is None:
            self._head_timer = self._loop.call_later(HEAD_SECONDS, self._refuse, RequestStalled())
        if not self._reader.feed(data):
            return b""
        self._stop_head_timer()
        head, rest = self._reader.head(), self._reader.rest
        self._reader = RequestHeadReader()
        self._pass_on_head(head)
        return rest

    def _pass_on_head(self, head: RequestHead) -> None:
        self._queue(Incoming(head=head))
        if head.chunked:
            self._take, self._chunks = self._take_chunks, ChunkReader(MalformedRequest)
            self._inner.data_received(_BARE_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        elif head.length:
            self._take, self._remaining = self._take_sized, head.length
            self._inner.data_received(_BARE_HEAD + b"Content-Length: %d\r\n\r\n" % head.length)
        else:
            self._end_of_request()
            self._inner.data_received(_BARE_HEAD + b"\r\n")

    def _take_sized(self, data: bytes) -> bytes:
        piece, rest = data[: self._remaining], data[self._remaining :]
        self._remaining -= len(piece)
        if not self._remaining:
            self._end_of_request()
        self._inner.data_received(piece)
        return rest

    def _take_chunks(self, data: bytes) -> bytes:
        piece = chunk(self._chunks.feed(data))
        if not self._chunks.ended:
            if piece:
                self._inner.data_received(piece)
            return b""
        self._end_of_request()
        self._inner.data_received(piece + LAST_CHUNK)
        return self._chunks.rest

    def _end_of_request(self) -> None:
        head = self._latest.head
        last = head is None or wants_close(head)
        self._take = _discard if last else self._take_head

    def _queue(self, incoming: Incoming) -> None:
        self._latest = incoming
        self._incoming.append(incoming)
        self.busy += 1

    def _refuse(self, error: RelayError) -> None:
        """Let a refusal take its turn, and read nothing more."""
        self._stop_head_timer()
        in_body = self._take == self._take_chunks
        self._take = _discard
        if in_body:
            self._latest.broken = True
            self._inner.data_received(LAST_CHUNK)
            if not self.busy:
                self.close()  # it has been answered already
        else:
            self._queue(Incoming(refusal=error))
            self._inner.data_received(_BARE_HEAD + b"\r\n")

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    # For the handler of a call

    def next_request(self) -> Incoming:
        """Return the request whose turn it is; called once by each handler."""
        return self._incoming.popleft()

    def finish_request(self) -> None:
        """Note that a request has been answered, or given up."""
        self.busy -= 1
        self._register.request_over()
        self._let_go()

    @property
    def local_address(self) -> str:
        """The IP address that the agent connected to."""
        return self._address("sockname")

    def _address(self, name: str) -> str:
        info = self._transport.get_extra_info(name) if self._transport is not None else None
        return str(info[0]) if info else ""

    def write(self, data: bytes) -> None:
        """Queue bytes for the agent."""
        if self._transport is not None:
            self._transport.write(data)

    def watch(self, on_writable: Callable[[bool], None] | None) -> None:
        """Have a function told when the agent falls behind, and when it has caught up."""
        self._on_writable = on_writable

    async def catch_up(self, limit_seconds: float) -> None:
        """Let the agent take its answer, and other connections have their turn.

        Without this a flood of pipelined requests would be answered in one go, into memory.
        """
        if self._incoming:
            await asyncio.sleep(0)
        if self.writable:
            return
        caught_up = asyncio.Event()
        self.watch(lambda writable: caught_up.set() if writable else None)
        try:
            async with asyncio.timeout(limit_seconds):
                await caught_up.wait()
        except TimeoutError:
            self.abort()
        finally:
            self.watch(None)

    @property
    def unsent(self) -> int:
        """Bytes that wait for the agent in this process."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def abort(self) -> None:
        """Cut the connection at once; what waits for the agent is lost.

        Without framing only a reset tells the agent so: an end would look like the answer's.
        """
        if self._transport is not None:
            if not self.framed:
                handle = self._transport.get_extra_info("socket")
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()

    def close(self) -> None:
        """Close the connection once what waits for the agent is sent."""
        if self._transport is not None:
            self._transport.close()

    async def break_off(self, limit_seconds: float) -> None:
        """End an answer that is not complete, so that nobody takes it for complete.

        A framed one shows by itself that something is missing once the connection closes.
        For the others (``framed`` is False) only a reset does, once what there is is sent.
        """
        if self.framed:
            self.close()
            return
        deadline = self._loop.time() + limit_seconds
        while self._transport is not None and self._loop.time() < deadline:
            handle = self._transport.get_extra_info("socket")
            if not self.unsent and not _unacknowledged(handle):
                break
            await asyncio.sleep(_FLUSH_POLL_SECONDS)
        self.abort()

    def cut(self) -> None:
        """End an incomplete answer now."""
        if self.framed:
            self.close()
        else:
            self.abort()

    async def linger(self) -> None:
        """Close the sending side, and drop what still comes for a moment.

        Closing with bytes unread would reset the connection, and the agent might lose the
        answer that says why (RFC 9112 §9.6).
        """
        self._take = _discard
        if self._transport is not None:
            self._transport.write_eof()
            self._transport.resume_reading()
            await asyncio.sleep(LINGER_SECONDS)
            self.close()

    # For the register, from time to time

    def notice_departure(self) -> None:
        """Cut the connection if the agent has hung up while nothing is read from it.

        The event loop sees an end only by reading, and does not read while a body waits
        for the upstream; the kernel tells (POLLRDHUP), unless unread bytes fill its window.
        """
        transport = self._transport
        if transport is None or transport.is_closing() or transport.is_reading():
            return
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        if poll.poll(0):
            transport.abort()

    def cut_if_stuck(self, limit_seconds: float) -> None:
        """Cut a closing connection whose agent does not take what was left for it."""
        if self._transport is None or not self._transport.is_closing():
            return
        now = self._loop.time()
        self.closing_since = self.closing_since or now
        if now - self.closing_since > limit_seconds:
            self.abort()


def _discard(_: bytes) -> bytes:
    """Drop what follows the last request that is answered on a connection."""
    return b""


def _unacknowledged(handle: socket.socket) -> int:
    """Return how many bytes the kernel still holds for the peer (tcp(7), SIOCOUTQ)."""
    answer = fcntl.ioctl(handle.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    return int(struct.unpack("i", answer)[0])
