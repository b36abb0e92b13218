"""One end leaves, falls silent, or is not alone: what the other end sees of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import pytest

from tests.harness import FUSE_SECONDS
from tests.wire.agent import RawAgent
from tests.wire.case import chunked, request
from tests.wire.ends import Ends
from tests.wire.upstream import KEEP_OK, OK, Connection, Script, Then

pytestmark = pytest.mark.asyncio(loop_scope="module")

GONE_SECONDS: Final = 1.0
HALF: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"
HALF_CHUNKED: Final = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"
LEAVING: Final[dict[str, Callable[[RawAgent], None]]] = {
    "closes": lambda agent: agent.transport.close(),
    "resets": lambda agent: agent.transport.abort(),
    "says that it sends no more": lambda agent: agent.transport.write_eof(),
}
BEGUN: Final = {
    "before the answer's first byte": (request(), ()),
    "within the answer": (request(), (HALF,)),
    "within a chunked answer": (request(), (HALF_CHUNKED,)),
    "within its own body": (request(b"Content-Length: 9", b"half"), ()),
    "within its own chunks": (chunked(b"4\r\nhalf\r\n"), ()),
    "within a chunk": (chunked(b"9\r\nhalf"), ()),
}


async def _upstream(ends: Ends, condition: Callable[[], bool], seconds: float) -> None:
    """Wait until something is true of the upstream."""
    changed = asyncio.Event()
    ends.upstream.on_change = changed.set
    async with asyncio.timeout(seconds):
        while not condition():
            changed.clear()
            await changed.wait()


def _calls(ends: Ends) -> list[Connection]:
    """Return the connections on which a request's head has come."""
    return [each for each in ends.upstream.connections if b"\r\n\r\n" in each.received]


async def _answered(agent: RawAgent) -> None:
    await agent.until(lambda: agent.received.endswith(b"ok"))


@pytest.mark.parametrize("how", LEAVING)
@pytest.mark.parametrize("when", BEGUN)
async def test_an_agent_that_leaves_ends_its_upstream_call(ends: Ends, when: str, how: str) -> None:
    """Within a second, also before the first byte and while its body is still being sent."""
    ends.begin()
    sent, pieces = BEGUN[when]
    ends.upstream.script = Script(pieces=pieces)
    agent = await ends.agent()
    await agent.send(sent)
    await _upstream(ends, lambda: bool(_calls(ends)), FUSE_SECONDS)
    if pieces:
        await agent.until(lambda: b"half" in agent.received)
    (call,) = _calls(ends)
    LEAVING[how](agent)
    await _upstream(ends, lambda: call.lost, GONE_SECONDS)
    assert b"0\r\n\r\n" not in call.received
    ends.upstream.script = KEEP_OK
    await ends.call_well()


@pytest.mark.parametrize("torso", [HALF, HALF_CHUNKED], ids=["a length", "chunks"])
async def test_an_upstream_that_falls_silent_within_its_answer_is_cut(
    ends: Ends, torso: bytes
) -> None:
    """Once the idle limit has passed; what came is delivered, and does not end cleanly."""
    ends.begin()
    ends.upstream.script = Script(pieces=(torso,))
    agent = await ends.agent()
    await agent.send(request())
    await agent.gone()
    ends.upstream.script = KEEP_OK
    (answer,) = agent.answers([])
    assert (answer.status, answer.body, answer.complete) == (200, b"half", False)
    await ends.call_well()
    assert (await ends.logged(2))[0]["outcome"] == "timeout"


@pytest.mark.parametrize("then", ["end", "reset"])
async def test_a_kept_connection_that_the_upstream_ended_is_not_used(
    ends: Ends, then: Then
) -> None:
    """The next call is sent once, on another."""
    for _ in range(20):
        ends.begin()
        ends.upstream.script = Script(pieces=(OK,), then=then)
        agent = await ends.agent()
        await agent.send(request())
        await _answered(agent)
        ends.upstream.script = KEEP_OK
        await ends.call_well(agent)
        assert len(ends.upstream.requests) == 2
        assert not ends.upstream.cut


async def test_a_thousand_idle_connections_do_not_slow_a_call(ends: Ends) -> None:
    """Some have said nothing, and some have had an answer."""
    ends.begin()
    idle = [await ends.agent() for _ in range(1000)]
    for agent in idle[::10]:
        await agent.send(request())
        await _answered(agent)
    async with asyncio.timeout(GONE_SECONDS):
        await ends.call_well()
    assert not any(agent.ending for agent in idle)
