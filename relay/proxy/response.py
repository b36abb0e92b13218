"""Bodies in motion: the agent's to the upstream, and the upstream's to the agent.

Each piece of an answer is written to the agent as it is read, by a plain call and no task;
then the meter gets the same bytes.
An agent that falls behind pauses the upstream, and is cut when it takes nothing for as
long as the ``write`` limit. What breaks off upstream breaks off here: nothing is added.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from relay.downstream.server_connection import Gate, Incoming
from relay.errors import BodyTooLarge, MalformedRequest, RequestStalled
from relay.http.answer import has_body, relayed_head
from relay.http.chunked import LAST_CHUNK, chunk
from relay.http.headers import wants_close
from relay.http.message import RequestHead
from relay.telemetry.call import Exchange
from relay.upstream.interface import Reply


class AgentBody:
    """The agent's request body, as it arrives."""

    def __init__(
        self,
        incoming: Incoming,
        exchange: Exchange,
        *,
        stall_seconds: float,
        max_body: int | None,
    ) -> None:
        self.chunked = incoming.head is not None and incoming.head.chunked
        self._incoming = incoming
        self._intake = incoming.body
        self._exchange = exchange
        self._stall_seconds = stall_seconds
        self._max_body = max_body

    def whole(self) -> bytes | None:
        """Return all of the body if it is here already, else None."""
        if not self._intake.complete:
            return None
        body = self._intake.take()
        self._check_end()
        self._account(body)
        return body

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives.

        Raises:
            RequestStalled: Nothing came for the limit's time.
            MalformedRequest: It ended wrongly.
            BodyTooLarge: It is over the relay's limit.
        """
        piece = await self._next()
        while piece:
            self._account(piece)
            yield piece
            piece = await self._next()
        self._check_end()

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self._stall_seconds):
                return await self._intake.next()
        except TimeoutError:
            raise RequestStalled from None

    def _account(self, piece: bytes) -> None:
        self._exchange.request_bytes += len(piece)
        if self._max_body is not None and self._exchange.request_bytes > self._max_body:
            raise BodyTooLarge

    def _check_end(self) -> None:
        if self._incoming.broken:
            raise MalformedRequest


class Delivery:
    """One answer on its way to the agent."""

    def __init__(
        self,
        gate: Gate,
        request: RequestHead,
        reply: Reply,
        exchange: Exchange,
        *,
        write_seconds: float,
        close: bool,
    ) -> None:
        self._gate = gate
        self._reply = reply
        self._exchange = exchange
        self._write_seconds = write_seconds
        self._loop = asyncio.get_running_loop()
        self._stall_timer: asyncio.TimerHandle | None = None
        self._untaken = 0
        unsized = has_body(reply.head, request.method) and reply.head.length is None
        self._chunked = unsized and request.minor == 1
        gate.framed = not unsized or self._chunked
        self.closes = close or wants_close(request) or not gate.framed
        """Whether the connection ends with this answer."""

    async def run(self) -> None:
        """Pass the answer on, to its end, no faster than the agent takes it.

        Raises:
            RelayError: It broke off; the agent has what came until then.
        """
        reply = self._reply
        self._begin()
        if not reply.has_ended:
            self._gate.watch(self._follow)
            try:
                if not self._gate.writable:
                    self._follow(writable=False)
                await reply.ended()
            finally:
                self._gate.watch(None)
                self._disarm()
        if self._chunked:
            self._gate.write(LAST_CHUNK)

    def _begin(self) -> None:
        """Write the head, and what is there of the body with it, in one write."""
        head = relayed_head(self._reply.head, chunked=self._chunked, close=self.closes)
        piece = self._reply.attach(self._pass_on)
        self._gate.write(head + (chunk(piece) if self._chunked else piece))
        if piece:
            self._note(piece)

    def _pass_on(self, piece: bytes) -> None:
        """Write to the agent first; only then is anything counted or read."""
        self._gate.write(chunk(piece) if self._chunked else piece)
        self._note(piece)

    def _note(self, piece: bytes) -> None:
        now = time.perf_counter()
        exchange = self._exchange
        exchange.piece_overheads.observe(now - self._reply.heard_at)
        exchange.response_bytes += len(piece)
        if exchange.meter is not None:
            exchange.meter.feed(piece, now)

    def _follow(self, writable: bool) -> None:  # noqa: FBT001  # it is the state itself
        self._disarm()
        if writable:
            self._reply.resume()
        else:
            self._reply.pause()
            self._untaken = self._gate.untaken
            self._stall_timer = self._loop.call_later(self._write_seconds, self._check_progress)

    def _check_progress(self) -> None:
        if self._gate.untaken < self._untaken:
            self._follow(writable=False)
        else:
            self._gate.abort()

    def _disarm(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
