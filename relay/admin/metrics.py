"""``/metrics``: the exposition, in the format that is asked for."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from relay.admin.bridge import bridge_of
from relay.admin.source import SOURCE
from relay.proxy.readiness import states_of

_END: Final = b"# EOF\n"
"""What ends an exposition in OpenMetrics, however few metrics are in it."""


async def show(request: web.Request) -> web.Response:
    """Return every sample, as Prometheus text or OpenMetrics.

    With thirty models that takes 25 ms, so calls get a turn of the event loop between two metrics.
    """
    metrics = request.app[SOURCE].metrics
    metrics.show(states_of(request.app[SOURCE].lifecycle.runtime))
    accept = b", ".join(bridge_of(request).head.values(b"accept")).decode("latin-1")
    end, content_type = metrics.expose(accept, [])
    pieces = []
    for family in metrics.families():
        pieces.append(metrics.expose(accept, [family])[0].removesuffix(_END))
        await asyncio.sleep(0)
    body = b"".join([*pieces, end])
    return web.Response(body=body, headers={"content-type": content_type})
