"""``/calls``: calls in flight, the last hundred, and how the relays stand; `relay top` reads it."""

from __future__ import annotations

from aiohttp import web

from relay.admin.source import SOURCE, Source, json_page
from relay.proxy.readiness import states_of
from relay.telemetry.metrics import RelayState


async def show(request: web.Request) -> web.Response:
    """Return the calls, and each relay's state."""
    source = request.app[SOURCE]
    states = states_of(source.lifecycle.runtime)
    relays = {state.relay: _describe(source, state) for state in states}
    return json_page(source.recent_calls.describe() | {"relays": relays} | _limits(source))


def _limits(source: Source) -> dict[str, object]:
    """Return what clients may spend and have spent, where any limit is."""
    runtime = source.lifecycle.runtime
    if not runtime.settings.has_limits:
        return {}
    return {"limits": source.lifecycle.ledger.spending.describe(runtime.accounts())}


def _describe(source: Source, state: RelayState) -> dict[str, object]:
    """Return a relay's state; ``hops`` only where it has any."""
    limits, quotas = source.metrics.current_limits(state.relay)
    described: dict[str, object] = {
        "upstream": state.upstream_state,
        "credential": state.ready,
        "refused": state.refused,
        "limits": [{"kind": limit.name, **limit.stated()} for limit in limits],
        "quotas": [{"window": quota.name, **quota.stated()} for quota in quotas],
    }
    if state.expires_at is not None:
        described["expires_at"] = state.expires_at
    if state.hops:
        described["hops"] = [
            {"name": hop.name, "state": hop.reach, "bypassed": hop.bypassed} for hop in state.hops
        ]
    return described
