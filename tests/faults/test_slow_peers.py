"""Peers that take their time over large bodies: memory stays flat, and every byte arrives.

What is looked at is the relay process's peak of resident memory, so that nothing passes unseen
between two looks.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.faults.counting import LAST_OK, CountedRelay
from tests.faults.processes import MEGABYTE, peak_bytes
from tests.harness.messages import MESSAGES, OK_BODY, request
from tests.harness.peer import Peer
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Measured: 13 to 17 MB for an answer of 25 MB as for one of 400. Most is the meter's, which
# keeps up to 4 MiB of what might be JSON with usage in it, and copies that.
ANSWER_GROWTH_BYTES = 24 * MEGABYTE
# Uploads are not read: a piece or two on each side, and the allocator's.
UPLOAD_GROWTH_BYTES = 8 * MEGABYTE
QUIET_SECONDS = 0.2
PAUSES = 8
PIECE = random.Random(3).randbytes(65_536)  # noise: no shift goes unseen


class Giver:
    """Writes a large body, as fast as it is taken."""

    def __init__(self, peer: Peer, total: int) -> None:
        self._peer = peer
        self._total = total
        self._progress = asyncio.Event()

    async def give(self) -> None:
        """Write it all."""
        for _ in range(self._total // len(PIECE)):
            await self._peer.send(PIECE)
            self._progress.set()

    async def stuck(self) -> None:
        """Wait until nothing is taken any more."""
        while True:
            self._progress.clear()
            try:
                async with asyncio.timeout(QUIET_SECONDS):
                    await self._progress.wait()
            except TimeoutError:
                return


class Taker:
    """Reads a large body in portions, and compares every byte."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._count = 0

    async def take(self, count: int) -> None:
        """Read until there are so many in all."""
        while self._count < count:
            self._compare(await self._peer.some(count - self._count))

    def _compare(self, data: bytes) -> None:
        while data:
            expected = PIECE[self._count % len(PIECE) :][: len(data)]
            assert data.startswith(expected)
            data = data[len(expected) :]
            self._count += len(expected)


async def move_slowly(giver: Giver, peer: Peer, total: int) -> None:
    """Move a body whose taker stops again and again, until nothing moves."""
    giving = asyncio.create_task(giver.give())
    taker = Taker(peer)
    for portion in range(1, PAUSES + 1):
        peer.hold()
        await giver.stuck()
        peer.read_on()
        await taker.take(total * portion // PAUSES)
    await giving


async def test_a_slow_agent_and_200_mb(relay: CountedRelay, upstream: Upstream) -> None:
    """The upstream is held back, and the relay keeps next to nothing."""
    total = 200 * MEGABYTE
    pid = relay.process.process.pid
    await relay.check_served(upstream)
    before = peak_bytes(pid)
    agent = await relay.agent()
    await agent.send(request())
    caller, _ = await upstream.called()
    await caller.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
    assert (await agent.head()).status == 200
    await move_slowly(Giver(caller, total), agent, total)
    assert peak_bytes(pid) - before < ANSWER_GROWTH_BYTES
    assert await relay.outcomes(2) == {("ok", "200"): 2}


async def test_a_slow_upstream_and_100_mb(relay: CountedRelay, upstream: Upstream) -> None:
    """The agent is held back, and the relay keeps next to nothing."""
    total = 100 * MEGABYTE
    pid = relay.process.process.pid
    await relay.check_served(upstream)
    before = peak_bytes(pid)
    agent = await relay.agent()
    await agent.send(request(MESSAGES, f"Content-Length: {total}", body=None))
    caller = await upstream.accepted()
    await caller.head()
    await move_slowly(Giver(agent, total), caller, total)
    await caller.send(LAST_OK)
    assert (await agent.answer()).body == OK_BODY
    assert peak_bytes(pid) - before < UPLOAD_GROWTH_BYTES
    assert await relay.outcomes(2) == {("ok", "200"): 2}
