"""Headroom itself where it holds back, lets wait, and fails; and what the agent and metrics see."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from tests.acceptance.api import Api, Call, Reply, Usage, late, says, uses
from tests.acceptance.claude import MODEL
from tests.acceptance.container import ContainedRelay, forwarding_to, relay_container
from tests.acceptance.headroom.service import Headroom, running_headroom
from tests.harness.messages import request
from tests.harness.secrets import KEY
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="session")

MESSAGES = "/relay/anthropic/v1/messages"
VERSION = "anthropic-version: 2023-06-01"
LOG = "\n".join(
    f"10:00:{each % 60:02} INFO worker - job {each * 7919 % 9973} done" for each in range(500)
)
LIMIT = 3
FUSE_SECONDS = 30.0


def question(*, stream: bool = True, read: str = "") -> bytes:
    """Return a message; with what a tool has read, if anything."""
    use = {"type": "tool_use", "id": "toolu_01Rx", "name": "Bash", "input": {"command": "cat log"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_01Rx", "content": read}
    told = [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    messages = [{"role": "user", "content": "How are the jobs?"}, *(told if read else [])]
    tools = [{"name": "Bash", "description": "Run", "input_schema": {"type": "object"}}]
    body = {"model": MODEL, "max_tokens": 64, "stream": stream, "tools": tools}
    return json.dumps(body | {"messages": messages}).encode()


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    """Return once a look finds what it looks for; for what sends no event."""
    async with asyncio.timeout(FUSE_SECONDS):
        while not await look():
            never = asyncio.Event()
            try:
                await asyncio.wait_for(never.wait(), 0.1)
            except TimeoutError:
                continue


async def test_a_stream_that_is_held_back_comes_with_pings_and_then_in_one_burst(
    relay: ContainedRelay, api: Api
) -> None:
    """What was taken out of a tool's result may be asked for: Headroom waits for the whole answer.

    It says 200 after five seconds. The tokens, which its stream states twice, are counted once.
    """
    api.plan(late(says("All are done.", Usage(input=70, output=12)), 6))
    answer = await relay.ask(request(MESSAGES, VERSION, body=question(read=LOG)))
    assert answer.status == 200
    assert api.messages[0].data["stream"] is False
    events = [line[7:] for line in answer.body.decode().splitlines() if line.startswith("event: ")]
    assert events[0] == "ping"
    assert events.index("message_start") > 1
    assert events[-1] == "message_stop"
    assert b"All are done." in answer.body

    assert await relay.outcomes() == {("ok", "200"): 1}
    assert await relay.samples("relay_tokens_total", "type") == {("input",): 70, ("output",): 12}
    (line,) = await relay.log.calls(1)
    assert 4 < line["first_byte"] < 6 < line["first_token"]


async def test_a_stream_that_is_not_held_back_comes_as_it_is_written(
    relay: ContainedRelay, api: Api
) -> None:
    """The first words are with the agent while the API still holds the rest."""
    api.plan(says("One two three."))
    answer = await relay.ask(request(MESSAGES, VERSION, body=question()))
    assert api.messages[0].data["stream"] is True
    assert answer.body.count(b"text_delta") > 1


async def test_what_was_taken_out_is_given_back_to_the_model_unseen(
    relay: ContainedRelay, api: Api
) -> None:
    """The model asks Headroom for it; to the agent, and to the metrics, it was one call."""
    asked: list[str] = []

    def asks(call: Call) -> Reply:
        asked.append(re.findall(r"hash=([0-9a-f]{12,})", call.prompt)[0])
        return uses("headroom_retrieve", {"hash": asked[0]})(call)

    api.plan(asks, says("Job 7919 is done."))
    answer = await relay.ask(request(MESSAGES, VERSION, body=question(read=LOG)))
    assert b"headroom_retrieve" not in answer.body
    assert "job 7919 done" in json.dumps(api.messages[1].data)
    assert len(api.messages) == 2
    assert await relay.outcomes() == {("ok", "200"): 1}


async def test_a_call_after_a_pause_works_at_the_first_try(
    relay: ContainedRelay, api: Api, headroom: Headroom
) -> None:
    """Headroom closes what is idle for five seconds; by then the relay has closed it itself."""
    api.plan(says("Before."), says("After."))
    await relay.ask(request(MESSAGES, VERSION, body=question()))
    assert await idle_connections(relay) == 1
    async with headroom.connection() as neighbour:
        answer = await neighbour.ask(request("/livez", method="GET", body=None))
        assert answer.status == 200
        began = time.monotonic()

        async def none_is_idle() -> bool:
            return await idle_connections(relay) == 0

        await until(none_is_idle)
        assert neighbour.transport.is_closing() is False, "the relay was the first to close"
        assert await neighbour.gone() == "end"
        assert time.monotonic() - began > 4.5

    answer = await relay.ask(request(MESSAGES, VERSION, body=question()))
    assert answer.status == 200
    assert len(api.messages) == 2
    assert await relay.outcomes(2) == {("ok", "200"): 2}


async def idle_connections(relay: ContainedRelay) -> float:
    """Return how many connections to Headroom the relay keeps."""
    states = await relay.samples("relay_upstream_connections", "state", relay="anthropic")
    return states.get(("idle",), 0)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lonely(nowhere: str, trap: Upstream) -> AsyncIterator[Headroom]:
    """A Headroom that reaches no API, and takes few calls a minute."""
    limit = ("--rpm", str(LIMIT), "--retry-max-attempts", "1")
    async with running_headroom(nowhere, trap, *limit, without=["--no-rate-limit"]) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lonely_relay(
    relay_image: str, lonely: Headroom, nowhere: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ContainedRelay]:
    """The relay in front of that Headroom."""
    folder = tmp_path_factory.mktemp("lonely")
    config = forwarding_to(lonely.url, nowhere)
    async with relay_container(relay_image, folder, config) as running:
        yield running


async def test_no_api_then_its_own_limit_then_no_headroom(
    lonely_relay: ContainedRelay, lonely: Headroom
) -> None:
    """Its errors pass as they are, each with its outcome; once it is gone the relay says so."""
    answer = await lonely_relay.ask(request(MESSAGES, VERSION, body=question(stream=False)))
    assert (answer.status, answer.outcome) == (502, "")
    assert answer.error["type"]
    answer = await lonely_relay.ask(request(MESSAGES, VERSION, body=question()))
    assert (answer.status, answer.outcome) == (502, "")
    assert answer.values("content-type")[0].startswith(b"text/event-stream")
    assert b"connection_error" in answer.body

    for _ in range(LIMIT + 1):
        answer = await lonely_relay.ask(request(MESSAGES, VERSION, body=question(stream=False)))
        if answer.status == 429:
            break
    assert (answer.status, answer.outcome) == (429, "")
    assert json.loads(answer.body)["detail"].startswith("Rate limited. Retry after ")
    assert int(answer.values("retry-after")[0]) >= 1
    seen = await lonely_relay.samples("relay_requests_total", "outcome", "code")
    assert seen[("upstream_error", "502")] >= 2
    assert seen[("upstream_error", "429")] == 1

    await lonely.crash()
    answer = await lonely_relay.ask(request(MESSAGES, VERSION, body=question()))
    assert (answer.status, answer.outcome) == (502, "connect_error")
    assert KEY.encode() not in answer.body
