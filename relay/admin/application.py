"""The admin listener's pages, as an ``aiohttp.web`` application.

A listener of its own, on loopback by default, so that no agent sees them. Its routes stand in
one table; what holds for all of them, in one middleware.
"""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from relay.admin import access, bridge, calls, health, metrics
from relay.admin.source import SOURCE, Source
from relay.config import ListenAddress
from relay.downstream.server_connection import Request, ServerConnection
from relay.errors import RelayError, RelayFault
from relay.http.answer import ends_connection, error_headers, own_answer
from relay.http.grammar import LINE_LIMIT
from relay.http.target import check_target
from relay.proxy.access import AccessPolicy

log = logging.getLogger("relay")

ROUTES: Final = (
    web.get("/metrics", metrics.show),
    web.get("/healthz", health.healthz),
    web.get("/readyz", health.readyz),
    web.get("/calls", calls.show),
)
# A page that is still being written, when the process ends.
_SHUTDOWN_SECONDS: Final = 1.0


class AdminListener:
    """Answers the requests of the admin listener's connections."""

    def __init__(self, source: Source, addresses: tuple[ListenAddress, ...]) -> None:
        self._lifecycle = source.lifecycle
        self._policy = AccessPolicy(addresses, [])
        application = web.Application(middlewares=[self._guard])
        application[SOURCE] = source
        application.add_routes(ROUTES)
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

    async def stop(self) -> None:
        """Give what is being answered a moment to end, and then end it."""
        await self._runner.cleanup()

    async def handle(self, connection: ServerConnection, request: Request) -> bool:
        """Answer one request; return whether another may follow on its connection."""
        head = request.head
        write_seconds = self._lifecycle.runtime.settings.timeouts.write
        close = ends_connection(head, draining=self._lifecycle.draining)
        try:
            head = request.read()
            check_target(head.method, head.target)
        except RelayError as error:
            close = close or error.closes
            head_only = head is not None and head.method == b"HEAD"
            connection.write(own_answer(error, "anthropic", head_only=head_only, close=close))
        else:
            server = self._runner.server
            assert server is not None
            await bridge.answer(server, connection, head, write_seconds=write_seconds, close=close)
        await connection.catch_up(write_seconds)
        return not close

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request through that may ask for a page; nothing that a page raises gets out."""
        try:
            refused = access.check(request, self._policy)
            if refused is not None:
                return refused
            request.app[SOURCE].recorder.settle()
            return await handler(request)
        except RelayError as error:
            return _refusal(error)
        except web.HTTPNotFound:
            text = "There are /metrics, /healthz, /readyz and /calls.\n"
            return web.Response(status=404, text=text)
        except Exception:
            log.exception("a fault of the relay")
            return _refusal(RelayFault())


def _refusal(error: RelayError) -> web.Response:
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    response = web.Response(status=error.status, body=error.body("anthropic"), headers=headers)
    if error.closes:
        response.force_close()
    return response


async def _finish_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Let no cache keep a page, and name no software."""
    response.headers.setdefault("cache-control", "no-store")
    del response.headers["server"]
