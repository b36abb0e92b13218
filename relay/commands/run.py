"""``relay run``: starts an agent whose calls go through the relay, or starts nothing.

Before that it checks the client's token, the credential, and, by a challenge, that what listens at
the relay's address knows the token. The agent gets the variables of `relay env`, and none that hold
a credential. What Claude Code's settings would override is passed by a file of settings, because a
command line is readable by every user of the host.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from relay.commands import CommandError
from relay.commands.agents import PROGRAMS, Agent
from relay.commands.child import run_child
from relay.commands.claude_settings import obstacle
from relay.commands.client import Client, NoAnswer
from relay.commands.env import AgentChoice, Told, tell
from relay.commands.env_formats import LISTS, Environment, codex_options, settings
from relay.commands.running_relay import holds_credential
from relay.config import GRANT_VARIABLES, EnvSource, RelaySettings, Settings, Sources
from relay.credentials.credential import Credential
from relay.credentials.shape import is_weak
from relay.proxy.proof import proof_of

CREDENTIAL_VARIABLES: Final = ("ANTHROPIC_AUTH_TOKEN", *GRANT_VARIABLES.values())
"""Variables that agents read as a credential of their own."""


@dataclass(frozen=True, slots=True)
class Start:
    """An agent that may be started."""

    agent: Agent
    command: Sequence[str]
    told: Environment
    """Its variables: lists extended by what is set already, credentials emptied."""
    environment: Mapping[str, str] = field(repr=False)
    warnings: Sequence[str] = ()


def agent_of(command: Sequence[str], named: str | None) -> Agent:
    """Return which agent this is, by the name given or the program's own.

    Raises:
        CommandError: There is no program, or one of an unknown name.
    """
    if not command:
        raise CommandError("what is to run? relay run -- claude")
    name = named or Path(command[0]).name
    if name not in PROGRAMS:
        raise CommandError(f"which agent is {name}? say it by --for: {', '.join(PROGRAMS)}")
    return PROGRAMS[name]


async def prepare(
    configured: Settings,
    choice: AgentChoice,
    command: Sequence[str],
    environment: Mapping[str, str],
) -> Start:
    """Return what is to be started.

    Raises:
        CommandError: It would not call through this configuration's relay; the text says why.
    """
    assert choice.agent is not None
    if not configured.clients:
        raise CommandError(
            "no client is declared, and none but a client is known to the relay: "
            "declare one in clients, with a token of relay token"
        )
    told = await tell(configured, choice)
    if choice.agent == "claude-code" and (problem := obstacle(command[1:], environment)):
        raise CommandError(problem)
    for relay in told.relays:
        await _require_relay(configured, told, relay.name)
        await _require_credential(configured, relay)
    hidden = hidden_variables(configured)
    kept = {name: value for name, value in environment.items() if name not in hidden}
    variables = dict(told.environment.variables)
    for name in LISTS:
        variables[name] = ",".join(filter(None, [kept.get(name), variables[name]]))
    emptied = dict.fromkeys((each for each in CREDENTIAL_VARIABLES if each not in variables), "")
    return Start(
        choice.agent,
        command,
        replace(told.environment, variables=variables | emptied),
        kept | variables,
        [_weak(told.client)] if is_weak(told.token) else [],
    )


def _weak(client: str) -> str:
    return f"the token of client {client} is shorter than 128 bits; relay token makes a better one"


def hidden_variables(configured: Settings) -> frozenset[str]:
    """Return the names of variables that hold a credential or token of the relay's."""
    held = [grant.sources for grant in configured.grants]
    held += [client.sources for client in configured.clients]
    for relay in configured.relays:
        headers = [*relay.headers, *(each for hop in relay.hops for each in hop.headers)]
        held += [header.sources for header in headers]
        held += [hop.pass_ for hop in relay.hops if not isinstance(hop.pass_, str)]
    return frozenset(CREDENTIAL_VARIABLES) | frozenset(_variables(held))


def _variables(held: Sequence[Sources]) -> Iterator[str]:
    for sources in held:
        yield from (source.env for source in sources if isinstance(source, EnvSource))


async def _require_credential(configured: Settings, relay: RelaySettings) -> None:
    """Raise CommandError unless the credential has a value here, or the running relay has one."""
    credential = Credential(relay.grant.name, relay.grant.sources)
    await credential.settle()
    if not credential.ready and not await holds_credential(configured, relay.name):
        raise CommandError(f"credential {relay.grant.name} has no value: {credential.explain()}")


async def _require_relay(configured: Settings, told: Told, name: str) -> None:
    """Raise CommandError unless what listens there proves that it knows the client's token."""
    nonce = secrets.token_urlsafe(32)
    url = f"http://{told.address}/relay/{name}"
    challenge = f"{told.client} {nonce}"
    try:
        async with Client() as client:
            answer = await client.ask("HEAD", url, challenge=challenge)
    except NoAnswer as error:
        raise CommandError(f"{error}; start the relay: relay serve") from error
    port = int(told.address.rpartition(":")[2])
    expected = proof_of(told.token.encode(), nonce.encode(), port)
    if not hmac.compare_digest(expected.encode(), answer.proof.encode()):
        raise CommandError(
            f"what answers at {url} is not the relay of {configured.file}: it does not know the "
            f"token of client {told.client}. Another program or relay has the port, it is mapped "
            "from another one, or the relay has not been reloaded"
        )


def run(start: Start) -> int:
    """Run the agent and return its exit status, as a shell has it."""
    with _options(start) as options:
        return run_child([start.command[0], *options, *start.command[1:]], start.environment)


@contextlib.contextmanager
def _options(start: Start) -> Iterator[list[str]]:
    """Yield the options that go before the agent's own arguments."""
    if start.agent == "codex":
        yield codex_options(start.told)
    elif start.agent == "claude-code":
        folder = os.environ.get("XDG_RUNTIME_DIR") or None
        folder = folder if folder and os.access(folder, os.W_OK) else None
        # For its owner alone to read (mode 0600).
        with tempfile.NamedTemporaryFile(
            "w", prefix="relay-run-", suffix=".json", dir=folder
        ) as file:
            file.write("\n".join(settings(start.told)))
            file.flush()
            yield ["--settings", file.name]
    else:
        yield []
