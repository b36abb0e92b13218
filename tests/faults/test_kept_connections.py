"""Kept connections that end at the worst moment: as a request is being written on them.

Each call must come to exactly one of two ends. Either nothing of it was written on the dying
connection, and it succeeds on another; or something was, and it is a 502 that no other
connection has ever heard of. Which of the two it is in a given round is a matter of
microseconds, so there are many rounds, and the moments are spread.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from tests.faults.breaking import Break, half_close, leave, named, reset
from tests.faults.counting import LAST_OK, CountedRelay
from tests.harness.expectations import check_error
from tests.harness.messages import MESSAGES, OK, OK_BODY, chunk, chunked_request, request
from tests.harness.peer import Answer, Caller, Ended
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUNDS = 150
# How far apart the end and the request are: a request goes through the relay in less.
SPREAD_SECONDS = 0.001
# What ended so long before has ended for the kernel, and so for the relay.
SURE_SECONDS = 0.0002
# In which what a test did has been done, however long it was kept from the CPU meanwhile.
TURNS = 3
# How long an upstream takes to answer, in which its end still breaks the call off.
THINKING_SECONDS = 0.0003

Step = Callable[[], None]


class Witness:
    """An upstream that answers each call, and remembers which connection heard of which."""

    def __init__(self, upstream: Upstream) -> None:
        self.heard: Counter[bytes] = Counter()
        self.latest: Caller
        self.ended: set[Caller] = set()
        """The connections that end, or are about to."""
        self._upstream = upstream

    async def serve(self) -> None:
        """Answer whatever comes, on as many connections as there are."""
        async with asyncio.TaskGroup() as serving:
            while True:
                caller = await self._upstream.accepted()
                serving.create_task(self._serve(caller))

    async def _serve(self, caller: Caller) -> None:
        while True:
            try:
                got = await caller.request()
            except Ended:
                return
            self.heard[got.target.partition(b"n=")[2]] += 1
            self.latest = caller
            await spin(THINKING_SECONDS)
            if caller not in self.ended:
                caller.transport.write(OK)

    def end(self, how: Break) -> None:
        """End the connection that was used last."""
        self.ended.add(self.latest)
        how(self.latest)


async def spin(seconds: float) -> None:
    """Let the event loop turn for a time that is too short for a timer."""
    loop = asyncio.get_running_loop()
    start, turns = time.perf_counter(), 0
    while turns < TURNS or time.perf_counter() - start < seconds:
        turns += 1
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn


async def one_after_another(first: Step, second: Step, lag: float) -> None:
    """Do two things, so many seconds apart; with a negative lag the other way round."""
    if lag < 0:
        first, second = second, first
    first()
    await spin(abs(lag))
    second()


def check_end(answer: Answer, heard: int, *, audible: bool) -> None:
    """See that a call was answered by the one who heard it, or heard by one at most."""
    assert heard <= 1
    if answer.status == 200:
        assert (answer.body, heard) == (OK_BODY, 1)
        return
    check_error(answer, 502, "upstream_error", "api_error")
    # Who only closed its sending side hears what was written on the connection.
    assert heard == 1 or not audible


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("how", [leave, half_close, reset], ids=named)
async def test_a_connection_that_ends_as_a_request_is_written(
    relay: CountedRelay, upstream: Upstream, how: Break, method: str
) -> None:
    """200 and heard once, or 502 and heard by nobody else: never lost, never sent twice."""
    witness = Witness(upstream)
    serving = asyncio.create_task(witness.serve())
    agent = await relay.agent()
    chance = random.Random(7)  # the same moments in each run
    statuses: Counter[int] = Counter()
    for number in range(ROUNDS):
        assert (await agent.ask(request(f"{MESSAGES}?n=warm{number}"))).status == 200
        data = request(f"{MESSAGES}?n={number}", method=method)
        caller = witness.latest
        lag = chance.uniform(-SPREAD_SECONDS / 2, SPREAD_SECONDS)
        asking, ending = partial(agent.transport.write, data), partial(witness.end, how)
        await one_after_another(asking, ending, lag)
        answer = await agent.answer()
        await caller.gone()
        check_end(answer, witness.heard[str(number).encode()], audible=how is half_close)
        statuses[answer.status] += 1
        # The end was there first: nothing has been written on that connection.
        assert lag > -SURE_SECONDS or answer.status == 200
    serving.cancel()
    assert set(statuses) <= {200, 502}
    assert statuses[200]
    outcomes = await relay.outcomes(2 * ROUNDS)
    assert outcomes[("ok", "200")] == ROUNDS + statuses[200]
    assert outcomes.get(("upstream_error", "none"), 0) == statuses[502]


@pytest.mark.parametrize("first", ["the end", "the request"])
@pytest.mark.parametrize("how", [leave, half_close, reset], ids=named)
async def test_a_connection_that_ended_before_the_request_was_read(
    relay: CountedRelay, upstream: Upstream, how: Break, first: str
) -> None:
    """The relay learns of both at once, in either order, and writes on another connection."""
    agent = await relay.agent()
    await agent.send(request())
    caller, _ = await upstream.called()
    await caller.send(OK)
    assert (await agent.answer()).body == OK_BODY
    await relay.process.log.calls()
    relay.process.signal(signal.SIGSTOP)
    try:
        steps = [partial(how, caller), partial(agent.transport.write, request())]
        for step in steps if first == "the end" else reversed(steps):
            step()
            await spin(SPREAD_SECONDS)
    finally:
        relay.process.signal(signal.SIGCONT)
    other, got = await upstream.called()
    assert other is not caller
    assert got.complete
    await other.send(LAST_OK)
    assert (await agent.answer()).body == OK_BODY
    assert await relay.outcomes(2) == {("ok", "200"): 2}


@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE"])
@pytest.mark.parametrize("how", [leave, half_close, reset], ids=named)
async def test_a_request_that_was_written_is_not_sent_again(
    relay: CountedRelay, upstream: Upstream, how: Break, method: str, *, kept: bool
) -> None:
    """Idempotent or not, on a new connection or a kept one: a lost answer is a 502."""
    agent = await relay.agent()
    caller: Caller | None = None
    if kept:
        await agent.send(request())
        caller, _ = await upstream.called()
        await caller.send(OK)
        assert (await agent.answer()).status == 200
    await agent.send(request(method=method, body=None))
    if caller is None:
        caller, _ = await upstream.called()
    else:
        await caller.request()
    heard = len(upstream.callers)
    how(caller)
    check_error(await agent.answer(), 502, "upstream_error", "api_error")
    assert len(upstream.callers) == heard
    assert (await relay.outcomes(1 + kept))[("upstream_error", "none")] == 1
    await relay.check_served(upstream)


@pytest.mark.parametrize("how", [leave, reset], ids=named)
async def test_half_a_request_is_not_sent_again(
    relay: CountedRelay, upstream: Upstream, how: Break
) -> None:
    """What is still to come of its body would be only the half of it."""
    agent = await relay.agent()
    await agent.send(chunked_request() + chunk(b"half"))
    caller = await upstream.accepted()
    got = await caller.head()
    assert await caller.piece(got) == b"half"
    heard = len(upstream.callers)
    how(caller)
    check_error(await agent.answer(), 502, "upstream_error", "api_error")
    assert len(upstream.callers) == heard
    await relay.check_served(upstream)
