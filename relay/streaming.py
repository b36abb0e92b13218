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
from typing import Protocol

from relay.answers import has_body, relayed_head
from relay.chunks import LAST_CHUNK, chunk
from relay.errors import BodyTooLarge, MalformedRequest, RequestStalled
from relay.exchange import Exchange
from relay.framing import RequestHead
from relay.gate import Gate, Incoming
from relay.headers import wants_close
from relay.seam import Reply


class Content(Protocol):
    """The part of aiohttp's StreamReader that a body is read by."""

    def read_nowait(self, n: int = -1) -> bytes:
        """Return what is there."""

    async def readany(self) -> bytes:
        """Wait for something and return it; empty at the end."""

    def at_eof(self) -> bool:
        """Whether the end has been reached."""


class AgentBody:
    """The agent's request body, as it arrives."""

    def __init__(
        self,
        content: Content,
        incoming: Incoming,
        exchange: Exchange,
        *,
        stall_seconds: float,
        max_body: int | None,
    ) -> None:
        self.chunked = incoming.head is not None and incoming.head.chunked
        self._content = content
        self._incoming = incoming
        self._exchange = exchange
        self._stall_seconds = stall_seconds
        self._max_body = max_body
        self._first = b""

    def whole(self) -> bytes | None:
        """Return all of the body if it is here already, else None."""
        self._first = self._content.read_nowait()
        if not self._content.at_eof():
            return None
        self._check_end()
        self._account(self._first)
        return self._first

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives.

        Raises:
            RequestStalled: Nothing came for the limit's time.
            MalformedRequest: It ended wrongly.
            BodyTooLarge: It is over the relay's limit.
        """
        piece = self._first or await self._next()
        while piece:
            self._account(piece)
            yield piece
            piece = await self._next()
        self._check_end()

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self._stall_seconds):
                return await self._content.readany()
        except TimeoutError:
            raise RequestStalled from None
        except Exception as error:  # aiohttp sets here whatever ended the connection
            raise MalformedRequest from error

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
        self._unsent = 0
        unsized = has_body(reply.head, request.method) and reply.head.length is None
        self._chunked = unsized and request.minor == 1
        gate.framed = not unsized or self._chunked
        self.closes = close or wants_close(request) or not gate.framed
        """Whether the connection ends with this answer."""

    async def run(self) -> None:
        """Pass the answer on, to its end.

        Raises:
            RelayError: It broke off; the agent has what came until then.
        """
        head = relayed_head(self._reply.head, chunked=self._chunked, close=self.closes)
        self._write(head, self._reply.attach(self._pass_on))
        self._gate.watch(self._follow)
        try:
            if not self._gate.writable:
                self._follow(writable=False)
            await self._reply.ended()
            if self._chunked:
                self._gate.write(LAST_CHUNK)
        finally:
            self._gate.watch(None)
            self._disarm()

    def _pass_on(self, piece: bytes) -> None:
        self._write(b"", piece)

    def _write(self, head: bytes, piece: bytes) -> None:
        """Write to the agent first; only then is anything counted or read."""
        self._gate.write(head + chunk(piece) if self._chunked else head + piece)
        if piece:
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
            self._unsent = self._gate.unsent
            self._stall_timer = self._loop.call_later(self._write_seconds, self._check_progress)

    def _check_progress(self) -> None:
        if self._gate.unsent < self._unsent:
            self._follow(writable=False)
        else:
            self._gate.abort()

    def _disarm(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
