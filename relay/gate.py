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
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from relay.agent import AgentConnection
from relay.chunks import LAST_CHUNK, ChunkReader, chunk
from relay.errors import MalformedRequest, RelayError, RequestStalled
from relay.framing import RequestHead, RequestHeadReader
from relay.headers import wants_close

# Apache allows 20 s for a head, nginx 60; an agent beside us sends it in one piece.
HEAD_SECONDS: Final = 10.0
# Requests read ahead of those answered. Clients in use pipeline none; nginx reads one.
PIPELINE_LIMIT: Final = 16
_BARE_HEAD: Final = b"GET / HTTP/1.1\r\nHost: gate\r\n"


@dataclass(slots=True)
class Incoming:
    """A request as the gate read it: its head, or why it was refused."""

    head: RequestHead | None = None
    refusal: RelayError | None = None
    broken: bool = False
    """Whether its body turned out malformed; known once the body has ended."""

    def read(self) -> RequestHead:
        """Return the head of a request that may be handled; raise what is wrong with it."""
        if self.refusal is not None:
            raise self.refusal
        if self.head is None or self.broken:
            raise MalformedRequest
        return self.head


class Register(Protocol):
    """Where gates say that they opened, closed, or finished a request."""

    def opened(self, gate: Gate) -> None:
        """Note a new connection."""

    def closed(self, gate: Gate) -> None:
        """Note that a connection has gone."""

    def request_over(self) -> None:
        """Note that a request has been answered, or given up."""


class Gate(AgentConnection):
    """One connection from an agent, read strictly before the inner protocol sees it."""

    def __init__(self, inner: asyncio.Protocol, register: Register) -> None:
        super().__init__()
        self._inner = inner
        self._register = register
        self._incoming: deque[Incoming] = deque()
        self._latest = Incoming()
        self._reader = RequestHeadReader()
        self._head_timer: asyncio.TimerHandle | None = None
        self._take: Callable[[bytes], bytes] = self._take_head
        self._remaining = 0
        self._chunks = ChunkReader(MalformedRequest)
        self._held = b""
        self.busy = 0
        """Requests that are read or answered now."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP or TLS: always a full transport
        super().connection_made(transport)
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
        super().connection_lost(exc)
        self._register.closed(self)
        self._stop_head_timer()
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
        super().resume_writing()

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

    async def catch_up(self, limit_seconds: float) -> None:
        """Let other connections have their turn if requests wait here, and the agent its answer.

        Without this a flood of pipelined ones would be answered in one go, into memory.
        """
        if self._incoming:
            await asyncio.sleep(0)
        await super().catch_up(limit_seconds)

    async def linger(self) -> None:
        self._take = _discard
        await super().linger()


def _discard(_: bytes) -> bytes:
    """Drop what follows the last request that is answered on a connection."""
    return b""
