"""The relay that runs here: where agents reach it, and whether it takes their token."""

from __future__ import annotations

from typing import Final

from relay.commands import CommandError
from relay.commands.admin_address import interface_host, page_url
from relay.commands.client import Answer, Client
from relay.commands.doctor.calls import MODELS
from relay.commands.doctor.findings import Finding, Findings, fail, note, ok, quote, warn
from relay.config import ListenAddress, RelaySettings, Settings
from relay.credentials.credential import Credential
from relay.credentials.shape import remarks
from relay.errors import PathRefused
from relay.proxy.routing import check_path

PROBE_SECONDS: Final = 5.0
CALL_SECONDS: Final = 20.0
_RELOAD: Final = "reload it: docker compose kill -s HUP relay, or kill -HUP"


async def examine(
    settings: Settings, clients: list[Credential], working: list[RelaySettings], http: Client
) -> Findings:
    """Find out about the running relay; ``working`` are those whose upstream takes calls."""
    for warning in settings.warnings:
        yield warn("config", warning, f"mend it there; where the relay runs already, {_RELOAD}")
    for client in clients:
        yield _token(client)
        for problem, remedy in remarks(client.reading, None):
            yield warn("client", f"{client.name}: its token {problem}", remedy)
    admin = settings.admin[0]
    try:
        status = (await http.ask("GET", page_url(interface_host(admin), "/healthz"))).status
    except CommandError:
        text = f"no relay answers at {admin}"
        yield warn("running", text, "docker compose up -d, or relay serve")
        return
    if status != 200:
        text = f"what answers at {admin} is no relay: it said {status}"
        yield fail("running", text, "end it, or give the relay another admin address")
        return
    yield ok("running", f"the relay answers at {admin}")
    yield await _readiness(http, admin)
    reached: list[ListenAddress] = []
    for address in settings.listen:
        finding = await _probe(http, address, settings.relays[0])
        reached += [address] if finding.level == "ok" else []
        yield finding
    token = next((value for each in clients if (value := each.value())), None)
    if reached and (token or not clients):
        for relay in working:
            yield await _call(http, reached[0], relay, token)


def _token(client: Credential) -> Finding:
    if client.ready:
        return ok("client", f"{client.name}: its token is there, from {client.origin()}")
    text = f"{client.name}: its token is MISSING: {client.explain()}"
    return fail("client", text, client.remedy())


async def _readiness(http: Client, admin: ListenAddress) -> Finding:
    try:
        status = (await http.ask("GET", page_url(interface_host(admin), "/readyz"))).status
    except CommandError:
        status = 0
    if status == 200:
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
    return fail("listen", f"at {address}: {_said(answer)}", _RELOAD)


def _said(answer: Answer) -> str:
    return f"{answer.status}{f', {quote(answer.error)}' if answer.error else ''}"


async def _call(
    http: Client, address: ListenAddress, relay: RelaySettings, token: bytes | None
) -> Finding:
    """Make the free call through the running relay."""
    path = f"/relay/{relay.name}{MODELS}"
    try:
        check_path(MODELS.encode(), relay.allow)
    except PathRefused:
        return note("call", f"not made through the relay: {MODELS} is not in its allow")
    try:
        url = f"http://{interface_host(address)}{path}"
        answer = await http.ask("GET", url, seconds=CALL_SECONDS, token=token)
    except CommandError:
        return fail("call", f"GET {path} through the relay: no answer", "look at the relay's log")
    if answer.status == 200:
        return ok("call", f"GET {path} through the relay: 200")
    text = f"GET {path} through the relay: {_said(answer)}, and without it all is well"
    return fail("call", text, f"it runs with another configuration or credential; {_RELOAD}")
