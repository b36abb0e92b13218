"""File descriptors running out: nothing in flight is harmed, nothing spins, and it passes.

The process gets so few of them that a handful of agents take the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.processes import cpu_seconds, descriptors
from tests.harness.configuration import configuration
from tests.harness.expectations import eventually
from tests.harness.messages import OK, PIECE, chunk, request
from tests.harness.peer import Agent
from tests.harness.relay import Relay, RelayProcess, begin_stream, relay_process
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

DESCRIPTORS = 48
CROWD = 100
WATCHED_SECONDS = 1.0
# A loop that spins takes all of a core; the ticker and the probes take a hundredth.
BUSY_SHARE = 0.2


@pytest_asyncio.fixture(loop_scope="module")
async def scarce(upstream: Upstream, tmp_path: Path) -> AsyncIterator[RelayProcess]:
    """A relay that may have few descriptors, and has imported all that it will."""
    limit = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    async with relay_process(tmp_path, configuration(upstream.port), None, *limit) as running:
        assert (await running.page("/healthz")).status == 200
        yield running


async def use_up(relay: RelayProcess) -> list[Agent]:
    """Connect more agents than there are descriptors, and wait until none is left."""
    crowd = [await relay.agent() for _ in range(CROWD)]
    await eventually(lambda: descriptors(relay.process.pid) >= set(range(DESCRIPTORS)))
    return crowd


async def leave(crowd: list[Agent]) -> None:
    """Have all of them go."""
    for agent in crowd:
        agent.leave()
    for agent in crowd:
        await agent.lost.wait()


async def ask_if_served(relay: Relay) -> int:
    """Return the status of a call, or 0 where the connection was not served."""
    agent = await relay.agent()
    await agent.send(request())
    while b"\r\n" not in agent.received and not agent.ending:
        async with asyncio.timeout(5):
            await agent.wait()
    return int(agent.received.split(b" ")[1]) if agent.received else 0


async def check_served(relay: RelayProcess, upstream: Upstream) -> None:
    """See that calls succeed again, and the admin pages with them."""
    upstream.answer_with(OK)
    async with asyncio.timeout(5):
        while (await ask_if_served(relay)) != 200:
            pass
    assert (await relay.page("/healthz")).status == 200
    assert (await relay.readiness())[0] == 200


async def test_a_call_in_flight_goes_on(scarce: RelayProcess, upstream: Upstream) -> None:
    """No byte of it is lost, and when agents have left, new ones are served."""
    agent, caller = await begin_stream(scarce, upstream)
    crowd = await use_up(scarce)
    await caller.send(chunk(b"two") + chunk(b""))
    answer = await agent.answer()
    assert (answer.body, answer.complete) == (PIECE + b"two", True)
    caller.leave()
    await leave(crowd)
    await check_served(scarce, upstream)


async def test_nothing_spins(scarce: RelayProcess, upstream: Upstream) -> None:
    """While there is none left the process does next to nothing."""
    agent, caller = await begin_stream(scarce, upstream)
    answer = await agent.head()
    await agent.piece(answer)
    crowd = await use_up(scarce)
    pid = scarce.process.pid
    before = cpu_seconds(pid)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(WATCHED_SECONDS):
            await agent.piece(answer)
    assert cpu_seconds(pid) - before < BUSY_SHARE * WATCHED_SECONDS
    caller.leave()
    await leave(crowd)
    await check_served(scarce, upstream)


async def test_agents_wait_until_there_is_one(scarce: RelayProcess, upstream: Upstream) -> None:
    """Nobody is turned away, and it is said once for all of them."""
    crowd = await use_up(scarce)
    late = await scarce.agent()
    await late.send(request())
    upstream.answer_with(OK)
    await scarce.log.says("connections wait to be accepted: too many open files")
    await leave(crowd)
    assert (await late.answer()).status == 200
    assert str(scarce.log.text).count("connections wait to be accepted") == 1
    await check_served(scarce, upstream)


async def test_a_call_without_a_descriptor_for_its_upstream(
    scarce: RelayProcess, upstream: Upstream
) -> None:
    """An agent that came in has its call refused, as where nothing answers; then it passes."""
    first = await scarce.agent()
    assert (await first.ask(request("/relay/none"))).status == 404
    crowd = await use_up(scarce)
    answer = await first.ask(request())
    assert (answer.status, answer.outcome) == (502, "connect_error")
    await scarce.log.says("the relay has no file descriptor left")
    await leave(crowd)
    await check_served(scarce, upstream)
