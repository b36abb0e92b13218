"""One request and its response on a connection to an upstream.

The request goes out as it is handed in. The response's head is read strictly; its body is
pushed to a sink, each piece as it was read, without a task between the socket and the sink.
Back-pressure is a pause of reading. Nothing is decompressed, followed, stored or sent twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from relay.errors import (
    RelayError,
    RelayFault,
    UpstreamMalformed,
    UpstreamStalled,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUpgraded,
)
from relay.http.body import BodyReader
from relay.http.chunked import LAST_CHUNK, chunk
from relay.http.headers import wants_close
from relay.http.message import ResponseHead
from relay.http.parser import ResponseHeadReader
from relay.upstream.interface import Body, Patience, Reply, Sink, TimeLimits

if TYPE_CHECKING:
    from relay.upstream.client_connection import Connection

log = logging.getLogger("relay")

# Interim answers carry nothing; more of them than this is no HTTP server, nor an HTTP proxy.
INTERIM_LIMIT: Final = 16


class Http1Exchange:
    """A request that goes out, and the reply to it."""

    def __init__(
        self,
        connection: Connection,
        limits: TimeLimits,
        patience: Patience | None,
        *,
        bodiless: bool,
    ) -> None:
        self._connection = connection
        self._deadline = connection.deadline
        self._limits = limits
        self._patience = patience
        self._bodiless = bodiless
        self._loop = asyncio.get_running_loop()
        self._reader: ResponseHeadReader | None = ResponseHeadReader()
        """Until the response's head is there."""
        self._head: ResponseHead | None = None
        """Until the body is taken, which may go on for minutes."""
        self._closes = False
        """Whether the upstream ends the connection with it."""
        self._interim_count = 0
        self._body: BodyReader | None = None
        self._early: list[bytes] = []
        self._sink: Sink = self._early.append
        self._upload: asyncio.Task[None] | None = None
        self._sent = False
        self._paused = False
        self._closed = False
        self._error: RelayError | None = None
        self._over = False
        """Whether the body has ended, or something has gone wrong."""
        self._change: asyncio.Future[None] | None = None
        """What waits for the head, and later for the body's end."""
        self.has_ended = False
        self.heard_at = 0.0

    # Sending

    def start(self, head: bytes, body: Body) -> None:
        """Send the request, as much of it as is there."""
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
                await self._drain()
            if body.chunked:
                self._connection.write(LAST_CHUNK)
        except RelayError as error:
            self._fail(error)
        except Exception:
            log.exception("a fault of the relay")
            self._fail(RelayFault())
        else:
            self._request_sent()

    async def _drain(self) -> None:
        """Wait until the upstream takes more, as long as what is beyond it does not either."""
        while True:
            try:
                await self._connection.drain(self._limits.write)
            except UpstreamTimeout:
                if self._excuse(self._limits.write) <= 0:
                    raise
            else:
                return

    def _excuse(self, limit_seconds: float) -> float:
        """Return for how many seconds more the upstream cannot be called silent, if positive."""
        return 0.0 if self._patience is None else self._patience.wait(limit_seconds)

    def _request_sent(self) -> None:
        self._sent = True
        if self._body is None and not self._over:
            self._deadline.set(self._limits.headers, self._time_out)

    def _time_out(self) -> None:
        wait = self._excuse(self._limits.headers)
        if wait > 0:
            self._deadline.set(wait, self._time_out)
        else:
            self._fail(UpstreamTimeout())

    # Receiving

    def take(self, data: bytes) -> None:
        """Take bytes of the response."""
        self.heard_at = time.perf_counter()
        try:
            while (reader := self._reader) is not None:
                if not reader.feed(data):
                    return
                self._take_head(reader.head())
                data = reader.rest
            self._take_body(data)
        except RelayError as error:
            self._fail(error)

    def _take_head(self, head: ResponseHead) -> None:
        if head.status == 101:
            raise UpstreamUpgraded(head.status)
        if head.status < 200:
            self._interim_count += 1
            if self._interim_count > INTERIM_LIMIT:
                raise UpstreamMalformed
            self._reader = ResponseHeadReader()
            return
        self._reader, self._head, self._closes = None, head, wants_close(head)
        self._body = BodyReader(head, bodiless=self._bodiless)
        self._deadline.set(self._limits.idle, self._check_idle)
        self._wake()

    def _take_body(self, data: bytes) -> None:
        body = self._body
        if body is None or self.has_ended:
            raise UpstreamTruncated
        piece = body.feed(data)
        if piece:
            self._sink(piece)
            body.check()
        if body.ended:
            self._end()

    def _end(self) -> None:
        self._deadline.clear()
        if not self._over:
            self.has_ended = self._over = True
            self._wake()

    def take_end(self) -> None:
        """Note that the upstream will send no more."""
        if self._body is not None and self._body.ends_by_closing:
            self._end()

    def lose(self) -> None:
        """Note that the connection is gone, and what was to come will not."""
        self._fail(UpstreamMalformed() if self._body is None else UpstreamTruncated())

    def _check_idle(self) -> None:
        silence = time.perf_counter() - self.heard_at
        # Whoever is not read, or is still being told something, cannot be called silent.
        excused = self._paused or not self._sent
        wait = self._limits.idle if excused else self._limits.idle - silence
        wait = max(wait, self._excuse(self._limits.idle))
        if wait > 0:
            self._deadline.set(wait, self._check_idle)
        else:
            self._fail(UpstreamStalled())

    def _fail(self, error: RelayError) -> None:
        self._deadline.clear()
        if not self._over:
            self._error, self._over = error, True
            self._wake()
        self._connection.abort()

    def _wake(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    # Reply

    async def answered(self) -> Reply:
        """Wait for the response's head; raise what came instead."""
        try:
            while self._body is None and not self._over:
                self._change = self._loop.create_future()
                await self._change
        except BaseException:
            self.close()
            raise
        if self._body is None:
            self.close()
            raise self._take_error()
        return self

    @property
    def head(self) -> ResponseHead:
        """The response's head, until its body is attached to a sink."""
        assert self._head is not None
        return self._head

    def attach(self, sink: Sink) -> bytes:
        """Return what is here of the body; from now on the sink gets what comes."""
        self._sink, self._head = sink, None
        early = b"".join(self._early)
        self._early.clear()
        return early

    async def ended(self) -> None:
        """Wait for the body's clean end; raise what ended it otherwise."""
        while not self.has_ended:
            if self._over:
                raise self._take_error()
            self._change = self._loop.create_future()
            await self._change

    def _take_error(self) -> RelayError:
        """Return what went wrong, and let go of it: what is raised holds who raises it."""
        error, self._error = self._error, None
        return error or UpstreamTruncated()

    def pause(self) -> None:
        """Read no more for now."""
        transport = self._connection.transport
        if not self._paused and transport is not None and not self._over:
            self._paused = True
            transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        transport = self._connection.transport
        if self._paused:
            self._paused = False
            self.heard_at = time.perf_counter()
            if transport is not None and not transport.is_closing():
                transport.resume_reading()

    def close(self) -> None:
        """Be done with the call: the connection is kept if it can be, else cut."""
        if self._closed:
            return
        self._closed = True
        self._sink = _ignore  # who takes the body holds this: let both go at once
        self._deadline.clear()
        if self._upload is not None:
            self._upload.cancel()
        self.resume()
        self._connection.release(reusable=self._is_reusable())

    def _is_reusable(self) -> bool:
        if self._body is None or not self._sent or self._closes:
            return False
        return self._body.ended and not self._body.rest and not self._body.ends_by_closing


def _ignore(_: bytes) -> None:
    """Nobody wants this body any more."""
