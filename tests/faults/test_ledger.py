"""What becomes of the ledger when its relay is killed, followed by another, or short of a disk."""

from __future__ import annotations

import asyncio
import re
import resource
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relay.telemetry.ledger.file import BUSY_SECONDS
from tests.harness.configuration import Config, configuration
from tests.harness.ledger import rows_in, until
from tests.harness.limits import TOKENS, amounts, limited
from tests.harness.messages import MESSAGES, OK, request
from tests.harness.model_answers import MESSAGE_JSON
from tests.harness.recordings import recorded_answer
from tests.harness.relay import RelayProcess, relay_process
from tests.harness.upstream import running_upstream

KILL_SECONDS = 1.0
"""What a kill may lose."""
TAKEOVER_SECONDS = 5.0
# Calls at once.
CROWD = 8
TRIES = 3
"""Counts of what is missing that are seen, while a file is in trouble."""


def with_ledger(port: int) -> Config:
    """Return a configuration with a ledger beside it."""
    return configuration(port, ledger={"path": "ledger.db"})


async def call(relay: RelayProcess, name: str) -> None:
    """Make a call that can be told by its session."""
    answer = await relay.ask(request(MESSAGES, f"x-claude-code-session-id: {name}"))
    assert answer.status == 200


def _span(ended: dict[str, float]) -> float:
    times = list(ended.values())
    return max(times) - min(times)


def sessions(path: Path) -> list[str]:
    """Return the calls that are noted."""
    return [row["session_id"] for row in rows_in(path)]


async def test_a_kill_loses_a_second_at_most(tmp_path: Path) -> None:
    """Of the calls that were over; none that is noted is damaged, and the next relay goes on."""
    ended: dict[str, float] = {}

    async def keep_calling(relay: RelayProcess, number: int) -> None:
        agent = await relay.agent()
        for count in range(10_000):
            name = f"{number}-{count}"
            await agent.ask(request(MESSAGES, f"x-claude-code-session-id: {name}"))
            ended[name] = time.monotonic()

    path = tmp_path / "ledger.db"
    async with running_upstream() as upstream:
        upstream.answer_with(OK)
        async with relay_process(tmp_path, with_ledger(upstream.port)) as relay:
            crowd = [asyncio.create_task(keep_calling(relay, number)) for number in range(CROWD)]
            await until(lambda: len(ended) > 500 and _span(ended) > 2.5 * KILL_SECONDS)
            relay.signal(signal.SIGKILL)
            killed = time.monotonic()
            await relay.exit_status()
            for task in crowd:
                task.cancel()
            await asyncio.gather(*crowd, return_exceptions=True)
        noted = set(sessions(path))
        lost = {name for name in ended if name not in noted}
        assert all(ended[name] > killed - KILL_SECONDS for name in lost)
        assert len(noted) > 100
        async with relay_process(tmp_path, with_ledger(upstream.port)) as relay:
            await call(relay, "after")
            await until(lambda: "after" in sessions(path))


async def test_a_second_relay_takes_the_file_over(tmp_path: Path) -> None:
    """Within five seconds of the first one's end, with the calls that came to it meanwhile."""
    path, other = tmp_path / "ledger.db", tmp_path / "other"
    other.mkdir()
    async with running_upstream() as upstream:
        upstream.answer_with(OK)
        config = configuration(upstream.port, ledger={"path": str(path)})
        async with relay_process(tmp_path, config) as first:
            await call(first, "1")
            await until(lambda: path.exists() and sessions(path) == ["1"])
            async with relay_process(other, config) as second:
                await second.log.says("ledger .*: is kept by another relay; calls wait here until")
                await call(second, "2")
                await call(first, "3")
                first.signal(signal.SIGTERM)
                assert await first.exit_status() == 0
                ended = time.monotonic()
                await until(lambda: sessions(path) == ["1", "3", "2"])
                assert time.monotonic() - ended <= TAKEOVER_SECONDS
                await second.log.says("is written again; 0 calls are missing in it")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_the_file_is_free_however_its_relay_ends(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A lock that is left behind would keep the next relay from it."""
    async with running_upstream() as upstream:
        upstream.answer_with(OK)
        for count in (1, 2):
            async with relay_process(tmp_path, with_ledger(upstream.port)) as relay:
                await call(relay, str(count))
                await until(lambda count=count: len(rows(tmp_path)) == count)  # type: ignore[misc]  # bound at once
                relay.signal(number)
                await relay.exit_status()


def rows(folder: Path) -> list[str]:
    """Return the calls that are noted, once there is a file."""
    path = folder / "ledger.db"
    return sessions(path) if path.exists() and path.stat().st_size else []


# A file that cannot be written


@contextmanager
def full_disk(relay: RelayProcess, _: Path) -> Iterator[None]:
    """A file that may not grow is one; Python ignores the signal that says so."""
    pid = relay.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def locked(_: RelayProcess, path: Path) -> Iterator[None]:
    """Another program is in the middle of writing."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def damaged(_: RelayProcess, path: Path) -> Iterator[None]:
    """Something else is in its place, which is left as it is."""
    good, bad = path.with_name("good"), b"no ledger at all\n" * 1000
    path.rename(good)
    path.write_bytes(bad)
    yield
    assert path.read_bytes() == bad
    good.rename(path)


Trouble = Callable[[RelayProcess, Path], AbstractContextManager[None]]
TROUBLES: dict[Trouble, str] = {
    full_disk: "cannot be (written: the disk is full|read or written: the disk says no)",
    locked: "is locked by another program",
    damaged: "is damaged; move it away, and a new one is made",
}


@dataclass
class Crowd:
    """Agents that call two relays in turn, and how long each call took."""

    relays: tuple[RelayProcess, RelayProcess]
    seconds: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))

    async def run(self) -> None:
        """Call until cancelled; every call is answered."""
        await asyncio.gather(*[self._call_on_and_on() for _ in range(CROWD // 2)])

    async def _call_on_and_on(self) -> None:
        agents = [await relay.agent() for relay in self.relays]
        while True:
            for agent, seconds in zip(agents, self.seconds, strict=True):
                begun = time.monotonic()
                assert (await agent.ask(request())).status == 200
                seconds.append(time.monotonic() - begun)

    def waited_for_the_disk(self) -> list[int]:
        """Return how many calls of each took as long as the relay waits for a lock."""
        return [sum(each > 0.9 * BUSY_SECONDS for each in seconds) for seconds in self.seconds]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_no_call_fails_or_waits_for_a_file_in_trouble(
    tmp_path: Path, trouble: Trouble
) -> None:
    """It is said once, and how many calls are missing; limits go on, and so does the file."""
    path, other = tmp_path / "ledger.db", tmp_path / "other"
    other.mkdir()
    async with running_upstream() as upstream:
        upstream.answer_with(recorded_answer(MESSAGE_JSON))
        limit = {"tokens": 10**9, "per": "session"}  # whatever the clock says
        config = limited(upstream.port, limit, ledger={"path": "ledger.db"})
        async with relay_process(tmp_path, config) as relay, relay_process(other, config) as well:
            crowd = Crowd((relay, well))
            calling = asyncio.create_task(crowd.run())
            await until(lambda: path.exists() and len(rows(tmp_path)) > 0)
            with trouble(relay, path):
                counts: set[float] = set()
                while len(counts) < TRIES:
                    counts.add(await dropped(relay))
                    assert not calling.done()
            await relay.log.says("is written again; ([0-9]+) calls are missing in it")
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
            while await relay.in_flight():
                pass
            made = (await amounts(relay))["agent", "tokens_session"] / TOKENS
            missing = await dropped(relay)
            await until(lambda: len(rows(tmp_path)) + missing == made)
            said = [line["message"] for line in relay.log.lines if line["event"] == "log"]
            first, second = [each for each in said if each.startswith("ledger ")]
            assert re.fullmatch(f"ledger {path}: {TROUBLES[trouble]}", first)
            assert second.endswith(f": is written again; {missing:.0f} calls are missing in it")
    in_trouble, healthy = crowd.waited_for_the_disk()
    assert in_trouble <= healthy


async def dropped(relay: RelayProcess) -> float:
    """Return how many calls the ledger lacks."""
    return sum((await relay.samples("relay_ledger_dropped_total")).values())
