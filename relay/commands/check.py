"""``relay check``: what would be served, in words; of secrets, only where they are."""

from __future__ import annotations

from relay.config import RelaySettings, Settings
from relay.credentials.credential import Credential
from relay.credentials.shape import remarks


async def credentials_of(settings: Settings) -> tuple[list[Credential], list[Credential]]:
    """Return the grants and the clients' tokens, each read once."""
    grants = [Credential(grant.name, grant.sources) for grant in settings.grants]
    clients = [Credential(client.name, client.sources) for client in settings.clients]
    for credential in (*grants, *clients):
        await credential.settle()
    return grants, clients


async def describe(settings: Settings) -> list[str]:
    """Return the lines that say what would be served; of secrets, only where they are."""
    grants, clients = await credentials_of(settings)
    states = {grant.name: _state(grant) for grant in grants}
    lines = [f"listen    {address}" for address in settings.listen]
    lines += [f"admin     {address}" for address in settings.admin]
    for relay in settings.relays:
        lines += _describe_relay(relay, states[relay.grant.name])
    lines += [f"client    {client.name}: token {_state(client)}" for client in clients]
    if not clients:
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
    return lines


def _describe_relay(relay: RelaySettings, state: str) -> list[str]:
    paths = " ".join(prefix.decode() for prefix in relay.allow)
    return [
        f"relay     /relay/{relay.name} forwards to {relay.upstream}, API {relay.api}",
        f"            paths       {paths}",
        f"            credential  {relay.grant.name}, {state}",
    ]


def _state(credential: Credential) -> str:
    if credential.ready:
        return f"is there, from {credential.origin()}"
    return f"is MISSING: {credential.explain()}"
