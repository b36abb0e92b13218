"""``relay check``: describes what would be served; of secrets, only where they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from relay.config import (
    ClientRules,
    EgressSettings,
    HeaderSettings,
    HopSettings,
    RelaySettings,
    ReturnAddress,
    Settings,
    Sources,
    return_addresses,
    return_variables,
)
from relay.credentials.credential import Credential
from relay.credentials.reading import lasting
from relay.credentials.shape import remarks
from relay.downstream.listener import interface_addresses
from relay.proxy.hop_words import OR_A_HOP
from relay.telemetry.spending.words import per_period
from relay.upstream.egress import Egress

_INDENT: Final = " " * 12


async def credentials_of(settings: Settings) -> tuple[list[Credential], list[Credential]]:
    """Return the grants and the clients' tokens, each read once."""
    grants = [
        Credential(grant.name, grant.sources, fields=grant.fields) for grant in settings.grants
    ]
    clients = [Credential(client.name, client.sources) for client in settings.clients]
    for credential in (*grants, *clients):
        await credential.settle()
    return grants, clients


async def describe(settings: Settings) -> list[str]:
    """Return the description, line by line."""
    grants, clients = await credentials_of(settings)
    states = {grant.name: _state(grant) for grant in grants}
    lines = [f"listen    {address}" for address in settings.listen]
    lines += [f"admin     {address}" for address in settings.admin]
    lines += [f"returns   {address}" for address in settings.returns if settings.has_hops]
    for relay in settings.relays:
        lines += await _describe_relay(relay, states[relay.grant.name])
        for hop in relay.hops:
            lines += await _describe_hop(settings, relay, hop)
    for client, declared in zip(clients, settings.clients, strict=True):
        lines.append(f"client    {client.name}: token {_state(client)}")
        lines += _describe_rules(declared.rules)
    for folder in settings.folders:
        lines.append(f"clients   {folder.name}: each file in {folder.folder}")
        lines += _describe_rules(folder.rules)
    lines += [f"limit     {per_period(each)}, of all together" for each in settings.limits]
    if not settings.has_clients:
        lines.append("client    whoever is on this host: no clients are declared")
    limits = settings.timeouts.model_dump()
    lines.append("timeouts  " + ", ".join(f"{name} {value:g} s" for name, value in limits.items()))
    lines.append(f"drain     {settings.drain:g} s")
    if (ledger := settings.ledger) is not None:
        kept = f"{ledger.keep_days:g} days, at most {ledger.max_mb:g} MB"
        lines.append(f"ledger    {ledger.path}: {kept}; days as in {settings.timezone}")
    lines += [f"warning   {warning}" for warning in settings.warnings]
    for grant in grants:
        found = remarks(grant.reading, grant.name)
        lines += [f"warning   value of credential {grant.name}: {each}" for each in found]
    for client in clients:
        found = remarks(client.reading, None)
        lines += [f"warning   value of client {client.name}'s token: {each}" for each in found]
    for egress in map(Egress, settings.egresses):
        name = f"value of credential for the proxy {egress.address}"
        await egress.look()
        lines += [f"warning   {name}: {each}" for each in egress.remarks]
        egress.close()
    return lines


def _describe_rules(rules: ClientRules) -> list[str]:
    """Return what a client may do, where that is not everything."""
    lines = [] if rules.relays is None else [_field("relays", " ".join(sorted(rules.relays)))]
    return lines + [_field("limit", per_period(each)) for each in rules.limits]


async def _describe_relay(relay: RelaySettings, state: str) -> list[str]:
    lines = [f"relay     /relay/{relay.name} forwards to {relay.upstream}, API {relay.api}"]
    if relay.hops:
        first, *others = _legs(relay)
        lines += [_field("chain", f"agent {first}"), *(_field("", leg) for leg in others)]
    lines.append(_field("paths", " ".join(prefix.decode() for prefix in relay.allow)))
    lines.append(_field("credential", f"{relay.grant.name}, {state}"))
    if relay.may_be_to_a_hop:
        lines.append(_field("", "what answers there gets it; an LLM proxy as a hop does not:"))
        lines.append(_field("", f"{OR_A_HOP} (docs/upgrading.md)"))
    if relay.egress is not None:
        lines.append(_field("egress", await _describe_egress(relay.egress)))
    return lines + await _describe_headers(relay.headers)


async def _describe_egress(egress: EgressSettings) -> str:
    if not egress.sources:
        return f"{egress.proxy}, without a credential"
    return f"{egress.proxy}, credential {await _source_state('egress', egress.sources)}"


def _legs(relay: RelaySettings) -> list[str]:
    """Return the legs of a call, each named by where it ends."""
    legs = []
    for hop in relay.hops:
        skipped = ", skipped while it is down" if hop.if_down == "skip" else ""
        legs.append(f"-> {hop.name} {hop.upstream}{skipped}")
    out = "" if relay.egress is None else f" through the proxy {relay.egress.proxy}"
    headers = (relay.grant.header, *(each.name for each in relay.grant.further))
    return [*legs, f"-> {relay.upstream}{out}, credential in {b', '.join(headers).decode()}"]


async def _describe_hop(settings: Settings, relay: RelaySettings, hop: HopSettings) -> list[str]:
    lines = [f"hop       {relay.name}/{hop.name} at {hop.upstream}"]
    addresses = return_addresses(settings, relay, hop, interface_addresses)
    lines += [line for each in addresses[:1] for line in _return_lines(relay, hop, each)]
    if not addresses:
        lines.append(f"{_INDENT}is to send on to an address of returns: none of them is there yet")
    if not isinstance(hop.pass_, str):
        lines.append(_field("pass", await _source_state("pass", hop.pass_)))
    return lines + await _describe_headers(hop.headers)


def _return_lines(relay: RelaySettings, hop: HopSettings, address: ReturnAddress) -> Iterator[str]:
    """Yield the settings of a hop that send its calls back to the relay, ready to be copied."""
    yield f"{_INDENT}is to send on to {address.url}"
    if address.loopback and not hop.upstream.is_loopback:
        yield f"{_INDENT}which only this host reaches: name another in returns for a hop elsewhere"
    for variable in return_variables(relay.api, address.url):
        yield f"{_INDENT}in {variable.proxy}:"
        yield f"{_INDENT}  {variable.assignment}"


async def _describe_headers(headers: tuple[HeaderSettings, ...]) -> list[str]:
    lines = []
    for header in headers:
        name = header.name.decode()
        lines.append(_field("header", f"{name}, {await _source_state(name, header.sources)}"))
    return lines


async def _source_state(name: str, sources: Sources) -> str:
    credential = Credential(name, sources)
    await credential.settle()
    return _state(credential)


def _field(label: str, text: str) -> str:
    return f"{_INDENT}{label:<12}{text}"


def _state(credential: Credential) -> str:
    if credential.ready:
        return f"is there, from {credential.origin()}{lasting(credential.reading)}"
    return f"is MISSING: {credential.explain()}"
