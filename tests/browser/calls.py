"""Calls for the page to show."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from tests.harness.messages import EVENTS, MESSAGES, chunk, request
from tests.harness.model_answers import MESSAGE_STREAM
from tests.harness.peer import Agent, Answer, Caller
from tests.harness.relay import Relay
from tests.harness.upstream import Upstream

SESSION: Final = "8f1c2b7e-33aa-4b00-9a1d-0c9d8e7f6a50"


class Call(NamedTuple):
    """A call whose answer has begun."""

    agent: Agent
    caller: Caller
    answer: Answer


def head(*lines: str) -> bytes:
    """Return the head of a stream, with further lines."""
    return EVENTS.replace(
        b"\r\n\r\n", "".join(f"\r\n{line}" for line in lines).encode() + b"\r\n\r\n"
    )


HEAD: Final = head("request-id: req_1")
LIMITS: Final = head(
    "anthropic-ratelimit-unified-5h-utilization: 0.62",
    f"anthropic-ratelimit-unified-5h-reset: {time.time() + 7800:.0f}",
    "anthropic-ratelimit-requests-limit: 4000",
    "anthropic-ratelimit-requests-remaining: 3712",
)


async def begin(
    relay: Relay, upstream: Upstream, *, session: str = SESSION, head: bytes = HEAD
) -> Call:
    """Begin a call, and stream the beginning of its answer."""
    agent = await relay.agent()
    await agent.send(request(MESSAGES, f"X-Claude-Code-Session-Id: {session}"))
    caller, _ = await upstream.called()
    start, *_ = MESSAGE_STREAM.pieces
    await caller.send(head + chunk(start))
    answer = await agent.head()
    await agent.piece(answer)
    return Call(agent, caller, answer)


async def finish(call: Call) -> None:
    """Stream the rest of it; the next call comes on a connection of its own."""
    _, *rest = MESSAGE_STREAM.pieces
    await call.caller.send(b"".join(map(chunk, rest)) + chunk(b""))
    await call.agent.finish(call.answer)
    call.caller.leave()
