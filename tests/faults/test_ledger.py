"""What becomes of the ledger when its relay is killed, followed by another, or short of a disk."""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from pathlib import Path

import pytest

from tests.harness.configuration import Config, configuration
from tests.harness.ledger import rows_in, until
from tests.harness.messages import MESSAGES, OK, request
from tests.harness.relay import RelayProcess, relay_process
from tests.harness.upstream import running_upstream

KILL_SECONDS = 1.0
"""What a kill may lose."""
TAKEOVER_SECONDS = 5.0
# Calls at once.
CROWD = 8


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


async def test_a_full_disk_fails_no_call(tmp_path: Path) -> None:
    """It is said once, the calls are counted, and what comes once there is room is noted."""
    path = tmp_path / "ledger.db"
    async with running_upstream() as upstream:
        upstream.answer_with(OK)
        async with relay_process(tmp_path, with_ledger(upstream.port)) as relay:
            await call(relay, "before")
            await until(lambda: rows(tmp_path) == ["before"])
            pid = relay.process.pid
            # A file that may not grow is a full disk; Python ignores the signal that says so.
            before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
            for count in range(20):
                await call(relay, f"lost {count}")
            await relay.log.says(f"ledger {path}: cannot be")
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
            for count in range(200):
                await call(relay, f"after {count}")
                if any("is written again" in line for line in relay.log.text):
                    break
            message = await relay.log.says("is written again; ([0-9]+) calls are missing in it")
            assert float(message[1]) >= 1
            await call(relay, "last")
            await until(lambda: rows(tmp_path)[-1:] == ["last"])
            dropped = await relay.samples("relay_ledger_dropped_total")
            assert dropped[()] == float(message[1])
            said = [
                line for line in relay.log.text if "ledger" in line and '"event": "log"' in line
            ]
            assert len(said) <= 2
