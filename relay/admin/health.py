"""``/healthz``: whether the process serves; ``/readyz``: whether calls would go through."""

from __future__ import annotations

from aiohttp import web

from relay.admin.access import is_local
from relay.admin.source import SOURCE, json_page
from relay.proxy.readiness import is_ready, public_readiness, readiness


async def healthz(_: web.Request) -> web.Response:
    """Answer 200: a process that can answer is alive."""
    return json_page({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Return 503 while draining, or while a credential or token has no value; with the details."""
    lifecycle = request.app[SOURCE].lifecycle
    ready = is_ready(lifecycle.runtime) and not lifecycle.draining
    status = "draining" if lifecycle.draining else "ready" if ready else "not ready"
    describe = readiness if is_local(request) else public_readiness
    report = {"status": status, **describe(lifecycle.runtime, lifecycle.ledger)}
    return json_page(report, status=200 if ready else 503, indent=2)
