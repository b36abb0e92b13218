"""What each variable of `relay env` does to Claude Code, seen in what arrives at the API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from relay.commands.agents import DISCOVERY
from relay.commands.env import AgentChoice, agent_environment
from relay.config import load
from tests.acceptance.api import Api, Call, says
from tests.acceptance.claude import MODEL, Claude
from tests.harness.configuration import configuration
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.upstream import Upstream, running_upstream

pytestmark = pytest.mark.asyncio(loop_scope="session")

STREAMING: Final = "CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING"
TRACEPARENT: Final = "CLAUDE_CODE_PROPAGATE_TRACEPARENT"
TOOL_SEARCH: Final = "ENABLE_TOOL_SEARCH"
Variables = dict[str, str]


@pytest_asyncio.fixture(loop_scope="session")
async def relay(api: Api, tmp_path: Path) -> AsyncIterator[LocalRelay]:
    """A relay in front of the API, in this process."""
    port = int(api.url.rpartition(":")[2])
    async with running_relay(tmp_path, configuration(port)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def told(relay: LocalRelay) -> Variables:
    """What `relay env` says."""
    choice = AgentChoice("claude-code", host=f"127.0.0.1:{relay.port}")
    return dict((await agent_environment(load(relay.path), choice)).variables)


@pytest_asyncio.fixture(loop_scope="session")
async def collector() -> AsyncIterator[Upstream]:
    """Where traces are sent."""
    async with running_upstream() as running:
        running.answer_with(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        yield running


async def called(claude: Claude, api: Api, variables: Variables) -> Call:
    """Have it say hello, and return the call that it made for that."""
    api.begin_again()
    api.plan(says("Hello."))
    session = await claude.run(variables["ANTHROPIC_BASE_URL"], "Hello?", environment=variables)
    assert session.results == ["Hello."]
    (call,) = api.messages
    return call


def without(variables: Variables, name: str) -> Variables:
    """Return the variables without one of them, which must be there."""
    assert name in variables
    return {key: value for key, value in variables.items() if key != name}


def tools_of(call: Call) -> dict[str, dict[str, Any]]:
    """Return the tools in a call, by their names."""
    return {each["name"]: each for each in call.data["tools"]}


async def test_tools_inputs_come_as_they_are_written(
    claude: Claude, api: Api, told: Variables
) -> None:
    """Which it asks for tool by tool, and at other addresses than Anthropic's not by itself."""
    assert tools_of(await called(claude, api, told))["Write"]["eager_input_streaming"] is True
    call = await called(claude, api, without(told, STREAMING))
    assert "eager_input_streaming" not in tools_of(call)["Write"]


async def test_a_traces_header_goes_along(
    claude: Claude, api: Api, told: Variables, collector: Upstream
) -> None:
    """Where it traces; the variable alone does nothing."""
    tracing = {
        "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
        "CLAUDE_CODE_ENHANCED_TELEMETRY_BETA": "1",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
    }
    (header,) = (await called(claude, api, told | tracing)).values("traceparent")
    trace = header.split("-")[1].encode()
    assert any(trace in request.body for request in collector.requests)
    for variables in (without(told, TRACEPARENT) | tracing, told):
        assert (await called(claude, api, variables)).values("traceparent") == []


async def test_models_are_discovered_where_that_is_asked_for(
    claude: Claude, api: Api, told: Variables, relay: LocalRelay
) -> None:
    """With what --discover-models adds it asks the API, by way of the relay, and keeps the list."""
    await called(claude, api, told)
    assert [call.path for call in api.calls] == ["/v1/messages"]
    await called(claude, api, told | DISCOVERY)
    assert {call.target for call in api.calls} >= {"/v1/models?limit=1000"}
    kept = json.loads((claude.home / "cache" / "gateway-models.json").read_text())
    assert kept["baseUrl"] == told["ANTHROPIC_BASE_URL"]
    assert kept["models"]


async def test_a_model_with_a_window_of_a_million_has_it(
    claude: Claude, api: Api, told: Variables, relay: LocalRelay
) -> None:
    """By the name alone: the API is asked for it by a beta, and the relay counts the model."""
    claude.model = f"{MODEL}[1m]"
    call = await called(claude, api, told)
    assert call.data["model"] == MODEL
    assert "context-1m-2025-08-07" in call.values("anthropic-beta")[0].split(",")
    await relay.log.calls()
    assert set(await relay.samples("relay_tokens_total", "model")) == {(MODEL,)}


async def test_tools_are_looked_up_with_or_without_being_told_to(
    claude: Claude, api: Api, told: Variables
) -> None:
    """Of a version that no longer needs it; what is said in docs would have to change."""
    names = [
        set(tools_of(await called(claude, api, variables)))
        for variables in (told, without(told, TOOL_SEARCH))
    ]
    assert names[0] == names[1]
    assert "ToolSearch" in names[0]
