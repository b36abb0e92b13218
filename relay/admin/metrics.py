"""``/metrics``: the exposition, in the format that is asked for."""

from __future__ import annotations

from aiohttp import web

from relay.admin.bridge import bridge_of
from relay.admin.source import SOURCE


async def show(request: web.Request) -> web.Response:
    """Return every sample, as Prometheus text or OpenMetrics."""
    source = request.app[SOURCE]
    source.metrics.show(source.lifecycle.runtime.states())
    accept = b", ".join(bridge_of(request).head.values(b"accept")).decode("latin-1")
    body, content_type = source.metrics.expose(accept)
    return web.Response(body=body, headers={"content-type": content_type})
