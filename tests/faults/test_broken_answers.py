"""Upstreams that fail, at each point of an answer: what the agent gets, and what is counted.

Before the head a failure is an answer of the relay's own. Behind it the agent has what came
and no clean end. Either way the upstream call is over within a second, and the next call is
none the worse for it.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.breaking import (
    BEFORE_THE_BODY,
    CHUNKED_ANSWERS,
    CLOSE_DELIMITED_ANSWERS,
    SIZED_ANSWERS,
    WHOLE_ANSWERS,
    Break,
    Place,
    garble,
    half_close,
    leave,
    named,
    reset,
    stall,
)
from tests.faults.counting import LAST_OK, CountedRelay
from tests.harness.expectations import check_error, check_gone
from tests.harness.messages import CHUNKED, OK, OK_BODY, request
from tests.harness.peer import Agent, Answer, Caller
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

LEAVINGS_AND_STALL = (leave, reset, half_close, stall)

BREAKS = [
    *((place, how) for place in CHUNKED_ANSWERS for how in (*LEAVINGS_AND_STALL, garble)),
    # Garbage is as good a body as any other here, and closing is how the last kind ends.
    *((place, how) for place in SIZED_ANSWERS for how in LEAVINGS_AND_STALL),
    *((place, how) for place in CLOSE_DELIMITED_ANSWERS for how in (reset, stall)),
]


async def begin(relay: CountedRelay, upstream: Upstream, version: str) -> tuple[Agent, Caller]:
    """Make a call, up to where it is the upstream's turn."""
    agent = await relay.agent()
    await agent.send(request(version=version))
    caller, _ = await upstream.called()
    return agent, caller


async def read_until(agent: Agent, body: bytes) -> Answer:
    """Read an answer as far as that body, so that nothing of it is under way any more."""
    answer = await agent.head()
    while len(answer.body) < len(body):
        await agent.piece(answer)
    return answer


@pytest.mark.parametrize("how", [leave, reset, half_close, stall, garble])
@pytest.mark.parametrize("place", BEFORE_THE_BODY, ids=named)
async def test_a_break_before_the_body_is_an_error(
    impatient: CountedRelay, upstream: Upstream, place: Place, how: Break
) -> None:
    """502, or 504 where nothing came in time, with the fixed message and nothing else."""
    agent, caller = await begin(impatient, upstream, "1.1")
    await caller.send(place.sent)
    how(caller)
    answer = await agent.answer()
    status, outcome = (504, "timeout") if how is stall else (502, "upstream_error")
    check_error(answer, status, outcome, "timeout_error" if how is stall else "api_error")
    await check_gone(caller)
    ((counted, _),) = await impatient.outcomes()
    assert counted == outcome
    await impatient.check_served(upstream)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize(("place", "how"), BREAKS, ids=named)
async def test_a_break_behind_the_head_breaks_off(
    impatient: CountedRelay, upstream: Upstream, place: Place, how: Break, version: str
) -> None:
    """What came is delivered; then nothing that could pass for an end."""
    agent, caller = await begin(impatient, upstream, version)
    await caller.send(place.sent)
    answer = await read_until(agent, place.body)
    how(caller)
    await agent.finish(answer)
    assert not answer.complete
    assert answer.body.startswith(place.body)
    assert answer.body == place.body or how is garble
    has_framing = version == "1.1" or place.framing == "sized"
    assert await agent.gone() == ("end" if has_framing else "reset")
    assert agent.received == b""
    await check_gone(caller)
    outcome = "timeout" if how is stall else "truncated"
    assert await impatient.outcomes() == {(outcome, "200"): 1}
    await impatient.check_served(upstream)


@pytest.mark.parametrize("how", [leave, reset, half_close, garble])
@pytest.mark.parametrize("place", WHOLE_ANSWERS, ids=named)
async def test_a_break_behind_the_end_harms_nothing(
    impatient: CountedRelay, upstream: Upstream, place: Place, how: Break
) -> None:
    """The answer was whole. Its connection is used no more; the agent's own goes on."""
    agent, caller = await begin(impatient, upstream, "1.1")
    await caller.send(place.sent)
    answer = await agent.answer()
    assert (answer.complete, answer.body) == (True, place.body)
    how(caller)
    await check_gone(caller)
    assert await impatient.outcomes() == {("ok", "200"): 1}
    await agent.send(request())
    other, _ = await upstream.called()
    assert other is not caller
    await other.send(LAST_OK)
    assert (await agent.answer()).body == OK_BODY


async def test_silence_behind_the_end_is_none(impatient: CountedRelay, upstream: Upstream) -> None:
    """A kept connection may be silent for longer than an answer, and is used again."""
    agent, caller = await begin(impatient, upstream, "1.1")
    await caller.send(OK)
    assert (await agent.answer()).complete
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await caller.gone()
    await agent.send(request())
    assert (await caller.request()).complete
    await caller.send(LAST_OK)
    assert (await agent.answer()).complete
    assert await impatient.outcomes(2) == {("ok", "200"): 2}


@pytest.mark.parametrize("place", WHOLE_ANSWERS, ids=named)
async def test_an_answer_that_dribbles_is_the_same_answer(
    relay: CountedRelay, upstream: Upstream, place: Place
) -> None:
    """Byte for byte, in as many pieces as there are bytes."""
    agent, caller = await begin(relay, upstream, "1.1")
    await caller.dribble(place.sent)
    answer = await agent.answer()
    assert (answer.complete, answer.body) == (True, place.body)
    caller.leave()
    assert await relay.outcomes() == {("ok", "200"): 1}


async def test_a_bad_answer_that_dribbles_is_an_error(
    relay: CountedRelay, upstream: Upstream
) -> None:
    """However slowly it comes to light."""
    agent, caller = await begin(relay, upstream, "1.1")
    await caller.dribble(CHUNKED.replace(b"\r\n\r\n", b"\r\ncontent-length: 2\r\n\r\n"))
    check_error(await agent.answer(), 502, "upstream_error", "api_error")
    await check_gone(caller)
    await relay.check_served(upstream)
