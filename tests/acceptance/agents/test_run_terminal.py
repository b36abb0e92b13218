"""Ctrl-C in a terminal where an agent runs: by `relay run` it ends as it does without."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import pytest

from relay.commands.env import AgentChoice, Told, tell
from relay.commands.env_formats import codex_options
from relay.config import load
from tests.acceptance.agents.conftest import KEYS
from tests.acceptance.agents.programs import AGENTS, CLAUDE, OPENCODE, Agent
from tests.acceptance.sandbox import Terminal
from tests.acceptance.sdks.provider import Provider
from tests.harness.configuration import Config
from tests.harness.secrets import TOKEN
from tests.integration.test_run import ON_TERMINAL, Run, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

FUSE_SECONDS: Final = 150.0
CTRL_C: Final = "\x03"


@dataclass
class Typing:
    """A user at a terminal in which a program runs."""

    terminal: Terminal
    process: asyncio.subprocess.Process

    async def status(self) -> int:
        """Wait for the program's end; return its status as a shell has it."""
        status = await self.process.wait()
        return status if status >= 0 else 128 - status


@asynccontextmanager
async def typing(
    user: Run, command: Sequence[str], environment: Mapping[str, str]
) -> AsyncIterator[Typing]:
    """Start a program in a terminal of its own, for the length of the context."""
    ours, its = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ON_TERMINAL, *command),
        cwd=user.project,
        env=environment,
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    terminal = Terminal(ours)
    try:
        async with asyncio.timeout(FUSE_SECONDS):
            yield Typing(terminal, process)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        terminal.close()


def directly(user: Run, agent: Agent, told: Told) -> tuple[list[str], dict[str, str]]:
    """Return command and environment of an agent that was told of the relay by hand."""
    options = codex_options(told.environment) if agent.kind == "codex" else []
    kept = {name: text for name, text in user.variables().items() if name not in KEYS}
    environment = kept | dict(told.environment.variables)
    return [str(user.bin / agent.name), *options], environment


@pytest.mark.parametrize("agent", AGENTS, ids=str)
async def test_ctrl_c_ends_an_answer_as_it_does_without(
    user: Run,
    configured: Config,
    provider: Provider,
    agent: Agent,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the API has not answered yet; the status is the agent's own, with --serve too."""
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    async with serving(user, **configured):
        told = await tell(load(user.folder / "agent.yaml"), AgentChoice(agent.kind))
        alone, environment = directly(user, agent, told)
        # opencode takes seconds of CPU time to start.
        ways_of_run: list[list[str]] = [[]] if agent is OPENCODE else [[], ["--serve"]]
        by_run = [user.command(*options, "--", agent.name, *agent.once) for options in ways_of_run]
        ways = [
            ([*alone, *agent.once], environment),
            *((command, user.variables()) for command in by_run),
        ]
        statuses = []
        for command, given in ways:
            provider.forget()
            provider.answering.clear()
            async with typing(user, command, given) as user_there:
                await provider.asked()
                user_there.terminal.press(CTRL_C)
                statuses.append(await user_there.status())
        provider.answering.set()
    assert set(statuses) == {statuses[0]}


async def test_claude_code_leaves_at_the_second_ctrl_c(user: Run, configured: Config) -> None:
    """And at the first it says so."""
    settled = {
        "hasCompletedOnboarding": True,
        "theme": "dark",
        "projects": {str(user.project): {"hasTrustDialogAccepted": True}},
    }
    (user.folder / "home" / ".claude.json").write_text(json.dumps(settled))
    async with (
        serving(user, **configured),
        typing(user, user.command("--", CLAUDE.name), user.variables()) as there,
    ):
        await there.terminal.shows("❯")
        there.terminal.press(CTRL_C)
        await there.terminal.shows("again")
        there.terminal.press(CTRL_C)
        assert await there.status() == 0
