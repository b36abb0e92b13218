"""The admin listener's pages: /metrics, /healthz, /readyz and /calls.

A listener of its own, on loopback by default, so that no agent sees them. It checks the
Host as the relays' listener does without tokens, against pages that rebind their name.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from relay.config import Settings
from relay.downstream.server_connection import Request, ServerConnection
from relay.errors import RelayError, RelayFault
from relay.http import answer
from relay.http.message import RequestHead
from relay.http.target import check_target
from relay.proxy.access import AccessPolicy
from relay.proxy.handler import Lifetime
from relay.telemetry.metrics import Metrics, RelayState
from relay.telemetry.recent_calls import RecentCalls
from relay.telemetry.recorder import Recorder

log = logging.getLogger("relay")

_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Page:
    """An answer of the admin listener."""

    status: int
    content_type: str
    body: bytes


class Admin:
    """Serves the admin pages."""

    def __init__(
        self,
        lifetime: Lifetime,
        metrics: Metrics,
        history: RecentCalls,
        recorder: Recorder,
        settings: Settings,
    ) -> None:
        self._lifetime = lifetime
        self._metrics = metrics
        self._history = history
        self._recorder = recorder
        self._door = AccessPolicy(settings.admin, [])
        self._pages: dict[bytes, Callable[[RequestHead], Page]] = {
            b"/metrics": self._show_metrics,
            b"/healthz": self._show_health,
            b"/readyz": self._show_readiness,
            b"/calls": self._show_calls,
        }

    async def handle(self, connection: ServerConnection, request: Request) -> bool:
        """Answer one request; return whether another may follow on its connection."""
        keep = self._answer(connection, request)
        await connection.catch_up(self._lifetime.runtime.settings.timeouts.write)
        return keep

    def _answer(self, connection: ServerConnection, request: Request) -> bool:
        head = request.head
        close = answer.ends_connection(head, draining=self._lifetime.draining)
        head_only = head is not None and head.method == b"HEAD"
        try:
            page = self._page(request, connection.local_address)
        except Exception as fault:
            error = fault if isinstance(fault, RelayError) else RelayFault()
            if error is not fault:
                log.exception("a fault of the relay")
            close = close or error.closes
            connection.write(
                answer.own_answer(error, "anthropic", head_only=head_only, close=close)
            )
            return not close
        headers = [(b"content-type", page.content_type.encode()), (b"cache-control", b"no-store")]
        connection.write(
            answer.plain_answer(page.status, headers, page.body, head_only=head_only, close=close)
        )
        return not close

    def _page(self, request: Request, local: str) -> Page:
        head = request.read()
        check_target(head.method, head.target)
        self._door.check_host(head, local)
        self._door.check_origin(head)
        page = self._pages.get(head.target.partition(b"?")[0])
        if page is None:
            return Page(404, "text/plain", b"There are /metrics, /healthz, /readyz and /calls.\n")
        if head.method not in (b"GET", b"HEAD"):
            return Page(405, "text/plain", b"Only GET and HEAD are answered here.\n")
        self._recorder.settle()
        return page(head)

    def _show_metrics(self, head: RequestHead) -> Page:
        self._metrics.show(self._lifetime.runtime.states())
        accept = b", ".join(head.values(b"accept")).decode("latin-1")
        body, content_type = self._metrics.expose(accept)
        return Page(200, content_type, body)

    def _show_health(self, _: RequestHead) -> Page:
        return Page(200, _JSON, b'{"status": "ok"}\n')

    def _show_readiness(self, _: RequestHead) -> Page:
        runtime = self._lifetime.runtime
        ready = runtime.ready and not self._lifetime.draining
        status = "draining" if self._lifetime.draining else "ready" if ready else "not ready"
        report = {"status": status, **runtime.describe()}
        body = json.dumps(report, indent=2).encode() + b"\n"
        return Page(200 if ready else 503, _JSON, body)

    def _show_calls(self, _: RequestHead) -> Page:
        states = self._lifetime.runtime.states()
        relays = {state.relay: self._describe(state) for state in states}
        body = json.dumps(self._history.describe() | {"relays": relays}).encode() + b"\n"
        return Page(200, _JSON, body)

    def _describe(self, state: RelayState) -> dict[str, object]:
        limits, quotas = self._metrics.current_limits(state.relay)
        return {
            "upstream": state.upstream_state,
            "credential": state.ready,
            "limits": [{"kind": limit.name, **limit.stated()} for limit in limits],
            "quotas": [{"window": quota.name, **quota.stated()} for quota in quotas],
        }
