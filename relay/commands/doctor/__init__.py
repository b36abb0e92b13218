"""``relay doctor``: what is wrong between an agent and the API, and what to do about it.

Three sections: each relay with its upstream (`api`, with `path`, `calls`, `streams`, `hops` and
`headroom`), the relay that runs here (`local`, `chain`), and its surroundings (`exposure`,
`platforms`, from what `host` can see). Run from an agent's container there is one (`from_agent`).
It changes nothing, starts nothing and, unless asked to, costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TextIO

from relay.commands.check import credentials_of
from relay.commands.client import Client
from relay.commands.doctor import api, exposure, from_agent, local, platforms
from relay.commands.doctor.api import Held
from relay.commands.doctor.findings import Findings, Reporter
from relay.commands.doctor.hops import extras_of
from relay.commands.doctor.host import System
from relay.commands.doctor.streams import StreamOptions
from relay.config import RelaySettings, Settings
from relay.credentials.credential import Credential

__all__ = ["StreamOptions", "System", "diagnose", "diagnose_from_agent"]

_OK: Final = 0
_FAILED: Final = 1


async def diagnose(
    settings: Settings, system: System, stream: StreamOptions, out: TextIO, *, as_json: bool
) -> int:
    """Examine everything; return the exit status."""
    grants, clients = await credentials_of(settings)
    extras = await extras_of(settings)
    credentials = grants + clients + [each.credential for each in extras]
    reporter = Reporter(out, _values(credentials), as_json=as_json)
    by_name = {grant.name: grant for grant in grants}
    working: list[RelaySettings] = []
    for relay in settings.relays:
        held = Held(by_name[relay.grant.name], [e for e in extras if e.relay == relay.name])
        findings = api.examine(relay, held, settings, system, stream)
        await reporter.add(f"relay {_legs(relay)}", _noting(findings, relay, working))
    async with Client() as http:
        found = local.examine(settings, clients, working, http, stream.model)
        await reporter.add("this relay", found)
    await reporter.add("around it", _surroundings(settings, system))
    reporter.end()
    for credential in credentials:
        credential.close()
    return _FAILED if reporter.failed else _OK


def _legs(relay: RelaySettings) -> str:
    out = [] if relay.egress is None else [f"proxy {relay.egress.proxy}"]
    hops = (hop.name for hop in relay.hops)
    return " -> ".join([relay.name, *hops, *out, str(relay.upstream)])


async def _surroundings(settings: Settings, system: System) -> Findings:
    for examine in (platforms.examine, exposure.examine):
        async for finding in examine(settings, system):
            yield finding


def _values(credentials: list[Credential]) -> list[str]:
    return [each.decode() for credential in credentials for each in credential.values() or ()]


async def _noting(
    findings: Findings, relay: RelaySettings, working: list[RelaySettings]
) -> Findings:
    """Yield the findings, and note the relay if its credential is accepted."""
    async for finding in findings:
        if finding.check == "credential" and finding.level == "ok":
            working.append(relay)
        yield finding


async def diagnose_from_agent(
    url: str, environment: Mapping[str, str], out: TextIO, *, as_json: bool
) -> int:
    """Examine what can be reached from an agent's container; return the exit status.

    Raises:
        BadArguments: The URL is malformed.
    """
    address, path = from_agent.parse(url)
    tokens = (environment.get(name, "") for name in from_agent.TOKENS)
    reporter = Reporter(out, tokens, as_json=as_json)
    async with Client() as http:
        found = from_agent.examine(address, path, environment, http)
        await reporter.add("an agent here", found)
    reporter.end()
    return _FAILED if reporter.failed else _OK
