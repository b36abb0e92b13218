"""Claude Code, Codex and opencode by `relay run`: they answer, and hold nothing worth a theft."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Final

import pytest

from relay.cli import UNUSABLE
from relay.commands.run import CREDENTIAL_VARIABLES
from tests.acceptance.agents.conftest import KEYS
from tests.acceptance.agents.processes import command_of, started_by
from tests.acceptance.agents.programs import AGENTS, CLAUDE, Agent
from tests.acceptance.sdks.provider import Provider
from tests.harness.configuration import Config, configuration, write_configuration
from tests.harness.pages import handling
from tests.harness.processes import run_to_end
from tests.harness.relay import RelayProcess, update_configuration
from tests.harness.secrets import CREDENTIALS, TOKEN
from tests.integration.test_run import Elsewhere, Run, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

FUSE_SECONDS: Final = 150.0


@asynccontextmanager
async def started(user: Run, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start `relay run` for the length of the context."""
    process = await asyncio.create_subprocess_exec(
        *user.command(*arguments),
        cwd=user.project,
        env=user.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(FUSE_SECONDS):
            yield process
    finally:
        if process.returncode is None:
            process.terminate()  # the agent's
            await process.wait()


@pytest.mark.parametrize("options", [(), ("--serve",)], ids=["relay", "serve"])
@pytest.mark.parametrize("agent", AGENTS, ids=str)
async def test_an_agent_answers_and_has_nothing_of_the_keys(
    user: Run, configured: Config, provider: Provider, agent: Agent, options: tuple[str, ...]
) -> None:
    """Neither in its environment nor on a command line; and the API got the real one.

    It is looked at while the API has not answered yet.
    """
    write_configuration(user.folder, configuration(1, **configured))
    provider.answering.clear()
    relay = nullcontext() if options else serving(user, **configured)
    async with relay, started(user, *options, "--", agent.name, *agent.once) as process:
        await provider.asked()
        children = started_by(process.pid)
        commands = [command_of(process.pid), *(each.command for each in children)]
        environments = [each.environment for each in children]
        provider.answering.set()
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert agent.answer in out.decode()
    assert environments
    for environment in environments:
        assert not any(key in value for key in CREDENTIALS for value in environment.values())
        assert {"MY_KEY", "MY_TOKEN"}.isdisjoint(environment)
    tokens = {each.get(name, "") for each in environments for name in CREDENTIAL_VARIABLES} - {""}
    (token,) = tokens
    assert (token == TOKEN) is not bool(options)
    assert not any(secret in command for command in commands for secret in (*CREDENTIALS, token))


@pytest.mark.parametrize("agent", AGENTS, ids=str)
async def test_exit_statuses_are_the_agents(user: Run, configured: Config, agent: Agent) -> None:
    """With what it prints, as without `relay run`."""
    directly = await run_to_end(
        [str(user.bin / agent.name), *agent.mistaken],
        user.variables(),
        folder=user.project,
        fuse_seconds=FUSE_SECONDS,
    )
    async with serving(user, **configured):
        relayed = await user("--", agent.name, *agent.mistaken)
    assert (relayed.status, relayed.out) == (directly.status, directly.out)
    assert "no-such-option" in relayed.err or relayed.err == directly.err
    assert relayed.status != 0


# When nothing is started


def forget_configuration(relay: RelayProcess) -> None:
    """Have no configuration."""
    relay.path.unlink()


def mistake_configuration(relay: RelayProcess) -> None:
    """Have one that is no YAML."""
    relay.path.write_text("grants: [anthropic")


def use_another_token(relay: RelayProcess) -> None:
    """Have another token than the relay on the port: it is another one's."""
    config = json.loads(relay.path.read_text())
    other = [{"name": "agent", "token": {"file": "other_token"}}]
    update_configuration(relay, config | {"clients": other})


def lose_the_token(relay: RelayProcess) -> None:
    """Have none any more."""
    config = json.loads(relay.path.read_text())
    lost = [{"name": "agent", "token": {"file": "lost"}}]
    update_configuration(relay, config | {"clients": lost})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (forget_configuration, "cannot be read: no such file or directory"),
        (mistake_configuration, "is not valid YAML"),
        (use_another_token, "is not the relay of "),
        (lose_the_token, "relay token makes one"),
    ],
)
async def test_nothing_is_started_where_that_is_not_the_relay(
    user: Run,
    configured: Config,
    provider: Provider,
    spoil: Callable[[RelayProcess], None],
    said: str,
) -> None:
    """What to do is said, and the keys in the shell are nobody's."""
    async with serving(user, **configured) as relay:
        spoil(relay)
        await see_nothing_started(user, provider, said)


async def test_nothing_is_started_without_the_relay(
    user: Run, configured: Config, provider: Provider
) -> None:
    """Where nobody listens, or another program does."""
    async with serving(user, **configured) as relay:
        config = json.loads(relay.path.read_text())
    await see_nothing_started(user, provider, "start the relay: relay serve")
    with handling(Elsewhere) as port:
        update_configuration(relay, config | {"listen": [f"127.0.0.1:{port}"]})
        await see_nothing_started(user, provider, "Another program or relay has the port")
    assert not any(key in heard for heard in Elsewhere.heard for key in KEYS.values())


async def see_nothing_started(user: Run, provider: Provider, said: str) -> None:
    """See that Claude Code is not started."""
    ended = await user("--", CLAUDE.name, *CLAUDE.once)
    assert (ended.status, ended.out) == (UNUSABLE, "")
    assert said in ended.err.splitlines()[0]
    assert "started" not in os.listdir(user.folder)  # noqa: PTH208  # at once
    assert provider.requests == []
