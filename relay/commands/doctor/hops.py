"""Examines the hops of a relay from here: what they need, and whether they answer.

They are only asked what they are; none is sent the credential. Whether calls come back from them, a
running relay finds out (`chain`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from relay.commands.doctor import headroom
from relay.commands.doctor.findings import Finding, Findings, fail, ok, warn
from relay.commands.doctor.host import System
from relay.commands.doctor.path import START, reach
from relay.config import (
    HopSettings,
    RelaySettings,
    Settings,
    return_addresses,
    return_variables,
)
from relay.credentials.credential import Credential
from relay.downstream.listener import interface_addresses
from relay.proxy.hop_words import GO_ON, STRONGER, WEAK_PASS
from relay.proxy.passes import is_strong

CHECK: Final = "hop"
_PASS: Final = "its pass"


@dataclass(frozen=True, slots=True)
class Extra:
    """A value with a source that an upstream or a hop needs: a header, or a pass."""

    relay: str
    hop: str
    """Empty, where it is the relay's own."""
    name: str
    credential: Credential

    @property
    def is_weak_pass(self) -> bool:
        """Whether this is a pass that can be guessed."""
        return self.name == _PASS and not is_strong(self.credential.value() or b"")


async def extras_of(settings: Settings) -> list[Extra]:
    """Return the headers of all relays and hops, and the passes that have sources, each read."""
    found = [each for relay in settings.relays for each in _extras_of(relay)]
    for extra in found:
        await extra.credential.settle()
    return found


def _extras_of(relay: RelaySettings) -> Iterator[Extra]:
    wanted = [("", relay.headers), *((hop.name, hop.headers) for hop in relay.hops)]
    for hop, headers in wanted:
        for header in headers:
            name = f"header {header.name.decode()}"
            yield Extra(relay.name, hop, name, Credential(name, header.sources))
    for each in relay.hops:
        if not isinstance(each.pass_, str):
            yield Extra(relay.name, each.name, _PASS, Credential(_PASS, each.pass_))


def presence(extra: Extra) -> Finding:
    """Say whether such a value is there."""
    credential, check = extra.credential, CHECK if extra.hop else "header"
    name = f"{extra.hop}: {extra.name}" if extra.hop else extra.name
    if not credential.ready:
        return fail(check, f"{name} is MISSING: {credential.explain()}", credential.remedy())
    if extra.is_weak_pass:
        text = f"{name} {WEAK_PASS}"
        return fail(check, text, f"make another with relay token; {STRONGER}")
    return ok(check, f"{name} is there, from {credential.origin()}")


async def examine(
    relay: RelaySettings, extras: Sequence[Extra], settings: Settings, system: System
) -> Findings:
    """Examine each hop of a relay."""
    for hop in relay.hops:
        for extra in extras:
            if (extra.relay, extra.hop) == (relay.name, hop.name):
                yield presence(extra)
        # The hop, examined as if it were an upstream without a credential.
        alone = replace(
            relay,
            upstream=hop.upstream,
            ca_file=hop.ca_file,
            headers=(),
            hops=(),
            max_body=None,
            egress=None,
        )
        back = _back(settings, relay, hop)
        reached = True
        async for finding in reach(alone, system, secret=False):
            reached = reached and finding.level != "FAIL"
            yield _of(relay, hop, finding, back)
        version = await headroom.find_version(alone, settings) if reached else None
        if version is not None:
            async for finding in headroom.examine(alone, version, settings, system, back):
                yield replace(finding, text=f"{hop.name}: {finding.text}")


def _of(relay: RelaySettings, hop: HopSettings, finding: Finding, back: str) -> Finding:
    """Return a finding about the connection, named as the hop's."""
    text = f"{hop.name}: {finding.text}"
    # Without this variable Headroom would call the API itself.
    own, *_ = return_variables(relay.api, back)
    start = f"{own.assignment} {START}"
    remedy = finding.remedy.replace("the relay's", "the hop's").replace(START, start)
    if finding.level == "FAIL" and finding.check != "tls" and hop.if_down == "skip":
        return warn(CHECK, f"{text}; {GO_ON}", remedy)
    return replace(finding, check=CHECK, text=text, remedy=remedy)


def _back(settings: Settings, relay: RelaySettings, hop: HopSettings) -> str:
    """Return only the address that a hop is to send on to."""
    found = return_addresses(settings, relay, hop, interface_addresses)
    return found[0].url if found else "<the relay's return address>"


def way_back(settings: Settings, relay: RelaySettings, hop: HopSettings) -> str:
    """Return the address that a hop is to send on to, with the variables that set it."""
    found = return_addresses(settings, relay, hop, interface_addresses)
    if not found:
        return "an address of returns, none of which is there yet"
    address = found[0]
    variables = (
        f"{proxy}: {assignment}" for proxy, assignment in return_variables(relay.api, address.url)
    )
    text = f"{address.url} ({'; '.join(variables)})"
    if address.loopback and not hop.upstream.is_loopback:
        text += ", which only this host reaches: name another in returns for a hop elsewhere"
    return text
