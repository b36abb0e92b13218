"""The ways to pass an answer on: as Headroom does, or broken where it is passed on.

A hop that answers by itself plays one of the other modes. What it sends on, where to and
how often is a matter of the arguments, whatever the mode.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing

from .answering import Answering
from .answers import EVENT_STREAM, own_answer
from .anthropic import PING, error_event
from .arguments import ArgumentError
from .forwarder import Call
from .passage import Passage

# Between the pings of a hop that holds the stream back, as observed.
PING_INTERVAL_SECONDS = 0.25
# Lets what was written reach the client before the reset overtakes it.
RESET_DELAY_SECONDS = 0.02
# Two deltas of a message have been passed on by then.
EVENTS_BEFORE_FAULT = 5


async def play_forward(answering: Answering) -> None:
    """Pass the answer on as it comes, one chunk for each event."""
    with closing(await _forwarded(answering)) as passage:
        await answering.begin(passage.answer)
        async for piece in _pieces(passage):
            await answering.send([piece])
        await asyncio.gather(*passage.others)
        await answering.end()


async def play_burst(answering: Answering) -> None:
    """Hold the answer back until it is there."""
    with closing(await _forwarded(answering)) as passage:
        pieces = [piece async for piece in _pieces(passage)]
        await answering.begin(passage.answer)
        await answering.burst(pieces)


async def play_pings(answering: Answering) -> None:
    """Commit to a 200 and send pings before going on, then the whole stream at once."""
    body = b"".join([piece async for piece in answering.body])
    await answering.begin(own_answer(200, "OK", EVENT_STREAM, b"", streamed=True))
    await answering.send([PING] * answering.arguments.count("pings", 4), PING_INTERVAL_SECONDS)
    with closing(await _forwarded(answering, body)) as passage:
        pieces = [piece async for piece in _pieces(passage)]
        if passage.answer.status != 200:
            pieces = [error_event("api_error", f"Upstream answered {passage.answer.status}")]
        await answering.burst(pieces)


async def play_truncated(answering: Answering) -> None:
    """Close in the middle of the answer."""
    with closing(await _forwarded(answering)) as passage:
        await _begin_and_break(answering, passage)
    answering.keep = False


async def play_reset(answering: Answering) -> None:
    """Reset the connection, before the head or in the middle of the answer."""
    with closing(await _forwarded(answering)) as passage:
        if answering.arguments.text("before") != "head":
            await _begin_and_break(answering, passage)
            await asyncio.sleep(RESET_DELAY_SECONDS)
    answering.connection.reset()
    answering.keep = False


async def play_stall(answering: Answering) -> None:
    """Fall silent, before the head or in the middle, once the answer has begun to come."""
    with closing(await _forwarded(answering)) as passage:
        if answering.arguments.text("before") != "head":
            await _begin_and_break(answering, passage)
        await asyncio.Event().wait()


async def _forwarded(answering: Answering, body: bytes | None = None) -> Passage:
    if answering.forwarder is None:
        raise ArgumentError("there is no upstream")
    if body is None:
        body = b"".join([piece async for piece in answering.body])
    call = Call(answering.head, body, answering.exchange, answering.arguments)
    return await answering.forwarder.forward(call)


async def _pieces(passage: Passage) -> AsyncIterator[bytes]:
    for piece in passage.answer.pieces:
        yield piece
    if passage.events is not None:
        async for event in passage.events:
            yield event


async def _begin_and_break(answering: Answering, passage: Passage) -> None:
    """Write the head and some of what follows: some events, or half of a body."""
    await answering.begin(passage.answer)
    if passage.events is None:
        body = b"".join(passage.answer.pieces)
        await answering.send([body[: len(body) // 2]])
        return
    left = answering.arguments.count("after", EVENTS_BEFORE_FAULT)
    while left > 0:
        await answering.send([await anext(passage.events)])
        left -= 1


HOP_MODES: dict[str, Callable[[Answering], Awaitable[None]]] = {
    "forward": play_forward,
    "forward_burst": play_burst,
    "forward_pings": play_pings,
    "forward_truncated": play_truncated,
    "forward_reset": play_reset,
    "forward_stall": play_stall,
}
