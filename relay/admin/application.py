"""The admin listener's pages, as an ``aiohttp.web`` application.

A listener of its own, on loopback by default, so that agents cannot reach it. All routes are in one
table; the checks that hold for all of them are in one middleware.
"""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from relay.admin import access, bridge, calls, health, metrics, page
from relay.admin.events import Events
from relay.admin.overview import Overview
from relay.admin.source import SOURCE, Source
from relay.config import ListenAddress
from relay.downstream.server_connection import Request, ServerConnection
from relay.errors import RelayError, RelayFault
from relay.http.answer import ends_connection, error_headers, plain_answer
from relay.http.grammar import LINE_LIMIT
from relay.http.target import check_target
from relay.proxy.access import AccessPolicy

log = logging.getLogger("relay")

# For answers under way when the process ends.
_SHUTDOWN_SECONDS: Final = 1.0
# A client that takes nothing of an answer for so long has gone, or is hostile.
_WRITE_SECONDS: Final = 10.0
_NOT_FOUND: Final = {
    True: "There are /, /metrics, /healthz, /readyz and /calls.\n",
    False: "There are /metrics, /healthz and /readyz; the page is shown on loopback alone.\n",
}
_HEADERS: Final = [(name.encode(), value.encode()) for name, value in access.HEADERS.items()]


class AdminListener:
    """Answers the requests of the admin listener's connections."""

    def __init__(self, source: Source, addresses: tuple[ListenAddress, ...]) -> None:
        self._lifecycle = source.lifecycle
        self._policy = AccessPolicy(addresses, [])
        application = web.Application(middlewares=[self._guard])
        application[SOURCE] = source
        self._events = Events(Overview(source))
        application.add_routes(
            [
                web.get("/metrics", metrics.show),
                web.get("/healthz", health.healthz),
                web.get("/readyz", health.readyz),
                web.get("/calls", calls.show),
                web.get("/events", self._events.show),
                web.get("/", page.show),
                web.get("/static/{name}", page.part),
            ]
        )
        application.on_response_prepare.append(_finish_headers)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            handler_cancellation=True,
            auto_decompress=False,
            tcp_keepalive=False,
            max_line_size=LINE_LIMIT,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )

    async def start(self) -> None:
        """Make ready to answer; to be called before the first request."""
        await self._runner.setup()

    def drain(self) -> None:
        """End the event streams, which would go on for ever: the relay is stopping."""
        self._events.end()

    async def stop(self) -> None:
        """Wait up to a second for answers under way, then cancel them."""
        await self._runner.cleanup()

    async def handle(self, connection: ServerConnection, request: Request) -> bool:
        """Answer one request; return whether another may follow on its connection."""
        head, agent = request.head, connection.transport
        write_seconds = min(_WRITE_SECONDS, self._lifecycle.runtime.settings.timeouts.write)
        close = ends_connection(head, draining=self._lifecycle.draining)
        try:
            head = request.read()
            check_target(head.method, head.target)
        except RelayError as error:
            close = close or error.closes
            head_only = head is not None and head.method == b"HEAD"
            agent.write(_own_answer(error, head_only=head_only, close=close))
        else:
            server = self._runner.server
            if server is None:  # the last request of a relay that has stopped
                return False
            await bridge.answer(server, agent, head, write_seconds=write_seconds, close=close)
        await agent.catch_up(write_seconds)
        return not close

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what may not ask for a page, and turn whatever a page raises into an answer."""
        try:
            refused = access.check(request, self._policy)
            if refused is not None:
                return refused
            request.app[SOURCE].recorder.flush()
            return await handler(request)
        except RelayError as error:
            return _refusal(error)
        except web.HTTPNotFound:
            return web.Response(status=404, text=_NOT_FOUND[access.is_local(request)])
        except Exception:
            log.exception("a fault of the relay")
            return _refusal(RelayFault())


def _own_answer(error: RelayError, *, head_only: bool, close: bool) -> bytes:
    """Return the answer to a request that was refused before aiohttp got it."""
    headers, body = [*error_headers(error), *_HEADERS], error.body("anthropic")
    close = close or error.closes
    return plain_answer(error.status, headers, body, head_only=head_only, close=close)


def _refusal(error: RelayError) -> web.Response:
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    response = web.Response(status=error.status, body=error.body("anthropic"), headers=headers)
    if error.closes:
        response.force_close()
    return response


async def _finish_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Let no cache keep a page, no other site use it, and name no software."""
    response.headers.update(access.HEADERS)
    response.headers.setdefault("cache-control", "no-store")
    del response.headers["server"]
