"""Whether calls would go through: how each relay and client stands, and what is not well.

For ``/readyz``, the page and a scrape, each at its moment.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from relay.config import EgressSettings
from relay.credentials.credential import Credential
from relay.credentials.ends import said
from relay.credentials.folder import TokenFolder
from relay.proxy.hop import Hop
from relay.proxy.problems import Subject, problems_of, value_of_grant, value_of_token
from relay.proxy.runtime import Route, Runtime
from relay.telemetry.ledger import Ledger
from relay.telemetry.metrics import HopState, RelayState
from relay.telemetry.metrics.states import reach_of


def is_ready(runtime: Runtime) -> bool:
    """Return whether every credential and token has a value, and what hops need is there."""
    hops = (hop for route in runtime.routes.values() for hop in route.hops)
    return all(each.ready for each in runtime.credentials()) and all(hop.ready for hop in hops)


def states_of(runtime: Runtime) -> list[RelayState]:
    """Return what a scrape shows of each relay."""
    return [_state_of(name, route) for name, route in runtime.routes.items()]


def _state_of(name: str, route: Route) -> RelayState:
    grant = route.forwarder.credential
    idle, active = route.forwarder.connections
    return RelayState(
        relay=name,
        grant=grant.name,
        ready=grant.ready,
        up=route.upstream.up,
        upstream=str(route.settings.upstream),
        idle_connections=idle,
        active_connections=active,
        api=route.settings.api,
        refused=route.standing.refusal is not None,
        expires_at=grant.reading.expires_at,
        hops=tuple(
            HopState(hop.settings.name, hop.state.up, str(hop.settings.upstream), hop.bypassed)
            for hop in route.hops
        ),
    )


def readiness(runtime: Runtime, ledger: Ledger) -> dict[str, object]:
    """Return how relays and clients stand, and all that is not well; it names addresses.

    What is wrong with the ledger is a warning: calls go on.
    """
    ways: dict[str, dict[str, object]] = {
        state.relay: {
            "upstream": {"url": state.upstream, "state": state.upstream_state},
            **_egress(runtime.routes[state.relay].settings.egress),
            **_hops(runtime.routes[state.relay].hops),
        }
        for state in states_of(runtime)
    }
    problems = [f"{each.name}: {each.problem}" for each in problems_of(runtime, ledger)]
    warning = {"warning": f"it {ledger.problem}"} if ledger.problem else {}
    noted = {} if ledger.path is None else {"ledger": {"path": ledger.path, **warning}}
    return noted | _standing(runtime, ways) | {"problems": problems}


def public_readiness(runtime: Runtime, _: Ledger) -> dict[str, object]:
    """Return the same without a word that could name an address."""
    ways: dict[str, dict[str, object]] = {}
    for state in states_of(runtime):
        hops = [{"name": hop.name, "state": hop.reach} for hop in state.hops]
        upstream = {"upstream": {"state": state.upstream_state}}
        ways[state.relay] = upstream | ({"hops": hops} if hops else {})
    return _standing(runtime, ways)


def _standing(runtime: Runtime, ways: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """Return each relay, with its way to the API, and client with its credential's state."""
    return {
        "relays": {
            state.relay: {
                "credential": _credential(runtime, state),
                **ways[state.relay],
            }
            for state in states_of(runtime)
        },
        "clients": {
            client.name: {"token": _value_state(client, value_of_token(client))}
            for client in runtime.clients
        }
        | {folder.name: _folder(folder) for folder in runtime.folders},
    }


def _folder(folder: TokenFolder) -> dict[str, object]:
    """Return how many clients there are, and what is wrong with their folder: calls go on."""
    problem = folder.problem
    return {"clients": len(folder.names()), **({"warning": problem} if problem else {})}


def _egress(egress: EgressSettings | None) -> dict[str, object]:
    """Return the proxy on the way to the upstream, where there is one."""
    return {} if egress is None else {"egress": {"url": str(egress.proxy)}}


def _hops(hops: Sequence[Hop]) -> dict[str, object]:
    """Return the hops with their states, where there are any."""
    return {"hops": [_hop(hop) for hop in hops]} if hops else {}


def _hop(hop: Hop) -> dict[str, object]:
    described: dict[str, object] = {
        "name": hop.settings.name,
        "url": str(hop.settings.upstream),
        "state": reach_of(hop.state.up),
        "ready": hop.ready,
    }
    if bypass := hop.explain_bypass():
        described["bypass"] = bypass
    return described


def _credential(runtime: Runtime, state: RelayState) -> dict[str, object]:
    grant = runtime.grants[state.grant]
    described = {"grant": state.grant, **_value_state(grant, value_of_grant(grant))}
    if refusal := runtime.routes[state.relay].standing.explain():
        described["refused"] = refusal
    return described


def _value_state(credential: Credential, value: Subject) -> dict[str, object]:
    if not credential.ready:
        return {"ready": False, "problem": credential.explain()}
    described: dict[str, object] = {"ready": True}
    if (end := credential.reading.expires_at) is not None:
        described |= {"until": said(end), "seconds_left": int(end - time.time())}
    return described | ({"warning": value.problem} if value.problem else {})
