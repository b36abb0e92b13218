"""Examines what can be reached from a container on the agents' network.

Run in such a container, with the relay's address and no configuration. Only from there can be seen
what a firewall lets through, and what else of the host answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from relay import EXAMPLES, SECURITY
from relay.commands import BadArguments
from relay.commands.client import Answer, Client, NoAnswer
from relay.commands.doctor.calls import MODELS
from relay.commands.doctor.exposure import DEFAULT_SUBNET, SERVICES, name_of
from relay.commands.doctor.findings import Finding, Findings, fail, note, ok, quote, warn
from relay.commands.doctor.host import System
from relay.commands.doctor.local import CALL_SECONDS, PROBE_SECONDS
from relay.config import ListenAddress
from relay.upstream.dial import Dialer

_CONNECT_SECONDS: Final = 2.0
_DEFAULT_PORT: Final = 80
_DEFAULT_RELAY: Final = "/relay/anthropic"
TOKENS: Final = ("ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY")
"""Where `relay env` puts an agent's token."""


def parse(url: str) -> tuple[ListenAddress, str]:
    """Return the host, as an IP address or name, with its port, and a relay's path.

    Raises:
        BadArguments: It is none.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme != "http" or not _sendable(parts.path) or " " in parts.path:
        raise BadArguments("the relay's address is a URL like http://10.84.84.1:8484")
    path = parts.path.rstrip("/").removesuffix("/v1")
    return ListenAddress(host, port or _DEFAULT_PORT), path or _DEFAULT_RELAY


def _sendable(text: str) -> bool:
    return text.isascii() and text.isprintable()


async def examine(
    address: ListenAddress, path: str, environment: Mapping[str, str], http: Client
) -> Findings:
    """Examine what an agent can reach: the relay at this address, and other services."""
    finding = await _probe(http, address, path)
    yield finding
    if finding.level == "ok":
        yield await _call(http, address, path, environment)
    async for found in _around(address):
        yield found


async def _probe(http: Client, address: ListenAddress, path: str) -> Finding:
    try:
        answer = await http.ask("HEAD", f"http://{address}{path}", seconds=PROBE_SECONDS)
    except NoAnswer as error:
        return _unanswered(address, error)
    if answer.status == 200:
        return ok("relay", f"answers at {address}")
    return fail("relay", f"{address}: {answer.status} for {path}", "correct the relay's name")


def _unanswered(address: ListenAddress, error: NoAnswer) -> Finding:
    if error.why == "refused":
        text = f"{address} refuses: no relay listens there"
        return fail("relay", text, "start it, or correct the address: relay check shows `listen`")
    if error.why == "silent":
        text = f"{address} is silent: a firewall of the host drops what containers send, or the "
        rule = f"sudo ufw allow from {_subnet(address)} to any port {address.port} proto tcp"
        remedy = f"on the host: {rule}; for firewalld see {EXAMPLES}/llm-proxy/README.md"
        return fail("relay", f"{text}address is wrong", remedy)
    if error.why == "not HTTP":
        text = f"{address} does not speak HTTP: it is no relay"
        return fail("relay", text, "correct the address")
    text = f"there is no way to {address} from here"
    return fail(
        "relay",
        text,
        "join the agents' network: --network relay-agents, or what RELAY_NETWORK names",
    )


def _subnet(relay: ListenAddress) -> str:
    """Return the network of this container that the relay's address is in."""
    found = System().subnet_of(relay.ip) if relay.ip else None
    return str(found or DEFAULT_SUBNET)


async def _call(
    http: Client, address: ListenAddress, path: str, environment: Mapping[str, str]
) -> Finding:
    token = next((value for name in TOKENS if (value := environment.get(name))), "")
    if not token:
        text = "no call made: there is no token here"
        return note("call", text, "docker run ... --env-file agent.env: see relay env")
    if not _sendable(token):
        text = "no call made: the token here has characters that no header can have"
        return fail("call", text, "make agent.env anew")
    try:
        url = f"http://{address}{path}{MODELS}"
        answer = await http.ask("GET", url, seconds=CALL_SECONDS, token=token.encode())
    except NoAnswer:
        return fail("call", f"GET {path}{MODELS}: no answer", "look at the relay's log")
    return _judge(path, answer)


def _judge(path: str, answer: Answer) -> Finding:
    asked = f"GET {path}{MODELS}: {answer.status}"
    if answer.status == 200:
        return ok("call", asked)
    if answer.status == 401 and answer.error:
        return fail("call", f"{asked}: the relay does not know the token", "make agent.env anew")
    whose = f", {quote(answer.error)}" if answer.error else ", of the upstream"
    return fail("call", asked + whose, "docker compose exec relay relay doctor")


async def _around(relay: ListenAddress) -> Findings:
    """Try to connect to ports of usual services, beside the relay's."""
    ports = [port for port in SERVICES if port != relay.port]
    tried = await asyncio.gather(*(_connects(relay.host, port) for port in ports))
    reached = [name_of(port) for port, open_ in zip(ports, tried, strict=True) if open_]
    if reached:
        text = f"an agent here reaches around the relay: {', '.join(reached)}"
        yield warn("exposed", text, f"close them to agents: the rules are in {SECURITY}")
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
