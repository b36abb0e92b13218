"""Examines the way to an upstream step by step: name, connection, TLS.

Each step says exactly what is wrong, which a failed call does not; the first that fails is the
last. The relay's own call is tried after these (`api`).
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
import time
from typing import Final

from relay.commands.doctor.findings import Finding, Findings, fail, ok, quote, warn
from relay.commands.doctor.host import System
from relay.config import RelaySettings, UpstreamAddress
from relay.upstream.dial import NEXT_ADDRESS_SECONDS, AddressInfo, Dialer, connect_any
from relay.upstream.tls import tls_context

CONNECT_SECONDS: Final = 10.0
# The name that compose.yaml has for its own Headroom.
_STACK_HEADROOM: Final = "headroom"
START: Final = "headroom proxy"
"""How Headroom is started."""

# openssl/x509_vfy.h
_CERTIFICATE_FAULTS: Final = {
    9: ("its certificate is not valid yet", "set this host's clock"),
    10: ("its certificate has expired", "renew it; or set this host's clock"),
    18: ("its certificate is its own issuer", "name it in the relay's ca_file"),
    19: ("its issuer is not trusted", "name the CA's certificate in the relay's ca_file"),
    20: ("its issuer is not known", "name the CA's certificate in the relay's ca_file"),
    62: ("its certificate is for another name", "use the name that is in the certificate"),
    64: ("its certificate is for another address", "use the name that is in the certificate"),
}


async def reach(relay: RelaySettings, system: System, *, secret: bool = True) -> Findings:
    """Examine the steps; the last finding is the first failure.

    ``secret`` says whether the credential would be sent there.
    """
    address = relay.upstream
    rows = await resolve(address)
    if isinstance(rows, Finding):
        yield rows
        return
    hosts = hosts_of(rows)
    if hosts != [address.host]:
        yield named(address, hosts)
    connected = await connect(address, rows, system)
    yield connected
    if connected.level == "FAIL":
        return
    if address.tls:
        yield await _handshake(relay)
    elif secret and not all(ipaddress.ip_address(host).is_loopback for host in hosts):
        text = f"the credential goes to {address.host} unencrypted"
        yield warn("tls", text, "use https, unless nobody else is on that network")


def hosts_of(rows: list[AddressInfo]) -> list[str]:
    """Return the addresses that a name has, each once."""
    return list(dict.fromkeys(map(_host_of, rows)))


def named(address: UpstreamAddress, hosts: list[str]) -> Finding:
    """Return the addresses of a name, in words."""
    return ok("name", f"{address.host} is {', '.join(hosts)}")


async def resolve(address: UpstreamAddress) -> list[AddressInfo] | Finding:
    """Return what a host's name stands for, or what is wrong with it."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await Dialer(address.host, address.port).resolve()
    except TimeoutError:
        text = f"{address.host} is not resolved within {CONNECT_SECONDS:g} s"
        return fail("name", text, "look at the host's name servers (/etc/resolv.conf)")
    except (OSError, UnicodeError):
        text = f"{address.host} does not resolve to an address"
        return fail("name", text, "correct the host in the relay's URL, or the host's name servers")


def _host_of(row: AddressInfo) -> str:
    return str(row[4][0]).partition("%")[0]


async def connect(address: UpstreamAddress, rows: list[AddressInfo], system: System) -> Finding:
    """Try to connect."""
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            handle = await connect_any(rows)
    except OSError as error:  # TimeoutError is one
        return _unreached(address, [_host_of(row) for row in rows], error, system)
    host = str(handle.getpeername()[0]).partition("%")[0]
    handle.close()
    seconds = time.perf_counter() - begun
    text = f"{_pair(host, address.port)} in {seconds * 1000:.1f} ms"
    first = _host_of(rows[0])
    if host != first and seconds >= NEXT_ADDRESS_SECONDS:
        text += f", for {_pair(first, address.port)} does not answer"
    return ok("connect", text)


def _unreached(
    address: UpstreamAddress, hosts: list[str], error: OSError, system: System
) -> Finding:
    where = f"{address.host}:{address.port}"
    if isinstance(error, TimeoutError):
        text = f"{where} does not answer within {CONNECT_SECONDS:g} s"
        return fail("connect", text, "a firewall drops it, or the address is wrong")
    if not isinstance(error, ConnectionRefusedError):
        reason = os.strerror(error.errno).lower() if error.errno else "no way there"
        remedy = "look at the address and the host's routes"
        if address.host == _STACK_HEADROOM:
            remedy = f"start compose.yaml's: docker compose --profile headroom up -d; or {remedy}"
        return fail("connect", f"{where}: {reason}", remedy)
    text = f"nothing listens at {where}"
    if not all(ipaddress.ip_address(host).is_loopback for host in hosts):
        return fail("connect", text, "start what should listen there, or correct the relay's URL")
    others = [each.host for each in system.listeners() if each.port == address.port]
    if others:
        text += f", but at {_pair(others[0], address.port)}"
        return fail("connect", text, "correct the relay's URL, or have it listen on loopback")
    return fail("connect", text, _how_loopback_works(system))


def _how_loopback_works(system: System) -> str:
    if system.in_docker_desktop:
        return (
            "start what should listen there; in Docker Desktop 4.34 or later, switch on "
            "Settings, Resources, Network, Enable host networking"
        )
    if system.in_own_network:
        return (
            "this container is not on the host's network, and localhost is the container: "
            "run it with network_mode: host"
        )
    return f"start what should listen there (Headroom: {START}), or correct the relay's URL"


def _pair(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _handshake(relay: RelaySettings) -> Finding:
    address = relay.upstream
    context = tls_context(relay)
    where = f"{address.host}:{address.port}"
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            writer = await _shake_hands(address, context)
    except ssl.SSLCertVerificationError as error:
        text, remedy = _CERTIFICATE_FAULTS.get(
            error.verify_code, (f"its certificate: {quote(error.verify_message)}", "mend it")
        )
        return fail("tls", f"{where}: {text}", remedy)
    except ssl.SSLError as error:
        return _no_tls(where, error)
    except TimeoutError:
        text = f"{where} does not answer a TLS hello within {CONNECT_SECONDS:g} s"
        return fail("tls", text, "if no TLS is spoken there, use http:// in the relay's URL")
    except OSError:
        text = f"{where} ends the connection at a TLS hello"
        return fail("tls", text, "if no TLS is spoken there, use http:// in the relay's URL")
    version = writer.get_extra_info("ssl_object").version()
    writer.transport.abort()
    return ok("tls", f"{version}, and the certificate is {address.host}'s")


def _no_tls(where: str, error: ssl.SSLError) -> Finding:
    reason = (error.reason or "").replace("_", " ").lower()
    # OpenSSL's reasons for an answer that is not TLS: mostly HTTP.
    if reason in ("wrong version number", "http request", "packet length too long"):
        text = f"{where} answers a TLS hello with something else: no TLS is spoken there"
        return fail("tls", text, "use http:// in the relay's URL, or the port that speaks TLS")
    text = f"{where}: the TLS handshake fails: {quote(reason) or 'the connection ended'}"
    return fail("tls", text, "look at the upstream's TLS settings, and at what is in between")


async def speaks_tls(address: UpstreamAddress) -> bool:
    """Whether a TLS hello is answered with TLS, whatever the certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent: this only asks which protocol it is
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            writer = await _shake_hands(address, context)
    except OSError:
        return False
    writer.transport.abort()
    return True


async def _shake_hands(
    address: UpstreamAddress, context: ssl.SSLContext | None
) -> asyncio.StreamWriter:
    handle = await Dialer(address.host, address.port).connect()
    _, writer = await asyncio.open_connection(
        sock=handle, ssl=context, server_hostname=address.host
    )
    return writer
