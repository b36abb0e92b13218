"""The way to an API by a proxy, step by step: its name, a connection, CONNECT, TLS with the API.

The steps are those of a call. Whether the proxy reads what goes through shows where its own CA is
what makes the API's certificate good.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from relay.commands.doctor import path
from relay.commands.doctor.findings import Finding, Findings, fail, note, ok, warn
from relay.commands.doctor.host import System
from relay.config import EgressSettings, RelaySettings
from relay.config.egress import PROXY_VARIABLES
from relay.upstream.egress import Egress
from relay.upstream.tls import tls_context
from relay.upstream.tunnel import Tunnel
from relay.upstream.tunnel_words import NotOpened, Step, why_not

CHECK: Final = "egress"
_CHECKS: Final[dict[Step, str]] = {
    "connect": "connect",
    "proxy tls": "tls",
    "CONNECT": "CONNECT",
    "tls": "tls",
}


async def reach(relay: RelaySettings, settings: EgressSettings, system: System) -> Findings:
    """Find out how far one gets; the last finding is the first failure."""
    egress = Egress(settings)
    try:
        async for finding in _reach(relay, egress, system):
            yield finding
    finally:
        egress.close()


async def _reach(relay: RelaySettings, egress: Egress, system: System) -> Findings:
    presence = await _presence(egress)
    if presence is not None and presence.level == "ok":
        yield presence
    for problem, remedy in egress.remarks:
        yield warn(CHECK, f"its credential {problem}", remedy)
    async for finding in _connect(egress, system):
        yield finding
        if finding.level == "FAIL":
            return
    if presence is not None and presence.level == "FAIL":
        yield presence
        return
    tunnel = _tunnel(relay, egress)
    failure = await _open(tunnel)
    for finding in _passed(tunnel, failed=failure is not None):
        yield finding
    if failure is not None:
        yield failure
    elif await _is_read(relay, egress):
        text = f"the proxy reads what goes to {relay.upstream.host}, and the credential with it"
        remedy = "nothing, if that is meant; else have that host let through unread"
        yield warn("tls", f"{text}: its own CA makes the certificate good", remedy)


async def _presence(egress: Egress) -> Finding | None:
    credential = egress.credential
    if credential is None:
        return None
    await credential.settle()
    if credential.ready:
        return ok(CHECK, f"its credential is there, from {credential.origin()}")
    text = f"its credential is MISSING: {credential.explain()}"
    return fail(CHECK, text, credential.remedy())


async def _connect(egress: Egress, system: System) -> Findings:
    address = egress.address
    rows = await path.resolve(address)
    if isinstance(rows, Finding):
        yield _of_proxy(rows)
        return
    hosts = path.hosts_of(rows)
    if hosts != [address.host]:
        yield _of_proxy(path.named(address, hosts))
    yield _of_proxy(await path.connect(address, rows, system))
    if egress.credential is not None and not (address.tls or address.is_loopback):
        text = "its user and password go to the proxy unencrypted"
        remedy = "nothing, on a network of the company's own; an https:// URL hides them"
        yield note(CHECK, text, remedy)


def _of_proxy(finding: Finding) -> Finding:
    """Return what was found on the way to the proxy, as of the proxy."""
    remedy = finding.remedy.replace("the relay's URL", "egress.url")
    remedy = remedy.replace(f" (Headroom: {path.START})", "")
    return replace(finding, text=f"proxy: {finding.text}", remedy=remedy)


def _tunnel(relay: RelaySettings, egress: Egress) -> Tunnel:
    tls = tls_context(relay)
    assert tls is not None, "a proxy is on the way to https alone"
    return Tunnel(egress, relay.upstream, tls)


async def _open(tunnel: Tunnel) -> Finding | None:
    """Open a way, and let it go; return what failed."""
    try:
        async with asyncio.timeout(path.CONNECT_SECONDS):
            transport = await tunnel.open(asyncio.Protocol())
    except (NotOpened, OSError, UnicodeError) as error:
        why = why_not(tunnel, error, path.CONNECT_SECONDS)
        text = why.text or f"nothing answers at {tunnel.egress.address} any more"
        return fail(_CHECKS[tunnel.step], text, why.remedy or "look at the proxy's log")
    transport.abort()
    return None


def _passed(tunnel: Tunnel, *, failed: bool) -> Iterator[Finding]:
    """Yield the steps that were taken, up to the one that failed."""
    steps: dict[Step, Finding | None] = {
        "connect": None,
        "proxy tls": ok("tls", f"proxy: the certificate is {tunnel.egress.address.host}'s"),
        "CONNECT": ok("CONNECT", f"the proxy opens a way to {tunnel.authority}"),
        "tls": ok("tls", f"the certificate is {tunnel.address.host}'s"),
    }
    if not tunnel.egress.tls:
        steps["proxy tls"] = None
    for step, finding in steps.items():
        if failed and step == tunnel.step:
            return
        if finding is not None:
            yield finding


async def _is_read(relay: RelaySettings, egress: Egress) -> bool:
    """Whether the API's certificate is good by the proxy's own CA alone."""
    if egress.settings.ca_file is None:
        return False
    without = replace(egress.settings, ca_file=None)
    tunnel = _tunnel(replace(relay, egress=without), egress)
    try:
        async with asyncio.timeout(path.CONNECT_SECONDS):
            (await tunnel.open(asyncio.Protocol())).abort()
    except ssl.SSLCertVerificationError:
        return tunnel.step == "tls"
    except (NotOpened, OSError):
        return False
    return False


def variable_note(
    relay: RelaySettings, finding: Finding, environment: Mapping[str, str] = os.environ
) -> Finding | None:
    """Return that a proxy may be missing on the way, where a step failed without one."""
    name = next((each for each in PROXY_VARIABLES if environment.get(each)), None)
    if finding.level != "FAIL" or name is None or relay.upstream.is_loopback:
        return None
    text = f"${name} is set here, which the relay does not follow"
    return note(CHECK, text, "if the way out is by that proxy, name it in egress: docs/egress.md")
