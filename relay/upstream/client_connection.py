"""One connection to an upstream, and what the event loop says of it.

``Connection.begin`` takes a prepared head and a body and returns what waits for the response's
head; ``Reply`` then pushes the body. What is said on it for one call is an ``Http1Exchange``.

Knows nothing of grants, routes or the agent; ``pool`` decides which connection is used.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Awaitable, Callable

from relay.errors import UpstreamTimeout, UpstreamUnreachable
from relay.upstream.deadline import Deadline
from relay.upstream.http1 import Http1Exchange
from relay.upstream.interface import Body, Patience, Reply, TimeLimits
from relay.upstream.tls import has_ended


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
        self._exchange: Http1Exchange | None = None
        self._full = False
        """Whether the upstream does not keep up with what is written."""
        self._writable: asyncio.Future[None] | None = None
        """What waits until it does."""
        self._poll: select.poll | None = None
        self.deadline = Deadline(asyncio.get_running_loop())
        """By when the upstream must have been heard."""
        self.idle_since = 0.0
        """When it became free, on the event loop's clock."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP or TLS: always a full transport
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._exchange is None:
            self.abort()  # nothing was asked, so whatever this is belongs to no call
        else:
            self._exchange.take(data)

    def eof_received(self) -> None:
        if self._exchange is None or self._transport is None:
            return
        if has_ended(self._transport):
            self._exchange.take_end()

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self.deadline.cancel()
        self._on_lost(self)
        if self._exchange is not None:
            self._exchange.lose()
        self.resume_writing()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

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
        if self._transport is None or self._transport.is_closing():
            return False
        if self._poll is None:
            self._poll = select.poll()
            handle = self._transport.get_extra_info("socket")
            self._poll.register(handle.fileno(), select.POLLIN | select.POLLRDHUP)
        return not self._poll.poll(0)

    def abort(self) -> None:
        """Cut the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # For a call

    def begin(
        self,
        head: bytes,
        body: Body,
        limits: TimeLimits,
        patience: Patience | None = None,
        *,
        bodiless: bool,
    ) -> Awaitable[Reply]:
        """Send a request's head now; return what waits for the response's.

        ``patience`` is for upstreams that have others beyond them; ``bodiless`` says that the
        response has no body whatever its head says (HEAD). What is returned must be awaited. It
        raises an UpstreamError if there is no valid answer, or what of the relay's errors the
        body's iterator raised.
        """
        if not self.is_open:
            raise UpstreamUnreachable
        exchange = self._exchange = Http1Exchange(self, limits, patience, bodiless=bodiless)
        try:
            exchange.start(head, body)
        except BaseException:
            exchange.close()
            raise
        return exchange.answered()

    def write(self, data: bytes) -> None:
        """Queue bytes for the upstream."""
        if self._transport is not None:
            self._transport.write(data)

    async def drain(self, limit_seconds: float) -> None:
        """Wait until the upstream takes more.

        Raises:
            UpstreamTimeout: It took nothing for so long.
        """
        if not self._full:
            return
        self._writable = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(limit_seconds):
                await self._writable
        except TimeoutError:
            raise UpstreamTimeout from None

    def release(self, *, reusable: bool) -> None:
        """End the call that is on this connection."""
        self._exchange = None
        if reusable and self.is_open:
            self._on_free(self)
        else:
            self.abort()
