"""A log that nobody reads: a stopped pager, a terminal on hold, a slow driver of logs.

The relay is a process of its own, and its log a pipe whose reader holds still when it is told to.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from relay.telemetry.access_log import DROPPED, EXIT_SECONDS
from relay.telemetry.line_writer import QUEUE_LIMIT
from tests.faults.processes import resident_bytes
from tests.harness import FUSE_SECONDS, ROOT
from tests.harness.configuration import configuration, write_configuration
from tests.harness.log import Log
from tests.harness.messages import OK, PIECE, chunk, request
from tests.harness.peer import Agent, Answer, Caller
from tests.harness.relay import RelayProcess, begin_stream
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

PIPE_BYTES = 65_536
LONG_PATH = "/relay/anthropic/v1/messages/" + "x" * 15_000
SOON_SECONDS = 2.0
"""Long enough for a busy machine; whoever waits for the log's reader waits for ever."""


class Reader(asyncio.Protocol):
    """Reads the log while it is not told to hold still."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.transport: asyncio.ReadTransport
        self.lost = asyncio.Event()
        self._rest = b""

    def connection_lost(self, _: Exception | None) -> None:
        """Note the end."""
        self.lost.set()

    def connection_made(self, transport: asyncio.ReadTransport) -> None:  # type: ignore[override]  # a pipe's reading end
        """Begin."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Take lines."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.log.take(line.decode())


class Watched(RelayProcess):
    """A relay whose log's reader can hold still."""

    reader: Reader

    def paths(self) -> list[str]:
        """Return the paths of the calls in the log, each by its end."""
        return [line["path"][-8:] for line in self.log.lines if line["event"] == "call"]

    async def healthy(self) -> None:
        """See that the relay answers, and soon."""
        begun = time.perf_counter()
        assert (await self.page("/healthz")).status == 200
        assert time.perf_counter() - begun < SOON_SECONDS

    async def dropped(self) -> float:
        """Return how many lines were dropped, as the metrics say."""
        return (await self.samples("relay_log_lines_dropped_total")).get((), 0)


@pytest_asyncio.fixture(loop_scope="module")
async def relay(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Watched]:
    """A relay of the test's own."""
    relay = Watched(write_configuration(tmp_path, configuration(upstream.port)), Log())
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    relay.process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "serve", "--config", str(relay.path)),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "RELAY_LOG": "json"},
        stderr=writing,
    )
    os.close(writing)
    loop = asyncio.get_running_loop()
    _, relay.reader = await loop.connect_read_pipe(
        lambda: Reader(relay.log), os.fdopen(reading, "rb")
    )
    try:
        await relay.find_ports()
        yield relay
    finally:
        await relay.close_agents()
        if relay.process.returncode is None:
            relay.process.kill()
        await relay.process.wait()
        relay.reader.transport.close()
        await relay.reader.lost.wait()
    relay.check_log()


def numbered(number: int) -> bytes:
    """Return a request that makes a long line of log, with a number at its end."""
    return request(f"{LONG_PATH}{number:08}")


class Streams:
    """Calls whose answers go on, an event on each at a time."""

    def __init__(self) -> None:
        self._open: list[tuple[Agent, Caller, Answer]] = []

    async def begin(self, relay: Watched, upstream: Upstream) -> None:
        """Begin one more."""
        agent, caller = await begin_stream(relay, upstream)
        answer = await agent.head()
        assert await agent.piece(answer) == PIECE
        self._open.append((agent, caller, answer))

    async def go_on(self) -> None:
        """See that an event on each comes, and soon."""
        begun = time.perf_counter()
        for _, caller, _ in self._open:
            await caller.send(chunk(PIECE))
        for agent, _, answer in self._open:
            assert await agent.piece(answer) == PIECE
        assert time.perf_counter() - begun < SOON_SECONDS

    async def end(self) -> None:
        """See that each comes to its end."""
        for agent, caller, answer in self._open:
            await caller.send(chunk(b""))
            await agent.finish(answer)
            assert answer.complete


async def test_calls_and_streams_go_on_and_lines_wait(relay: Watched, upstream: Upstream) -> None:
    """More than a pipe holds is written once somebody reads again: in order, and all of it."""
    agent, caller = await begin_stream(relay, upstream)
    answer = await agent.head()
    assert await agent.piece(answer) == PIECE
    relay.reader.transport.pause_reading()
    upstream.answer_with(OK)
    count = 2 * PIPE_BYTES // len(LONG_PATH) + 100
    for number in range(count):
        begun = time.perf_counter()
        assert (await relay.ask(numbered(number))).status == 200
        assert time.perf_counter() - begun < SOON_SECONDS
        if number % 10 == 0:
            await caller.send(chunk(PIECE))
            assert await agent.piece(answer) == PIECE
    await relay.healthy()
    assert await relay.dropped() == 0
    relay.reader.transport.resume_reading()
    await relay.log.calls(count)
    assert relay.paths() == [f"{number:08}" for number in range(count)]


async def test_lines_beyond_the_queue_are_dropped_and_counted(
    relay: Watched, upstream: Upstream
) -> None:
    """One line says so where they are missing, and the metrics do at once."""
    upstream.answer_with(OK)
    relay.reader.transport.pause_reading()
    agent = await relay.agent()
    count = QUEUE_LIMIT // len(LONG_PATH) + 100
    for number in range(count):
        assert (await agent.ask(numbered(number))).status == 200
    await relay.healthy()
    dropped = int(await relay.dropped())
    assert 0 < dropped < count
    relay.reader.transport.resume_reading()
    said = await relay.log.says(DROPPED.replace("%d", r"(\d+)"))
    assert int(said[1]) == dropped
    assert relay.paths() == [f"{number:08}" for number in range(count - dropped)]
    assert (await agent.ask(numbered(count))).status == 200
    while relay.paths()[-1] != f"{count:08}":
        await relay.log.more()
    assert json.loads(relay.log.text[-2])["level"] == "warning"
    assert await relay.dropped() == dropped


async def test_a_hundred_streams_go_on_while_lines_are_dropped(
    relay: Watched, upstream: Upstream
) -> None:
    """However long nobody reads: no event waits for that, and no memory is taken for it."""
    streams = Streams()
    for _ in range(100):
        await streams.begin(relay, upstream)
    relay.reader.transport.pause_reading()
    upstream.answer_with(OK)
    agent = await relay.agent()
    filling = (QUEUE_LIMIT + PIPE_BYTES) // len(LONG_PATH) + 1
    resident = 0
    for number in range(3 * filling):
        assert (await agent.ask(numbered(number))).status == 200
        if number == filling:
            assert await relay.dropped() > 0
            resident = resident_bytes(relay.process.pid)
        if number % 20 == 0:
            await streams.go_on()
            await relay.healthy()
    assert await relay.dropped() > filling
    assert resident_bytes(relay.process.pid) - resident < QUEUE_LIMIT // 2
    await streams.end()


async def test_a_relay_that_stops_does_not_wait_for_a_reader(
    relay: Watched, upstream: Upstream
) -> None:
    """Longer than a moment, in which one who reads gets the last lines."""
    upstream.answer_with(OK)
    relay.reader.transport.pause_reading()
    agent = await relay.agent()
    for number in range(20):
        assert (await agent.ask(numbered(number))).status == 200
    agent.leave()
    begun = time.perf_counter()
    relay.signal(signal.SIGTERM)
    assert await relay.exit_status() == 0
    assert EXIT_SECONDS < time.perf_counter() - begun < EXIT_SECONDS + SOON_SECONDS


async def test_a_reader_that_is_gone_harms_nobody(relay: Watched, upstream: Upstream) -> None:
    """A crashed pager, say: calls go on, and the relay stops as it is told."""
    upstream.answer_with(OK)
    relay.reader.transport.close()
    agent = await relay.agent()
    for number in range(20):
        assert (await agent.ask(numbered(number))).status == 200
    await relay.healthy()
    async with asyncio.timeout(FUSE_SECONDS):
        while await relay.dropped() < 20:  # the last of them may be on their way
            pass
    begun = time.perf_counter()
    relay.signal(signal.SIGTERM)
    assert await relay.exit_status() == 0
    assert time.perf_counter() - begun < FUSE_SECONDS
