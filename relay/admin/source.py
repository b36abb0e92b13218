"""What the admin pages read of the running relay, and how they answer in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from relay.proxy.lifecycle import Lifecycle
from relay.telemetry.metrics import Metrics
from relay.telemetry.recent_calls import RecentCalls
from relay.telemetry.recorder import Recorder
from relay.telemetry.use import Use


@dataclass(frozen=True, slots=True)
class Source:
    """The parts of the running relay that pages look at."""

    lifecycle: Lifecycle
    metrics: Metrics
    recent_calls: RecentCalls
    recorder: Recorder
    use: Use


SOURCE: Final = web.AppKey("source", Source)


def json_page(
    data: Mapping[str, object], *, status: int = 200, indent: int | None = None
) -> web.Response:
    """Return a page of data; with an indent, for people as well."""
    body = json.dumps(data, indent=indent).encode() + b"\n"
    return web.Response(status=status, body=body, content_type="application/json")
