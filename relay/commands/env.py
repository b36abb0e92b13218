"""What each kind of agent must be told, so that its calls go through the relay and nowhere else.

Each variable was tried on the agent itself: Claude Code 2.1.81 and 2.1.330, codex-cli 0.169.0,
the Anthropic SDKs (Python 2.12, TypeScript 1.12) and OpenAI's (Python 3.54, TypeScript 6.49).
How the variables are written is the business of `notations`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from relay.commands import CommandError
from relay.commands.check import credentials_of
from relay.commands.env_formats import LISTS, Agent, Environment
from relay.config import ListenAddress, RelaySettings, Settings, parse_upstream
from relay.credentials.credential import Credential
from relay.credentials.folder import TokenFolder
from relay.credentials.sources import read_text
from relay.errors import Api

# What agents send where no token is asked for: they insist on having one.
ANY_TOKEN: Final = "unused"  # noqa: S105  # deliberately worthless


@dataclass(frozen=True, slots=True)
class _Kind:
    """What one kind of agent reads."""

    api: Api
    token: str
    address: str = ""
    suffix: str = ""
    fixed: tuple[tuple[str, str], ...] = ()
    note: str = ""


_CODEX_NOTE: Final = "Codex takes the relay's address from a file: relay env codex --format toml"
KINDS: Final[Mapping[Agent, _Kind]] = {
    # As an API key the token would have Claude Code ask whether to use it.
    "claude-code": _Kind(
        "anthropic",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        fixed=(
            # Updates, telemetry and the like go past the relay, and nowhere from an internal
            # network.
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            # Of its own accord it would fetch plugins from elsewhere on its first start.
            ("CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL", "1"),
            # Some versions load every tool of every MCP server into each call where the base
            # URL is not Anthropic's (2.1.81 does, 2.1.330 does not).
            ("ENABLE_TOOL_SEARCH", "true"),
        ),
        note="WebFetch asks api.anthropic.com about each host first, past the relay; only a "
        "setting stops that: relay env claude-code --format settings",
    ),
    # The name that the SDKs and what is built on them read, all of them.
    "anthropic": _Kind("anthropic", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
    "codex": _Kind("openai", "OPENAI_API_KEY", note=_CODEX_NOTE),
    "openai": _Kind("openai", "OPENAI_API_KEY", "OPENAI_BASE_URL", "/v1"),
}
_DEFAULT_KINDS: Final[Mapping[Api, tuple[Agent, ...]]] = {
    "anthropic": ("claude-code",),
    "openai": ("openai", "codex"),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: which agent, at which address, as whom, through which relay."""

    agent: Agent | None = None
    host: str | None = None
    client: str | None = None
    relay: str | None = None


async def agent_environment(settings: Settings, wish: Wish) -> Environment:
    """Return what sends an agent's calls to the relays; without an agent, one for each API.

    Raises:
        CommandError: There is no such client or relay, or no token yet, or the host is none.
    """
    _, clients = await credentials_of(settings)
    token = _token_of(settings, clients, wish.client)
    address = _address_for_agents(settings.listen, wish.host)
    host = _host_of(address)
    relays = _chosen_relays(settings, wish)
    kinds = [KINDS[each] for each in _agents(relays, wish.agent)]
    variables: dict[str, str] = {}
    urls = {api: f"http://{address}/relay/{relay.name}" for api, relay in relays.items()}
    for kind in kinds:
        if kind.address:
            variables[kind.address] = urls[kind.api] + kind.suffix
        variables[kind.token] = token
        variables |= dict(kind.fixed)
    # With a proxy for the rest of the world, the relay is still called directly.
    variables |= dict.fromkeys(LISTS, host)
    notes = tuple(kind.note for kind in kinds if kind.note)
    openai = f"{urls['openai']}/v1" if "openai" in urls else ""
    return Environment(variables, notes, openai)


def ambiguities(settings: Settings, wish: Wish) -> list[str]:
    """Return what to say where several relays would do and the first was taken."""
    if wish.relay is not None:
        return []
    wanted = {KINDS[wish.agent].api} if wish.agent else {"anthropic", "openai"}
    found: dict[Api, list[str]] = {}
    for relay in settings.relays:
        found.setdefault(relay.api, []).append(relay.name)
    return [
        f"this is for the relay {names[0]}; --relay chooses another: {', '.join(names[1:])}"
        for api, names in found.items()
        if api in wanted and len(names) > 1
    ]


def _agents(relays: Iterable[Api], agent: Agent | None) -> tuple[Agent, ...]:
    return (agent,) if agent else tuple(each for api in relays for each in _DEFAULT_KINDS[api])


def _chosen_relays(settings: Settings, wish: Wish) -> dict[Api, RelaySettings]:
    """Return a relay for each API that is wanted: the one named, else the first."""
    names = ", ".join(relay.name for relay in settings.relays)
    fitting = [relay for relay in settings.relays if wish.relay in (None, relay.name)]
    if not fitting:
        raise CommandError(f"there is no relay of that name; there are {names}")
    if wish.agent is not None:
        api = KINDS[wish.agent].api
        fitting = [relay for relay in fitting if relay.api == api]
        if not fitting:
            raise CommandError(f"{wish.agent} needs a relay with the API {api}; there are {names}")
    chosen: dict[Api, RelaySettings] = {}
    for relay in fitting:
        chosen.setdefault(relay.api, relay)
    return chosen


def _token_of(settings: Settings, clients: Iterable[Credential], name: str | None) -> str:
    clients = list(clients)
    if not settings.has_clients and name is None:
        return ANY_TOKEN
    chosen = next((client for client in clients if name in (None, client.name)), None)
    if chosen is None:
        return _token_in_folder(settings, name)
    value = chosen.value()
    if value is None:
        raise CommandError(f"client {chosen.name} has no token yet: {chosen.explain()}")
    return value.decode("ascii")


def _token_in_folder(settings: Settings, name: str | None) -> str:
    """Return the token of a client that is a file of a folder."""
    if name is None:
        raise CommandError("say which client: --client NAME; relay token --client NAME makes one")
    names = [each.name for each in settings.owners]
    for folder in settings.folders:
        if name in TokenFolder(folder.name, folder.folder, names).names():
            return read_text(f"{folder.folder}/{name}").split()[0]
    raise CommandError("there is no client of that name in the configuration")


def _address_for_agents(listen: Iterable[ListenAddress], host: str | None) -> str:
    addresses = list(listen)
    first = addresses[0]
    if host is None:
        usable = (each for each in addresses if each.ip is not None and not each.ip.is_unspecified)
        return str(next(usable, ListenAddress("127.0.0.1", first.port)))
    bare = host.startswith("[") or host.count(":") != 1
    if not bare or (host.startswith("[") and "]:" in host):
        return host
    host = host.removeprefix("[").removesuffix("]")
    return str(ListenAddress(host, first.port))


def _host_of(address: str) -> str:
    """Return the host of ``host:port``; an IPv6 one without brackets, as no_proxy has it."""
    try:
        parsed = parse_upstream(f"http://{address}")
    except ValueError:
        parsed = None
    if parsed is None or parsed.prefix:
        raise CommandError("--host must be a host or host:port, for example 10.84.84.1")
    return parsed.host
