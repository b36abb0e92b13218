"""Examines the relay that runs here: its addresses, and whether it takes its clients' tokens."""

from __future__ import annotations

from typing import Final

from relay.commands import CommandError
from relay.commands.admin_address import interface_host, page_url
from relay.commands.client import Answer, Client
from relay.commands.doctor import chain
from relay.commands.doctor.calls import MODELS
from relay.commands.doctor.chain import RELOAD
from relay.commands.doctor.findings import Finding, Findings, fail, note, ok, quote, warn
from relay.commands.doctor.probe import Running
from relay.config import ListenAddress, RelaySettings, Settings
from relay.credentials.credential import Credential
from relay.credentials.shape import remarks
from relay.errors import PathRefused
from relay.proxy.routing import check_path

PROBE_SECONDS: Final = 5.0
CALL_SECONDS: Final = 20.0
_UNTRIED: Final = "whether calls come back from hops is not tried"


async def examine(
    settings: Settings,
    clients: list[Credential],
    working: list[RelaySettings],
    http: Client,
    model: str | None,
) -> Findings:
    """Examine the running relay; ``working`` are the relays whose upstream takes calls.

    ``model`` is the model named in requests that reach no model.
    """
    for warning in settings.warnings:
        yield warn("config", warning, f"mend it there; where the relay runs already, {RELOAD}")
    for client in clients:
        yield _token(client)
        for problem, remedy in remarks(client.reading, None):
            yield warn("client", f"{client.name}: its token {problem}", remedy)
    answers = await _answers(http, settings.admin[0])
    yield answers
    if answers.level == "ok":
        async for finding in _running(settings, clients, working, http, model):
            yield finding
    elif answers.level == "warn" and settings.has_hops:
        yield note("hop", f"{_UNTRIED}: they come back to a relay that runs")


async def _answers(http: Client, admin: ListenAddress) -> Finding:
    status = await _status(http, admin, "/healthz")
    if status is None:
        return warn(
            "running", f"no relay answers at {admin}", "docker compose up -d, or relay serve"
        )
    if status == 200:
        return ok("running", f"the relay answers at {admin}")
    text = f"what answers at {admin} is no relay: it said {status}"
    return fail("running", text, "end it, or give the relay another admin address")


async def _status(http: Client, admin: ListenAddress, page: str) -> int | None:
    try:
        return (await http.ask("GET", page_url(interface_host(admin), page))).status
    except CommandError:
        return None


async def _running(
    settings: Settings,
    clients: list[Credential],
    working: list[RelaySettings],
    http: Client,
    model: str | None,
) -> Findings:
    """Examine a relay that was found running."""
    admin = settings.admin[0]
    yield await _readiness(http, admin)
    reached: list[ListenAddress] = []
    for address in settings.listen:
        finding = await _probe(http, address, settings.relays[0])
        reached += [address] if finding.level == "ok" else []
        yield finding
    for address in settings.returns if settings.has_hops else ():
        yield await _probe_return(http, address, settings)
    token = next((value for each in clients if (value := each.value())), None)
    if reached and (token or not settings.has_clients):
        running = Running(http, reached[0], admin, token)
        async for finding in _calls(settings, working, running, model):
            yield finding
    elif settings.has_hops:
        yield note("hop", f"{_UNTRIED}: that takes a listener that answers, and a client's token")


async def _calls(
    settings: Settings, working: list[RelaySettings], running: Running, model: str | None
) -> Findings:
    """Yield findings of the chains, and of a free call where chain and upstream are well."""
    for relay in settings.relays:
        proved = True
        async for finding in chain.examine(relay, settings, running, model):
            proved = proved and finding.level != "FAIL"
            yield finding
        if proved and relay in working:
            yield await _call(running, relay)


def _token(client: Credential) -> Finding:
    if client.ready:
        return ok("client", f"{client.name}: its token is there, from {client.origin()}")
    text = f"{client.name}: its token is MISSING: {client.explain()}"
    return fail("client", text, client.remedy())


async def _readiness(http: Client, admin: ListenAddress) -> Finding:
    if await _status(http, admin, "/readyz") == 200:
        return ok("ready", "it has every credential and token it needs")
    text = "it lacks a credential or a token, or is stopping"
    return fail("ready", text, "relay health --ready names it")


async def _probe(http: Client, address: ListenAddress, relay: RelaySettings) -> Finding:
    try:
        url = f"http://{interface_host(address)}/relay/{relay.name}"
        answer = await http.ask("HEAD", url, seconds=PROBE_SECONDS)
    except CommandError:
        text = f"the relay does not answer at {address}"
        if address.is_loopback:
            return fail("listen", text, "restart it: listen changed, or the port is another's")
        remedy = "that address is not this host's: for agents' networks, docker compose up -d"
        return fail("listen", text, remedy)
    if answer.status == 200:
        return ok("listen", f"the relay answers agents at {address}")
    return fail("listen", f"at {address}: {_said(answer)}", RELOAD)


async def _probe_return(http: Client, address: ListenAddress, settings: Settings) -> Finding:
    """Ask at the return address as a hop does that checks its upstream."""
    relay = next(relay for relay in settings.relays if relay.hops)
    try:
        url = page_url(interface_host(address), f"/{relay.name}/{relay.hops[0].name}")
        answer = await http.ask("HEAD", url, seconds=PROBE_SECONDS)
    except CommandError:
        text = f"the relay does not answer at {address}, where hops come back"
        remedy = "restart it: returns changed, or that address is not this host's"
        return fail("returns", text, remedy)
    if answer.status == 200:
        return ok("returns", f"the relay answers hops at {address}")
    return fail("returns", f"at {address}: {_said(answer)}", RELOAD)


def _said(answer: Answer) -> str:
    return f"{answer.status}{f', {quote(answer.error)}' if answer.error else ''}"


async def _call(running: Running, relay: RelaySettings) -> Finding:
    """Send a call that costs nothing through the running relay."""
    path = f"/relay/{relay.name}{MODELS}"
    try:
        check_path(MODELS.encode(), relay.allow)
    except PathRefused:
        return note("call", f"not made through the relay: {MODELS} is not in its allow")
    try:
        answer = await running.ask(path, seconds=CALL_SECONDS)
    except CommandError:
        return fail("call", f"GET {path} through the relay: no answer", "look at the relay's log")
    if answer.status == 200:
        return ok("call", f"GET {path} through the relay: 200")
    text = f"GET {path} through the relay: {_said(answer)}, and without it all is well"
    if relay.hops and not answer.error and answer.status not in (401, 403):
        return warn("call", text, "nothing, if calls work: a hop may not know that path")
    return fail("call", text, f"it runs with another configuration or credential; {RELOAD}")
