"""``relay env``: the variables that send an agent's calls through the relay and nowhere else.

The variables of each agent are in `agents`, the ways of writing them in `env_formats`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from relay.commands import CommandError
from relay.commands.agents import ANY_TOKEN, DEFAULT_AGENTS, DISCOVERY, KINDS, Agent
from relay.commands.check import credentials_of
from relay.commands.env_formats import LISTS, Environment
from relay.config import ListenAddress, RelaySettings, Settings, parse_upstream
from relay.credentials.credential import Credential
from relay.credentials.folder import TokenFolder
from relay.credentials.sources import read_text
from relay.errors import Api
from relay.http.target import has_segments


@dataclass(frozen=True, slots=True)
class AgentChoice:
    """What is asked for: which agent, at which address, as whom, through which relay, and more."""

    agent: Agent | None = None
    host: str | None = None
    client: str | None = None
    relay: str | None = None
    discover_models: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """An agent's variables, with the relays and the token that they are made of."""

    environment: Environment
    address: str
    """The relay's, as ``host:port``."""
    relays: tuple[RelaySettings, ...]
    client: str
    token: str = field(repr=False)


async def agent_environment(settings: Settings, choice: AgentChoice) -> Environment:
    """Return the variables of an agent; errors as `tell`."""
    return (await tell(settings, choice)).environment


async def tell(settings: Settings, choice: AgentChoice) -> Told:
    """Return an agent's variables; without an agent, those of one for each API.

    Raises:
        CommandError: There is no such client or relay, or no token yet, or the host is malformed.
    """
    _, clients = await credentials_of(settings)
    client, token = _token_of(settings, clients, choice.client)
    address = _address_for_agents(settings.listen, choice.host)
    host = _host_of(address)
    relays = _chosen_relays(settings, choice)
    agents = _agents(relays, choice.agent)
    kinds = [KINDS[each] for each in agents]
    variables = _variables_of_discovery(agents) if choice.discover_models else {}
    urls = {api: f"http://{address}/relay/{relay.name}" for api, relay in relays.items()}
    for kind in kinds:
        variables |= kind.variables(urls, token)
    # With a proxy for the rest of the world, the relay is still called directly.
    variables |= dict.fromkeys(LISTS, host)
    notes = tuple(kind.note for kind in kinds if kind.note)
    openai = urls["openai"] + _version(relays["openai"]) if "openai" in urls else ""
    environment = Environment(variables, notes, openai)
    return Told(environment, address, tuple(relays.values()), client, token)


def _version(relay: RelaySettings) -> str:
    """Return the version in Codex's base URL: empty where the relay allows paths without one."""
    below = any(has_segments(path, b"/v1") for path in relay.allow)
    return "/v1" if below or any(has_segments(b"/v1", path) for path in relay.allow) else ""


def ambiguities(settings: Settings, choice: AgentChoice) -> list[str]:
    """Return a remark for each choice among several relays, of which the first was taken."""
    if choice.relay is not None:
        return []
    wanted = KINDS[choice.agent].apis if choice.agent else ("anthropic", "openai")
    found: dict[Api, list[str]] = {}
    for relay in settings.relays:
        found.setdefault(relay.api, []).append(relay.name)
    return [
        f"this is for the relay {names[0]}; --relay chooses another: {', '.join(names[1:])}"
        for api, names in found.items()
        if api in wanted and len(names) > 1
    ]


def _variables_of_discovery(agents: Iterable[Agent]) -> dict[str, str]:
    if "claude-code" not in agents:
        raise CommandError("Claude Code alone asks for the API's models")
    return dict(DISCOVERY)


def _agents(relays: Iterable[Api], agent: Agent | None) -> tuple[Agent, ...]:
    return (agent,) if agent else tuple(each for api in relays for each in DEFAULT_AGENTS[api])


def _chosen_relays(settings: Settings, choice: AgentChoice) -> dict[Api, RelaySettings]:
    """Return a relay for each API that is wanted: the one named, else the first."""
    names = ", ".join(relay.name for relay in settings.relays)
    fitting = [relay for relay in settings.relays if choice.relay in (None, relay.name)]
    if not fitting:
        raise CommandError(f"there is no relay of that name; relays here: {names}")
    if (agent := choice.agent) is not None:
        apis = KINDS[agent].apis
        fitting = [relay for relay in fitting if relay.api in apis]
        if not fitting:
            needed = f"{agent} needs a relay with the API {' or '.join(apis)}"
            raise CommandError(f"{needed}; relays here: {names}")
    chosen: dict[Api, RelaySettings] = {}
    for relay in fitting:
        chosen.setdefault(relay.api, relay)
    return chosen


def _token_of(
    settings: Settings, clients: Iterable[Credential], name: str | None
) -> tuple[str, str]:
    """Return a client's name and token."""
    clients = list(clients)
    if not settings.has_clients and name is None:
        return "", ANY_TOKEN
    chosen = next((client for client in clients if name in (None, client.name)), None)
    if chosen is None:
        return name or "", _token_in_folder(settings, name)
    value = chosen.value()
    if value is None:
        raise CommandError(
            f"client {chosen.name} has no token yet: {chosen.explain()}; relay token makes one"
        )
    return chosen.name, value.decode("ascii")


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
