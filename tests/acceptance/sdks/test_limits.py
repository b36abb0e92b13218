"""What each client shows where a limit is reached: once, why, and without another try.

Claude Code's part is in `tests/acceptance/test_claude_code_limits.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import pytest

from relay.commands.agents import Agent
from relay.commands.env import AgentChoice, agent_environment
from relay.commands.env_formats import Environment, toml
from relay.config import load
from relay.errors import BatchRefused
from tests.acceptance.sdks import openai_api, opencode
from tests.acceptance.sdks.codex import Codex
from tests.acceptance.sdks.opencode import running_opencode
from tests.acceptance.sdks.provider import Provider
from tests.acceptance.sdks.runs import Client
from tests.harness.configuration import Config, both_relays, configuration
from tests.harness.messages import MESSAGES, request
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.secrets import TOKEN
from tests.harness.upstream import running_upstream

pytestmark = pytest.mark.asyncio(loop_scope="session")

ANSWER: Final = "".join(openai_api.WORDS)
SPENT: Final = {"usd": 0, "per": "day"}
ENDS: Final = "The limit of $0.00 per day for all clients together is reached. It ends at 2"
VERSION: Final = "anthropic-version: 2023-06-01"
HELLO: Final = b'{"model": "m", "messages": [{"role": "user", "content": "hello"}]}'


@dataclass(frozen=True)
class Shown:
    """What a client shows its user."""

    answer: str = ""
    failure: str = ""


class Asking(Protocol):
    """A client that can be asked once."""

    calls: int
    """How many calls it makes for that."""

    async def ask(self, relay: LocalRelay, folder: Path, /) -> Shown:
        """Ask it, by way of this relay."""


@dataclass(frozen=True)
class Sdk:
    """An SDK that may try five times more."""

    client: Client
    calls: int = 1

    def __str__(self) -> str:
        return f"{self.client.api}-{self.client}"

    async def ask(self, relay: LocalRelay, _: Path) -> Shown:
        """Make one call."""
        return shown((await self.run(relay, "retried"))["retried"])

    async def run(self, relay: LocalRelay, *cases: str) -> dict[str, dict[str, object]]:
        """Make the calls of these cases."""
        url = f"http://127.0.0.1:{relay.port}/relay/{self.client.api}"
        return await self.client.run(url, TOKEN, list(cases))


def shown(facts: dict[str, object]) -> Shown:
    """Return what an SDK has made of a call."""
    returned = facts.get("returned")
    return Shown(answer=str(returned) if returned else "", failure=str(facts.get("message", "")))


@dataclass(frozen=True)
class CodexExec:
    """`codex exec`, with the retries that it makes of its own accord."""

    prompt: str = "hello"
    overrides: tuple[str, ...] = ()
    calls: int = 1

    def __str__(self) -> str:
        return "codex"

    async def ask(self, relay: LocalRelay, folder: Path) -> Shown:
        """Give it a prompt."""
        async with running_upstream() as outside:
            codex = Codex(folder / "codex", outside)
            codex.configure("\n".join(toml(await told(relay, "codex"))))
            session = await codex.run(self.prompt, *self.overrides)
        answer = "".join(item["text"] for item in session.items("agent_message"))
        return Shown(answer, session.failure)


@dataclass(frozen=True)
class OpencodeRun:
    """`opencode run`, with a model of one of the APIs."""

    model: str
    prompt: str = "hello"
    calls: int = opencode.CALLS

    def __str__(self) -> str:
        return f"opencode-{self.model.partition('/')[0]}"

    async def ask(self, relay: LocalRelay, folder: Path) -> Shown:
        """Give it a prompt."""
        async with running_opencode(folder / "opencode") as agent:
            variables = (await told(relay, "opencode")).variables
            session = await agent.run(variables, self.model, self.prompt)
        return Shown(session.answer, session.failure)


SDKS: Final = [
    Sdk(Client(language, api, generation))
    for api in ("anthropic", "openai")
    for language in ("python", "typescript")
    for generation in ("current", "previous")
]
AGENTS: Final = [
    CodexExec(),
    OpencodeRun("openai/gpt-5.5"),
    OpencodeRun("anthropic/claude-sonnet-4-5"),
]


async def told(relay: LocalRelay, agent: Agent) -> Environment:
    """Return what `relay env` says to an agent."""
    choice = AgentChoice(agent, host=f"127.0.0.1:{relay.port}")
    return await agent_environment(load(relay.path), choice)


@asynccontextmanager
async def limited(
    provider: Provider, folder: Path, limit: dict[str, object]
) -> AsyncIterator[LocalRelay]:
    """Run a relay with a limit of all clients; batches are among what it passes on."""
    provider.forget()
    port = provider.upstream.port
    config: Config = configuration(port, limits=[limit], **both_relays(port))
    config["relays"]["openai"]["allow"] = ["/v1/responses", "/v1/batches"]
    async with running_relay(folder, config) as relay:
        yield relay
    assert provider.faults == []


@pytest.mark.parametrize("client", AGENTS, ids=str)
async def test_an_agent_says_at_once_that_dollars_are_spent(
    provider: Provider, tmp_path: Path, client: Asking
) -> None:
    """With the amount, the period and its end, after a single try."""
    async with limited(provider, tmp_path, SPENT) as relay:
        seen = await client.ask(relay, tmp_path)
        lines = await relay.log.calls(client.calls)
    assert ENDS in seen.failure
    assert len(lines) == client.calls
    assert {(line["status"], line["reason"]) for line in lines} <= {(402, "limit"), (400, "limit")}
    assert provider.requests == []


@pytest.mark.parametrize("client", SDKS, ids=str)
async def test_an_sdk_raises_at_once_that_dollars_are_spent(
    provider: Provider, tmp_path: Path, client: Sdk
) -> None:
    """And a batch, of which no limit would see the cost, is refused as what one may not do."""
    async with limited(provider, tmp_path, SPENT) as relay:
        facts = await client.run(relay, "retried", "batch_retried")
        lines = await relay.log.calls(2)
    spent, batch = facts["retried"], facts["batch_retried"]
    assert spent["status"] == (402 if client.client.api == "anthropic" else 400)
    assert ENDS in str(spent["message"])
    assert (batch["raised"], batch["status"]) == ("PermissionDeniedError", 403)
    assert BatchRefused.message in str(batch["message"])
    assert [(line["status"], line["reason"]) for line in lines] == [
        (spent["status"], "limit"),
        (403, "limit"),
    ]
    assert provider.requests == []


@pytest.mark.parametrize(
    ("client", "whose"),
    [
        (SDKS[0], "It holds for all calls together that name no session."),
        (SDKS[-1], "It holds for all calls together that name no session."),
        (CodexExec(), "It holds for this session: a new one begins at zero."),
    ],
    ids=str,
)
async def test_tokens_of_a_session_are_told_of_at_once(
    provider: Provider, tmp_path: Path, client: Asking, whose: str
) -> None:
    """Whoever names no session is not told that a new one would help."""
    async with limited(provider, tmp_path, {"tokens": 0, "per": "session"}) as relay:
        seen = await client.ask(relay, tmp_path)
        assert len(await relay.log.calls()) == 1
    assert f"The limit of 0 tokens per session is reached. {whose}" in seen.failure
    assert provider.requests == []


@pytest.mark.parametrize("client", [*SDKS, *AGENTS[:2]], ids=str)
async def test_a_place_among_the_calls_at_once_is_waited_for(
    provider: Provider, tmp_path: Path, client: Asking
) -> None:
    """It tries again after the second that it is told, and the user sees nothing but the answer.

    opencode asks for a title as well, and does not wait for that when it has its answer.
    """
    async with limited(provider, tmp_path, {"at_once": 1}) as relay:
        provider.answering.clear()
        holder = await relay.agent()
        await holder.send(request(MESSAGES, VERSION, body=HELLO))
        await provider.asked()
        asking = asyncio.create_task(client.ask(relay, tmp_path))
        while not (asking.done() or await relay.samples("relay_rejections_total", "reason")):
            with contextlib.suppress(TimeoutError):  # opencode takes its time to start
                await relay.log.more()
        provider.answering.set()
        await holder.answer()
        seen = await asking
        lines = await relay.log.calls(3)
    assert ANSWER in seen.answer
    assert seen.failure == ""
    statuses = [line["status"] for line in lines]
    assert set(statuses) == {429, 200}
    assert 2 <= statuses.count(200) <= 1 + client.calls
