"""One connection to an upstream: a request goes out, a response head and its body come back.

This is the relay's sending side, behind one seam: ``Connection.begin`` takes a prepared head
and a body and returns what waits for the response's head; ``Reply`` then pushes the body, each
piece as it was read, without a task between the socket and the sink. Back-pressure is a
pause of reading. Nothing is decompressed, followed, stored or sent twice.

Knows nothing of grants, routes or the agent; ``pool`` decides which connection is used.
"""

from __future__ import annotations

import asyncio
import logging
import math
import select
import time
from collections.abc import Awaitable, Callable
from typing import Final

from relay.bodies import BodyReader
from relay.chunks import LAST_CHUNK, chunk
from relay.errors import (
    RelayError,
    RelayFault,
    UpstreamMalformed,
    UpstreamStalled,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
    UpstreamUpgraded,
)
from relay.framing import ResponseHead, ResponseHeadReader
from relay.headers import wants_close
from relay.seam import Body, Limits, Reply, Sink

log = logging.getLogger("relay")

# Interim answers carry nothing for the agent; more of them than this is no HTTP server.
_INTERIM_LIMIT: Final = 16


class Connection(asyncio.Protocol):
    """One connection to an upstream, which carries one call at a time."""

    def __init__(
        self,
        on_free: Callable[[Connection], None],
        on_lost: Callable[[Connection], None],
    ) -> None:
        self._on_free = on_free
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._exchange: _Exchange | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._poll = select.poll()
        self.deadline = Deadline(asyncio.get_running_loop())
        """By when the upstream must have been heard."""
        self.idle_since = 0.0
        """When it became free, on the event loop's clock."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP or TLS: always a full transport
        self._transport = transport
        handle = transport.get_extra_info("socket")
        self._poll.register(handle.fileno(), select.POLLIN | select.POLLRDHUP)

    def data_received(self, data: bytes) -> None:
        if self._exchange is None:
            self.abort()  # nothing was asked, so whatever this is belongs to no call
        else:
            self._exchange.take(data)

    def eof_received(self) -> None:
        if self._exchange is not None:
            self._exchange.take_end()

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self.deadline.cancel()
        self._on_lost(self)
        self._writable.set()
        if self._exchange is not None:
            self._exchange.lose()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # For the pool

    @property
    def transport(self) -> asyncio.Transport | None:
        """The transport, while there is a connection."""
        return self._transport

    @property
    def is_open(self) -> bool:
        """Whether the connection can still carry a call."""
        return self._transport is not None and not self._transport.is_closing()

    def is_quiet(self) -> bool:
        """Whether the connection is open and nothing, not even its end, waits to be read.

        The event loop has not heard yet of what came this instant; the kernel has.
        """
        return self.is_open and not self._poll.poll(0)

    def abort(self) -> None:
        """Cut the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # For a call

    def begin(self, head: bytes, body: Body, limits: Limits, *, bodiless: bool) -> Awaitable[Reply]:
        """Send a request's head now; return what waits for the response's.

        ``bodiless`` says that the response has no body whatever its head says (HEAD). What is
        returned must be awaited. It raises an UpstreamError if there is no valid answer, or
        what the body's iterator raised.
        """
        if not self.is_open:
            raise UpstreamUnreachable
        exchange = _Exchange(self, limits, bodiless=bodiless)
        self._exchange = exchange
        try:
            exchange.start(head, body)
        except BaseException:
            exchange.close()
            raise
        return self._wait_for_head(exchange)

    async def _wait_for_head(self, exchange: _Exchange) -> Reply:
        try:
            await exchange.head_arrived
        except BaseException:
            exchange.close()
            raise
        return exchange

    def write(self, data: bytes) -> None:
        """Queue bytes for the upstream."""
        if self._transport is not None:
            self._transport.write(data)

    async def drain(self, limit_seconds: float) -> None:
        """Wait until the upstream takes more.

        Raises:
            UpstreamTimeout: It took nothing for so long.
        """
        if self._writable.is_set():
            return
        try:
            async with asyncio.timeout(limit_seconds):
                await self._writable.wait()
        except TimeoutError:
            raise UpstreamTimeout from None

    def release(self, *, reusable: bool) -> None:
        """End the call that is on this connection."""
        self._exchange = None
        if reusable and self.is_open:
            self._on_free(self)
        else:
            self.abort()


class Deadline:
    """A moment that moves with every call, and one timer that catches up with it.

    A timer of its own for every limit of every call would cost as much as reading a head.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._at = math.inf
        self._on_passed: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def set(self, seconds: float, on_passed: Callable[[], None]) -> None:
        """Have a function called so many seconds from now, in place of any other."""
        self._at = self._loop.time() + seconds
        self._on_passed = on_passed
        if self._at < self._timer_at:
            self._start_timer()

    def clear(self) -> None:
        """Have nothing called."""
        self._at = math.inf
        self._on_passed = None

    def cancel(self) -> None:
        """Have nothing called, and leave no timer behind."""
        self.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._timer_at = None, math.inf

    def _start_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._at
        self._timer = self._loop.call_at(self._at, self._catch_up)

    def _catch_up(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._at > self._loop.time():
            if self._at < math.inf:
                self._start_timer()
        elif self._on_passed is not None:
            on_passed = self._on_passed
            self.clear()
            on_passed()


class _Exchange:
    """One request and its response on a connection."""

    def __init__(self, connection: Connection, limits: Limits, *, bodiless: bool) -> None:
        self._connection = connection
        self._deadline = connection.deadline
        self._limits = limits
        self._bodiless = bodiless
        self._loop = asyncio.get_running_loop()
        self.head_arrived: asyncio.Future[None] = self._loop.create_future()
        self._body_ended: asyncio.Future[None] = self._loop.create_future()
        self._reader = ResponseHeadReader()
        self._head: ResponseHead | None = None
        self._interim_count = 0
        self._body: BodyReader | None = None
        self._early: list[bytes] = []
        self._sink: Sink = self._early.append
        self._upload: asyncio.Task[None] | None = None
        self._sent = False
        self._paused = False
        self._closed = False
        self.heard_at = 0.0

    # Sending

    def start(self, head: bytes, body: Body) -> None:
        whole = body.whole()
        if whole is None:
            self._connection.write(head)
            self._upload = self._loop.create_task(self._send_body(body))
            return
        if body.chunked:
            whole = chunk(whole) + LAST_CHUNK
        self._connection.write(head + whole)
        self._request_sent()

    async def _send_body(self, body: Body) -> None:
        try:
            async for piece in body.pieces():
                self._connection.write(chunk(piece) if body.chunked else piece)
                await self._connection.drain(self._limits.write)
            if body.chunked:
                self._connection.write(LAST_CHUNK)
        except RelayError as error:
            self._fail(error)
        except Exception:
            log.exception("a fault of the relay")
            self._fail(RelayFault())
        else:
            self._request_sent()

    def _request_sent(self) -> None:
        self._sent = True
        if self._head is None:
            self._deadline.set(self._limits.headers, self._time_out)

    def _time_out(self) -> None:
        self._fail(UpstreamTimeout())

    # Receiving

    def take(self, data: bytes) -> None:
        self.heard_at = time.perf_counter()
        try:
            while self._head is None:
                if not self._reader.feed(data):
                    return
                data = self._reader.rest
                self._take_head(self._reader.head())
            self._take_body(data)
        except RelayError as error:
            self._fail(error)

    def _take_head(self, head: ResponseHead) -> None:
        if head.status == 101:
            raise UpstreamUpgraded(head.status)
        if head.status < 200:
            self._interim_count += 1
            if self._interim_count > _INTERIM_LIMIT:
                raise UpstreamMalformed
            self._reader = ResponseHeadReader()
            return
        self._head = head
        self._body = BodyReader(head, bodiless=self._bodiless)
        self._deadline.set(self._limits.idle, self._check_idle)
        if not self.head_arrived.done():
            self.head_arrived.set_result(None)

    def _take_body(self, data: bytes) -> None:
        body = self._body
        if body is None or self._body_ended.done():
            raise UpstreamTruncated
        piece = body.feed(data)
        if piece:
            self._sink(piece)
        if body.ended:
            self._end_body()

    def _end_body(self) -> None:
        self._deadline.clear()
        if not self._body_ended.done():
            self._body_ended.set_result(None)

    def take_end(self) -> None:
        """The upstream will send no more."""
        if self._body is not None and self._body.ends_by_closing:
            self._end_body()

    def lose(self) -> None:
        """The connection is gone; what was to come will not."""
        self._fail(UpstreamMalformed() if self._head is None else UpstreamTruncated())

    def _check_idle(self) -> None:
        silence = time.perf_counter() - self.heard_at
        if self._paused or silence < self._limits.idle:
            wait = self._limits.idle if self._paused else self._limits.idle - silence
            self._deadline.set(wait, self._check_idle)
        else:
            self._fail(UpstreamStalled())

    def _fail(self, error: RelayError) -> None:
        self._deadline.clear()
        if not self.head_arrived.done():
            self.head_arrived.set_exception(error)
        elif not self._body_ended.done():
            self._body_ended.set_exception(error)
        self._connection.abort()

    # Reply

    @property
    def head(self) -> ResponseHead:
        assert self._head is not None
        return self._head

    @property
    def has_ended(self) -> bool:
        ended = self._body_ended
        return ended.done() and not ended.cancelled() and ended.exception() is None

    def attach(self, sink: Sink) -> bytes:
        self._sink = sink
        return b"".join(self._early)

    async def ended(self) -> None:
        await self._body_ended

    def pause(self) -> None:
        transport = self._connection.transport
        if not self._paused and transport is not None and not self._body_ended.done():
            self._paused = True
            transport.pause_reading()

    def resume(self) -> None:
        transport = self._connection.transport
        if self._paused:
            self._paused = False
            self.heard_at = time.perf_counter()
            if transport is not None and not transport.is_closing():
                transport.resume_reading()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._deadline.clear()
        if self._upload is not None:
            self._upload.cancel()
        for future in (self.head_arrived, self._body_ended):
            if not future.done():
                future.cancel()
            elif not future.cancelled():
                future.exception()  # seen, whether or not anyone waited for it
        self.resume()
        self._connection.release(reusable=self._is_reusable())

    def _is_reusable(self) -> bool:
        if self._head is None or self._body is None or not self._sent or wants_close(self._head):
            return False
        return self._body.ended and not self._body.rest and not self._body.ends_by_closing
