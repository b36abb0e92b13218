"""The agent's place: what is reached from a container on the agents' network.

Run there, with the relay's address and no configuration. That is the one way to see what a
firewall does, and what else of the host answers.
"""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from relay.commands.doctor.calls import MODELS
from relay.commands.doctor.exposure import DEFAULT_SUBNET, SERVICES, name_of
from relay.commands.doctor.findings import Finding, Findings, fail, note, ok, warn
from relay.commands.doctor.host import System
from relay.commands.doctor.local import CALL_SECONDS, PROBE_SECONDS, Reply, request
from relay.config import ListenAddress
from relay.upstream.dial import Dialer

_CONNECT_SECONDS: Final = 2.0
_DEFAULT_PORT: Final = 80
_DEFAULT_RELAY: Final = "/relay/anthropic"
TOKENS: Final = ("ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY")
"""Where `relay env` puts an agent's token."""


class BadAddress(Exception):
    """The relay's address cannot be used; the text says why."""


def parse(url: str) -> tuple[ListenAddress, str]:
    """Return the host, as an IP address or name, with its port, and a relay's path.

    Raises:
        BadAddress: It is none.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme != "http":
        raise BadAddress("the relay's address is a URL like http://10.84.84.1:8484")
    path = parts.path.rstrip("/").removesuffix("/v1")
    return ListenAddress(host, port or _DEFAULT_PORT), path or _DEFAULT_RELAY


async def examine(address: ListenAddress, path: str, environment: Mapping[str, str]) -> Findings:
    """Find out what an agent reaches from here: a relay at this address and path, and more."""
    finding = await asyncio.to_thread(_probe, address, path)
    yield finding
    if finding.level == "ok":
        yield await asyncio.to_thread(_call, address, path, environment)
    async for found in _around(address):
        yield found


def _probe(address: ListenAddress, path: str) -> Finding:
    try:
        reply = request(address, "HEAD", path, PROBE_SECONDS)
    except ConnectionRefusedError:
        text = f"{address} refuses: no relay listens there"
        return fail("relay", text, "start it, or correct the address: relay check shows `listen`")
    except TimeoutError:
        text = f"{address} is silent: a firewall of the host drops what containers send, or the "
        rule = f"sudo ufw allow from {_subnet(address)} to any port {address.port} proto tcp"
        remedy = f"on the host: {rule}; for firewalld see examples/llm-proxy/README.md"
        return fail("relay", f"{text}address is wrong", remedy)
    except http.client.HTTPException:
        text = f"{address} does not speak HTTP: it is no relay"
        return fail("relay", text, "correct the address")
    except OSError:
        text = f"there is no way to {address} from here"
        return fail("relay", text, "join the agents' network: --network relay-agents")
    if reply.status == 200:
        return ok("relay", f"answers at {address}")
    return fail("relay", f"{address}: {reply.status} for {path}", "correct the relay's name")


def _subnet(relay: ListenAddress) -> str:
    """Return the network of this container that the relay's address is in."""
    found = System().subnet_of(relay.ip) if relay.ip else None
    return str(found or DEFAULT_SUBNET)


def _call(address: ListenAddress, path: str, environment: Mapping[str, str]) -> Finding:
    token = next((value for name in TOKENS if (value := environment.get(name))), "")
    if not token:
        text = "no call made: there is no token here"
        return note("call", text, "docker run ... --env-file agent.env: see relay env")
    try:
        reply = request(address, "GET", path + MODELS, CALL_SECONDS, token.encode())
    except (OSError, http.client.HTTPException):
        return fail("call", f"GET {path}{MODELS}: no answer", "look at the relay's log")
    return _judge(path, reply)


def _judge(path: str, reply: Reply) -> Finding:
    asked = f"GET {path}{MODELS}: {reply.status}"
    if reply.status == 200:
        return ok("call", asked)
    if reply.status == 401 and reply.error:
        return fail("call", f"{asked}: the relay does not know the token", "make agent.env anew")
    whose = f", {reply.error}" if reply.error else ", of the upstream"
    return fail("call", asked + whose, "docker compose exec relay relay doctor")


async def _around(relay: ListenAddress) -> Findings:
    """Try the ports where something worth reaching often listens, beside the relay's."""
    ports = [port for port in SERVICES if port != relay.port]
    tried = await asyncio.gather(*(_connects(relay.host, port) for port in ports))
    reached = [name_of(port) for port, open_ in zip(ports, tried, strict=True) if open_]
    if reached:
        text = f"an agent here reaches around the relay: {', '.join(reached)}"
        yield warn("exposed", text, "close them to agents: the rules are in SECURITY.md")
    else:
        yield ok("exposed", f"of {len(ports)} ports often in use, none else is reached")


async def _connects(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            handle = await Dialer(host, port).connect()
    except OSError:
        return False
    handle.close()
    return True
