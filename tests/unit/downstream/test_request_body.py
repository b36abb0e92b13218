"""A request's body between the one who reads it and the one who passes it on."""

from __future__ import annotations

import asyncio

from relay.downstream.request_body import SPACE, BodyBuffer


class Source:
    """Who is asked to pause."""

    def __init__(self) -> None:
        self.asked: list[bool] = []
        self.buffer = BodyBuffer(self.asked.append)


async def test_what_was_put_in_is_taken_out() -> None:
    """In order, in one piece, once."""
    buffer = Source().buffer
    buffer.put(b"one")
    buffer.put(b"two")
    assert buffer.take() == b"onetwo"
    assert buffer.take() == b""


async def test_the_next_piece_is_waited_for() -> None:
    """And then the end, which is empty."""
    buffer = Source().buffer
    waiting = asyncio.create_task(buffer.next())
    await asyncio.sleep(0)
    assert not waiting.done()
    buffer.put(b"piece")
    assert await waiting == b"piece"
    waiting = asyncio.create_task(buffer.next())
    await asyncio.sleep(0)
    buffer.end()
    assert await waiting == b""
    assert buffer.read


async def test_a_full_buffer_pauses_its_source_until_it_is_taken() -> None:
    """Once each, however much is put in all the same."""
    source = Source()
    source.buffer.put(b"x" * (SPACE - 1))
    assert source.asked == []
    source.buffer.put(b"x")
    source.buffer.put(b"x")
    assert source.asked == [True]
    assert len(source.buffer.take()) == SPACE + 1
    assert source.asked == [True, False]


async def test_a_body_is_read_when_its_end_and_all_of_it_were() -> None:
    """Not before."""
    buffer = Source().buffer
    buffer.put(b"x")
    buffer.end()
    assert buffer.complete
    assert not buffer.read
    buffer.take()
    assert buffer.read


async def test_what_nobody_wants_is_dropped_up_to_the_end() -> None:
    """What is there, what comes; and the source may go on."""
    source = Source()
    source.buffer.put(b"x" * SPACE)
    discarding = asyncio.create_task(source.buffer.discard())
    await asyncio.sleep(0)
    assert source.asked == [True, False]
    source.buffer.put(b"x" * SPACE)
    assert source.asked == [True, False]
    assert not discarding.done()
    source.buffer.end()
    await discarding
    assert source.buffer.read


async def test_who_gave_up_waiting_takes_nothing_from_the_next() -> None:
    """An upload that was cancelled leaves the rest to whoever drops it."""
    buffer = Source().buffer
    first = asyncio.create_task(buffer.next())
    await asyncio.sleep(0)
    first.cancel()
    discarding = asyncio.create_task(buffer.discard())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    buffer.end()
    async with asyncio.timeout(5):
        await discarding
