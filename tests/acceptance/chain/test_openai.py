"""OpenAI's clients by way of Headroom, which never holds the key: its SDK, and Codex."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from tests.acceptance.container import ContainedRelay
from tests.acceptance.sdks import openai_api
from tests.acceptance.sdks.codex import Codex, pointed_codex
from tests.acceptance.sdks.provider import Provider, credentials_in
from tests.acceptance.sdks.runs import Client, part, through
from tests.harness.secrets import OPENAI_KEY

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("headroom")]

ANSWER: Final = "".join(openai_api.WORDS)
CLIENT: Final = Client("python", "openai", "current")


@pytest_asyncio.fixture(loop_scope="session")
async def codex(relay: ContainedRelay, provider: Provider, tmp_path: Path) -> AsyncIterator[Codex]:
    """Codex, pointed at the relay; at the end it is seen that it tried to reach nothing else."""
    async with pointed_codex(relay, provider, tmp_path) as codex:
        yield codex


async def test_codex_has_a_session_with_a_tool(
    codex: Codex, provider: Provider, relay: ContainedRelay
) -> None:
    """The model has a command run, reads its output, and answers; the API alone gets the key."""
    session = await codex.run("shell please")
    (command,) = session.items("command_execution")
    assert command["aggregated_output"] == "from-the-shell-42\na note of the project's\n"
    assert [item["text"] for item in session.items("agent_message")] == [ANSWER]
    assert (session.status, session.failure) == (0, "")
    assert b"from-the-shell-42" in provider.requests[1].body
    for request in provider.requests:
        assert credentials_in(request) == [f"authorization: Bearer {OPENAI_KEY}"]
    assert await relay.outcomes(2) == {("ok", "200"): 2}
    assert await relay.samples("relay_hop_calls_total", "relay", "outcome") == {
        ("openai", "passed"): 2
    }


async def test_the_sdk_works_as_without(relay: ContainedRelay, provider: Provider) -> None:
    """Completions and responses, as JSON and as streams, with tools; and what is not a model's."""
    cases = ["chat", "chat_stream", "chat_tools", "response", "response_stream", "response_tools"]
    run = await through(relay, CLIENT, provider, [*cases, "models", "embeddings", "limited"])
    facts = run.facts
    for case in ("chat", "chat_tools"):
        assert part(facts[case], "answer", "choices", 0, "message", "content") == ANSWER
    for case in ("response", "response_tools", "limited"):
        assert facts[case]["text"] == ANSWER
    events = part(facts["response_stream"], "events")
    assert isinstance(events, list)
    assert (events[0], events[-1]) == ("response.created", "response.completed")
    assert facts["models"] == {"list": ["gpt-5"], "one": "gpt-5"}
    assert run.faults == []
    for request in run.requests:
        assert credentials_in(request) == [f"authorization: Bearer {OPENAI_KEY}"]
    hops = await relay.samples("relay_hop_calls_total", "relay", "outcome")
    assert set(hops) == {("openai", "passed")}
