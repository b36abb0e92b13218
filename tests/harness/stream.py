"""A call whose answer is under way."""

from __future__ import annotations

from tests.harness.agent import Agent
from tests.harness.relay import Relay
from tests.harness.request import request
from tests.harness.response import CHUNKED, PIECE, chunk
from tests.harness.upstream import Caller, Upstream


async def begin_stream(relay: Relay, upstream: Upstream) -> tuple[Agent, Caller]:
    """Begin a call whose answer has begun and not ended."""
    agent = await relay.agent()
    await agent.send(request())
    caller, _ = await upstream.called()
    await caller.send(CHUNKED + chunk(PIECE))
    return agent, caller
