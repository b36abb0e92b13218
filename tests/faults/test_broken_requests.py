"""Agents that fail, at each point of a request and of its answer.

An agent that goes away ends its upstream call within a second, and the upstream never has a
request that looks whole and is not. One that only falls silent is told, or cut.
"""

from __future__ import annotations

import pytest

from tests.faults.breaking import (
    CHUNKED_REQUESTS,
    CLOSE_DELIMITED,
    LEAVINGS,
    ONE,
    SIZED,
    SIZED_REQUESTS,
    TWO,
    Break,
    Place,
    named,
)
from tests.faults.counting import LAST_OK, CountedRelay
from tests.harness.expectations import check_error, check_gone
from tests.harness.messages import CHUNKED, MESSAGES, OK_BODY, chunk, chunked_request, request
from tests.harness.peer import Agent, Caller, Request
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLACES = (*CHUNKED_REQUESTS, *SIZED_REQUESTS)
HEADS = {
    "chunked": chunked_request(),
    "sized": request(MESSAGES, f"Content-Length: {len(ONE + TWO)}", body=None),
}
WHOLE = {
    "chunked": HEADS["chunked"] + chunk(ONE) + chunk(TWO) + chunk(b""),
    "sized": HEADS["sized"] + ONE + TWO,
}
ANSWERS = {
    "chunked": CHUNKED + chunk(ONE),
    "sized": SIZED + ONE,
    "close-delimited": CLOSE_DELIMITED + ONE,
}


async def begin(
    relay: CountedRelay, upstream: Upstream, place: Place
) -> tuple[Agent, Caller, Request]:
    """Make a call as far as that place, and read all of it that reaches the upstream."""
    agent = await relay.agent()
    await agent.send(HEADS[place.framing] + place.sent)
    caller = await upstream.accepted()
    got = await caller.head()
    while len(got.body) < len(place.body):
        await caller.piece(got)
    return agent, caller, got


@pytest.mark.parametrize("how", LEAVINGS, ids=named)
@pytest.mark.parametrize("sent", [b"P", b"POST /relay/anth", HEADS["sized"][:-2]])
async def test_leaving_within_the_head_is_no_call(
    relay: CountedRelay, upstream: Upstream, sent: bytes, how: Break
) -> None:
    """Nobody called: the upstream hears nothing, and nothing is counted."""
    agent = await relay.agent()
    await agent.send(sent)
    how(agent)
    await check_gone(agent)
    await relay.check_served(upstream)
    assert await relay.outcomes() == {("ok", "200"): 1}


@pytest.mark.parametrize("how", LEAVINGS, ids=named)
@pytest.mark.parametrize("place", PLACES, ids=named)
async def test_leaving_within_the_body_cuts_the_upstreams_request(
    relay: CountedRelay, upstream: Upstream, place: Place, how: Break
) -> None:
    """It breaks off there as well, and never ends as if it were whole."""
    agent, caller, got = await begin(relay, upstream, place)
    how(agent)
    await check_gone(caller)
    await caller.finish(got)
    assert not got.complete
    assert got.body == place.body
    assert await relay.outcomes() == {("client_abort", "none"): 1}
    assert await relay.in_flight() == 0
    await relay.check_served(upstream)


@pytest.mark.parametrize("place", PLACES, ids=named)
async def test_a_body_that_stalls_is_408(
    impatient: CountedRelay, upstream: Upstream, place: Place
) -> None:
    """The agent is told, and the upstream's request is cut."""
    agent, caller, got = await begin(impatient, upstream, place)
    check_error(await agent.answer(), 408, "rejected", "timeout_error")
    await check_gone(caller)
    await caller.finish(got)
    assert not got.complete
    assert await impatient.outcomes() == {("rejected", "none"): 1}
    await impatient.check_served(upstream)


@pytest.mark.parametrize("framing", WHOLE)
async def test_a_request_that_dribbles_is_the_same_request(
    relay: CountedRelay, upstream: Upstream, framing: str
) -> None:
    """Byte for byte, in as many pieces as there are bytes, and answered like any other."""
    agent = await relay.agent()
    await agent.dribble(WHOLE[framing])
    caller, got = await upstream.called()
    assert (got.complete, got.body) == (True, ONE + TWO)
    await caller.send(LAST_OK)
    assert (await agent.answer()).body == OK_BODY
    assert await relay.outcomes() == {("ok", "200"): 1}


@pytest.mark.parametrize("how", LEAVINGS, ids=named)
@pytest.mark.parametrize("framing", WHOLE)
async def test_leaving_before_the_first_byte_ends_the_upstream_call(
    relay: CountedRelay, upstream: Upstream, framing: str, how: Break
) -> None:
    """Within a second, though the upstream is still thinking."""
    agent = await relay.agent()
    await agent.send(WHOLE[framing])
    caller, _ = await upstream.called()
    assert await relay.in_flight() == 1
    how(agent)
    await check_gone(caller)
    assert await relay.outcomes() == {("client_abort", "none"): 1}
    assert await relay.in_flight() == 0
    await relay.check_served(upstream)


@pytest.mark.parametrize("how", LEAVINGS, ids=named)
@pytest.mark.parametrize("framing", ANSWERS)
async def test_leaving_in_mid_stream_ends_the_upstream_call(
    relay: CountedRelay, upstream: Upstream, framing: str, how: Break
) -> None:
    """Within a second, though the upstream is silent."""
    agent = await relay.agent()
    await agent.send(request())
    caller, _ = await upstream.called()
    await caller.send(ANSWERS[framing])
    answer = await agent.head()
    assert await agent.piece(answer) == ONE
    how(agent)
    await check_gone(caller)
    assert await relay.outcomes() == {("client_abort", "200"): 1}
    assert await relay.in_flight() == 0
    await relay.check_served(upstream)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_an_agent_that_takes_nothing_is_cut(
    impatient: CountedRelay, upstream: Upstream, version: str
) -> None:
    """After the write limit, upstream call and all, without a clean end."""
    agent = await impatient.process.agent(receive_buffer=16_384)
    agent.hold()
    await agent.send(request(version=version))
    caller, _ = await upstream.called()
    await caller.send(CHUNKED)
    await caller.push(chunk(bytes(65_536)), 64 << 20, quiet_seconds=2)
    assert caller.ending
    agent.read_on()
    assert not (await agent.answer()).complete
    assert await impatient.outcomes() == {("client_abort", "200"): 1}
    await impatient.check_served(upstream)


async def test_an_agent_that_leaves_while_the_upstream_takes_nothing_is_noticed(
    relay: CountedRelay, upstream: Upstream
) -> None:
    """Nothing is read from it, so only the kernel knows: within a second all the same."""
    agent = await relay.agent()
    await agent.send(request(MESSAGES, f"Content-Length: {64 << 20}", body=None))
    caller = await upstream.accepted()
    caller.hold()
    await agent.push(bytes(65_536), 64 << 20)
    agent.reset()
    await relay.process.log.calls()
    caller.read_on()
    await check_gone(caller)
    assert await relay.outcomes() == {("client_abort", "none"): 1}
    await relay.check_served(upstream)
