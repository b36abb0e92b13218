"""Calls for the page to show."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from tests.harness.chain import Chain
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


class ChainCall:
    """A call by way of one LLM proxy, which hands on what it gets, piece by piece."""

    def __init__(self, agent: Agent, hop: Caller, back: Agent, api: Caller) -> None:
        self._agent = agent
        self._hop = hop
        self._back = back
        self._api = api
        self._answers: tuple[Answer, Answer] | None = None

    @classmethod
    async def begin(cls, chain: Chain, *lines: str, body: bytes = b"{}") -> ChainCall:
        """Begin a call, and have its legs go out."""
        agent = await chain.relay.agent()
        await agent.send(request(MESSAGES, *lines, body=body))
        hop, sent = await chain.called()
        back = await chain.come_back(sent, body=body)
        api, _ = await chain.api.called()
        return cls(agent, hop, back, api)

    async def answer(self, head: bytes) -> None:
        """Begin to answer."""
        await self._api.send(head)
        back = await self._back.head()
        await self._hop.send(head)
        self._answers = (back, await self._agent.head())

    async def write(self, event: bytes) -> None:
        """Stream a piece of the answer, and see that the agent has it."""
        assert self._answers is not None
        back, answer = self._answers
        await self._api.send(chunk(event))
        await self._hop.send(chunk(await self._back.piece(back)))
        await self._agent.piece(answer)

    async def end(self) -> None:
        """End the answer; the next call comes on connections of its own."""
        assert self._answers is not None
        back, answer = self._answers
        await self._api.send(chunk(b""))
        await self._back.finish(back)
        await self._hop.send(chunk(b""))
        await self._agent.finish(answer)
        for peer in (self._api, self._hop, self._back, self._agent):
            peer.leave()
