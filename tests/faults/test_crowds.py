"""Many at once: idle agents that cost next to nothing, and streams that stay apart."""

from __future__ import annotations

import asyncio
import random
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.breaking import CLOSE_DELIMITED
from tests.faults.processes import KILOBYTE, cpu_seconds, resident_bytes
from tests.harness.configuration import configuration
from tests.harness.messages import CHUNKED, OK, chunk, request
from tests.harness.peer import Agent, Answer, Caller
from tests.harness.relay import Relay, relay_process
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

IDLE = 1_000
CALLS = 150
# What half a thousand steps of Python take.
SLACK_SECONDS = 0.0002
# Measured: 7 KB, for the connection's objects. A socket's own is the kernel's.
IDLE_BYTES = 16 * KILOBYTE
STREAMS = 500
MODELS = "/relay/anthropic/v1/models"
STREAM_BYTES = 48_000


async def ask_timed(agent: Agent) -> float:
    """Make a call, and return how many seconds it took."""
    begun = time.perf_counter()
    assert (await agent.ask(request())).status == 200
    return time.perf_counter() - begun


async def test_a_thousand_idle_connections_do_not_slow_a_call(
    upstream: Upstream, tmp_path: Path
) -> None:
    """A crowded relay and an empty one are asked in turn, so that both have the same machine.

    What that is busy with besides is nobody's slowness: of the times the least counts, and of the
    CPU what a relay itself takes.
    """
    upstream.answer_with(OK)
    folders = [tmp_path / name for name in ("crowded", "empty")]
    for folder in folders:
        folder.mkdir()
    config = configuration(upstream.port)
    async with (
        relay_process(folders[0], config) as crowded,
        relay_process(folders[1], config) as empty,
    ):
        pids = [relay.process.pid for relay in (crowded, empty)]
        agents = [await crowded.agent(), await empty.agent()]
        for agent in agents * CALLS:  # until a relay has begun in full
            await ask_timed(agent)
        before = resident_bytes(crowded.process.pid)
        for _ in range(IDLE):
            await crowded.agent()
        begun = [cpu_seconds(pid) for pid in pids]
        times = [[await ask_timed(agent) for agent in agents] for _ in range(CALLS)]
        cpu = [(cpu_seconds(pid) - start) / CALLS for pid, start in zip(pids, begun, strict=True)]
        for in_crowd, alone in (map(min, zip(*times, strict=True)), cpu):
            assert in_crowd < 1.5 * alone + SLACK_SECONDS
        assert resident_bytes(crowded.process.pid) - before < IDLE * IDLE_BYTES


class Stream:
    """One of many: its bytes say whose they are and where they stand."""

    def __init__(self, number: int, agent: Agent, caller: Caller, chance: random.Random) -> None:
        self.agent = agent
        self._caller = caller
        self._framing = (CHUNKED, _sized(STREAM_BYTES), CLOSE_DELIMITED)[number % 3]
        self.body = b"".join(struct.pack(">II", number, n) for n in range(STREAM_BYTES // 8))
        self._pieces = self._cut(chance)

    def _cut(self, chance: random.Random) -> Iterator[bytes]:
        yield self._framing
        rest = self.body
        while rest:
            size = chance.choice((1, 7, 100, 1_000, 9_000))
            yield chunk(rest[:size]) if self._framing == CHUNKED else rest[:size]
            rest = rest[size:]
        yield chunk(b"") if self._framing == CHUNKED else b""

    async def go_on(self) -> bool:
        """Send the next piece; return whether there is more."""
        piece = next(self._pieces, None)
        if piece is None:
            self._caller.leave()
            return False
        await self._caller.send(piece)
        return True


def _sized(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length


async def begin_streams(relay: Relay, upstream: Upstream, chance: random.Random) -> list[Stream]:
    """Begin all of them; each upstream connection is known by what it was asked."""
    agents = [await relay.agent() for _ in range(STREAMS)]
    for number, agent in enumerate(agents):
        await agent.send(request(f"{MODELS}?n={number}", method="GET", body=None))
    streams = []
    for _ in agents:
        caller, got = await upstream.called()
        number = int(got.target.partition(b"n=")[2])
        streams.append(Stream(number, agents[number], caller, chance))
    return streams


async def test_five_hundred_streams_stay_apart(upstream: Upstream, tmp_path: Path) -> None:
    """In pieces of any size, in any order, and no byte in the wrong one."""
    chance = random.Random(11)  # the same order in each run
    async with relay_process(tmp_path, configuration(upstream.port)) as relay:
        streams = await begin_streams(relay, upstream, chance)
        reading = [asyncio.create_task(each.agent.answer()) for each in streams]
        under_way = list(streams)
        while under_way:
            position = chance.randrange(len(under_way))
            if not await under_way[position].go_on():
                under_way[position] = under_way[-1]
                under_way.pop()
        answers: list[Answer] = await asyncio.gather(*reading)
        for stream, answer in zip(streams, answers, strict=True):
            assert answer.complete
            assert answer.body == stream.body
        assert await relay.outcomes(STREAMS) == {("ok", "200"): STREAMS}
