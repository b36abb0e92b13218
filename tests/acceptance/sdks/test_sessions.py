"""Sessions and subagents of Codex and opencode, as the relay tells them apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.acceptance.sdks import openai_api
from tests.acceptance.sdks.provider import Provider
from tests.acceptance.sdks.test_limits import CodexExec, OpencodeRun
from tests.harness.configuration import both_relays, configuration
from tests.harness.relay import LocalRelay, running_relay

pytestmark = pytest.mark.asyncio(loop_scope="session")

ANSWER = "".join(openai_api.WORDS)


@pytest_asyncio.fixture(loop_scope="session")
async def relay(provider: Provider, tmp_path: Path) -> AsyncIterator[LocalRelay]:
    """A relay in front of both APIs, in this process."""
    provider.forget()
    port = provider.upstream.port
    async with running_relay(tmp_path, configuration(port, **both_relays(port))) as running:
        yield running
    assert provider.faults == []


@pytest.mark.parametrize(
    "client",
    [
        CodexExec("spawn", ("features.multi_agent_v2=true",)),
        OpencodeRun("openai/gpt-5.5", "task"),  # it puts several words in quotes
    ],
    ids=str,
)
async def test_a_subagent_is_one_of_its_session(
    relay: LocalRelay, tmp_path: Path, client: CodexExec | OpencodeRun
) -> None:
    """The main agent has no name; what it began has one, and the session's name with it."""
    assert ANSWER in (await client.ask(relay, tmp_path)).answer
    places = {place_of(line) for line in await relay.log.calls()}
    ((session, main, _), (same, agent, parent)) = sorted(places, key=str)
    assert session == same is not None
    assert {main, agent} > {None}
    assert parent is None


def place_of(line: dict[str, Any]) -> tuple[str | None, ...]:
    """Return session, agent and parent of a call."""
    return tuple(line.get(key) for key in ("session_id", "agent_id", "parent_agent_id"))
