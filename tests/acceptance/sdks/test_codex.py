"""Codex through the relay's image: a session with a tool, its ways to fail, and its WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.acceptance.container import ContainedRelay
from tests.acceptance.sdks import openai_api
from tests.acceptance.sdks.codex import BUILT_IN, MODEL, Codex, pointed_codex
from tests.acceptance.sdks.provider import Provider, credentials_in
from tests.acceptance.sdks.runs import told
from tests.harness.secrets import OPENAI_KEY, OTHER_TOKEN
from tests.harness.upstream import running_upstream

pytestmark = pytest.mark.asyncio(loop_scope="session")

ANSWER = "".join(openai_api.WORDS)
# Fast where what is tested is not how often it tries.
ONCE = "model_providers.relay.stream_max_retries=0"
NO_RETRY = "model_providers.relay.request_max_retries=0"


@pytest_asyncio.fixture(loop_scope="session")
async def codex(relay: ContainedRelay, provider: Provider, tmp_path: Path) -> AsyncIterator[Codex]:
    """Codex, pointed at the relay; at the end it is seen that it tried to reach nothing else."""
    await relay.begin_again()
    async with pointed_codex(relay, provider, tmp_path) as codex:
        yield codex


async def test_a_session_with_a_tool(
    codex: Codex, provider: Provider, relay: ContainedRelay
) -> None:
    """The model has a command run, reads its output, and answers; nothing but that is called."""
    session = await codex.run("shell please")
    (command,) = session.items("command_execution")
    assert command["exit_code"] == 0
    assert command["aggregated_output"] == "from-the-shell-42\na note of the project's\n"
    assert [item["text"] for item in session.items("agent_message")] == [ANSWER]
    assert (session.status, session.failure) == (0, "")
    assert [request.start for request in provider.requests] == [b"POST /v1/responses HTTP/1.1"] * 2
    assert b"from-the-shell-42" in provider.requests[1].body
    for request in provider.requests:
        assert credentials_in(request) == [f"authorization: Bearer {OPENAI_KEY}"]
    lines = await relay.log.calls(2)
    assert [(line["operation"], line["status"], line["outcome"]) for line in lines] == [
        ("responses", 200, "ok")
    ] * 2


async def test_its_tokens_are_counted_exactly(codex: Codex, relay: ContainedRelay) -> None:
    """What Codex says that the session took is what the relay counted."""
    session = await codex.run("shell please")
    await relay.log.calls(2)
    tokens = await relay.samples("relay_tokens_total", "model", "type", relay="openai")
    assert tokens == {
        (MODEL, "input"): 2 * (25 - 7),
        (MODEL, "cache_read"): 2 * 7,
        (MODEL, "output"): 4,
    }
    (turn,) = session.of("turn.completed")
    assert turn["usage"]["input_tokens"] == 2 * 25
    assert turn["usage"]["cached_input_tokens"] == 2 * 7
    assert turn["usage"]["output_tokens"] == 4


@pytest.mark.parametrize("way", ["built in", "asked for"])
async def test_its_websocket_is_answered_so_that_it_goes_on_without(
    codex: Codex, provider: Provider, relay: ContainedRelay, way: str
) -> None:
    """One 426 at the beginning of the session, and the rest by POST."""
    overrides = []
    if way == "built in":
        codex.configure(BUILT_IN.format(url=relay.url("openai")))
    else:
        overrides = ["model_providers.relay.supports_websockets=true"]
    session = await codex.run("shell please" if way == "asked for" else "hello", *overrides)
    assert session.items("agent_message")[-1]["text"] == ANSWER
    assert session.status == 0
    first, *rest = await relay.log.calls(len(provider.requests) + 1)
    assert (first["method"], first["status"], first["outcome"]) == ("GET", 426, "rejected")
    assert {(line["method"], line["status"]) for line in rest} == {("POST", 200)}


async def test_a_wrong_token(codex: Codex, provider: Provider, relay: ContainedRelay) -> None:
    """The user reads the relay's message, after the five retries that Codex makes of anything."""
    session = await codex.run("hello", token=OTHER_TOKEN)
    assert session.status == 1
    assert "401 Unauthorized" in session.failure
    assert "Give the agent the token that `relay env` shows." in session.failure
    assert provider.requests == []
    lines = await relay.log.calls(6)
    assert {line["outcome"] for line in lines} == {"rejected"}
    assert len(lines) == 6
    assert session.seconds < 20


async def test_a_wrong_token_without_retries(codex: Codex, relay: ContainedRelay) -> None:
    """With its own retries off it is over at once."""
    session = await codex.run("hello", ONCE, token=OTHER_TOKEN)
    assert "Give the agent the token that `relay env` shows." in session.failure
    assert len(await relay.log.calls()) == 1
    assert session.seconds < 5


async def test_an_upstream_that_is_away(codex: Codex, relay: ContainedRelay) -> None:
    """The user reads what to look at."""
    codex.configure(await told(relay, "codex", "openai-away", "--format", "toml"))
    session = await codex.run("hello", ONCE, NO_RETRY)
    assert session.status == 1
    assert "502 Bad Gateway: The relay cannot reach its upstream." in session.failure
    (line,) = await relay.log.calls()
    assert line["outcome"] == "connect_error"


@pytest.mark.parametrize("prompt", ["cut", "reset"])
async def test_a_stream_that_breaks_off(
    codex: Codex, provider: Provider, relay: ContainedRelay, prompt: str
) -> None:
    """It asks again, and never takes the torso for an answer."""
    session = await codex.run(prompt, "model_providers.relay.stream_max_retries=1")
    assert session.status == 1
    assert "stream disconnected before completion" in session.failure
    assert session.items("agent_message") == []
    assert len(provider.requests) == 2
    lines = await relay.log.calls(2)
    assert [line["outcome"] for line in lines] == ["truncated", "truncated"]


async def test_what_it_is_told_not_to_do_it_would_do(
    relay: ContainedRelay, provider: Provider, tmp_path: Path
) -> None:
    """Without that line it asks GitHub and ChatGPT for plugins when it first starts."""
    provider.forget()
    async with running_upstream() as outside:
        outside.answer_with(b"HTTP/1.1 403 X\r\ncontent-length: 0\r\n\r\n")
        codex = Codex(tmp_path, outside)
        config = await told(relay, "codex", "openai", "--format", "toml")
        codex.configure(config.replace("plugins = false", "plugins = true"))
        await codex.run("hello")
        hosts = {request.target for request in outside.requests}
    assert b"github.com:443" in hosts
    assert provider.faults == []


async def test_a_refusal_for_now_is_asked_again(codex: Codex, relay: ContainedRelay) -> None:
    """A 429 passes as it is, and so does the answer to the next try."""
    session = await codex.run("limited")
    assert session.items("agent_message")[-1]["text"] == ANSWER
    assert [line["status"] for line in await relay.log.calls(2)] == [429, 200]
