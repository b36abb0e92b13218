"""What is deleted, and when: by age, by size, and not by a clock that is wrong."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.telemetry.ledger import retention
from relay.telemetry.ledger.batch import Batches
from relay.telemetry.ledger.file import LedgerFile
from relay.telemetry.ledger.retention import (
    DAY_SECONDS,
    SIZE_ROWS,
    Limits,
    Retention,
    newest_time,
    used_bytes,
)
from tests.harness.ledger import a_row, rows_in

LARGE = Limits(90, 1024)


@dataclass
class Clocks:
    """The clock of the day, and that of running; the latter stands still within a test's step."""

    wall: float = 1_800_000_000.0
    running: float = 1000.0
    asleep: float = 0.0
    CLOCK_BOOTTIME: int = time.CLOCK_BOOTTIME

    def time(self) -> float:
        """Return Unix seconds."""
        return self.wall

    def monotonic(self) -> float:
        """Return seconds of running."""
        return self.running

    def clock_gettime(self, clock: int) -> float:
        """Return seconds of running and of sleep."""
        assert clock == self.CLOCK_BOOTTIME
        return self.running + self.asleep

    def sleep(self, seconds: float) -> None:
        """Have the machine be suspended."""
        self.wall += seconds
        self.asleep += seconds

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.running += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """The clocks that retention looks at."""
    clocks = Clocks()
    monkeypatch.setattr(retention, "time", clocks)
    return clocks


def fill(file: LedgerFile, *times: float) -> None:
    """Write calls that ended at these times."""
    Batches(file.connection).write([a_row(time=moment) for moment in times])


def days(path: Path, clocks: Clocks) -> list[float]:
    """Return how many days old the calls are that are left."""
    return [round((clocks.wall - row["time"]) / DAY_SECONDS) for row in rows_in(path)]


def begin(file: LedgerFile) -> Retention:
    """Return what a start begins with."""
    return Retention(newest_time(file.connection))


def test_the_too_old_go_at_the_start(file: LedgerFile, path: Path, clocks: Clocks) -> None:
    """And the others stay."""
    fill(file, *(clocks.wall - age * DAY_SECONDS for age in (100, 91, 89, 0)))
    begin(file).tend(file.connection, LARGE, 0)
    assert days(path, clocks) == [89, 0]


def test_the_too_old_go_once_a_day(file: LedgerFile, path: Path, clocks: Clocks) -> None:
    """Of a relay that runs for long."""
    fill(file, *(clocks.wall - age * DAY_SECONDS for age in (89.5, 0)))
    kept = begin(file)
    kept.tend(file.connection, LARGE, 0)
    clocks.run(DAY_SECONDS - 1)
    kept.tend(file.connection, LARGE, 0)
    assert len(rows_in(path)) == 2
    clocks.run(1)
    kept.tend(file.connection, LARGE, 0)
    assert days(path, clocks) == [1]


def test_a_clock_that_is_ahead_deletes_nothing(
    file: LedgerFile, path: Path, clocks: Clocks
) -> None:
    """Where the newest call is more than a day old, it may be: until it ran for a day."""
    fill(file, clocks.wall - 200 * DAY_SECONDS, clocks.wall - 100 * DAY_SECONDS)
    kept = begin(file)
    for _ in range(2):
        kept.tend(file.connection, LARGE, 0)
        assert len(rows_in(path)) == 2
        clocks.run(DAY_SECONDS / 2)
    kept.tend(file.connection, LARGE, 0)
    assert rows_in(path) == []


def test_a_clock_that_jumps_deletes_nothing(file: LedgerFile, path: Path, clocks: Clocks) -> None:
    """For a day of running from then on."""
    fill(file, clocks.wall)
    kept = begin(file)
    kept.tend(file.connection, LARGE, 0)
    clocks.run(DAY_SECONDS - 60)
    clocks.wall += 365 * DAY_SECONDS
    kept.tend(file.connection, LARGE, 0)
    clocks.run(DAY_SECONDS - 60)
    kept.tend(file.connection, LARGE, 0)
    assert len(rows_in(path)) == 1
    clocks.run(60)
    kept.tend(file.connection, LARGE, 0)
    assert rows_in(path) == []


def test_a_machine_that_sleeps_is_no_clock_that_jumps(
    file: LedgerFile, path: Path, clocks: Clocks
) -> None:
    """What is too old goes after a day of running, however often a lid was closed."""
    fill(file, clocks.wall - 89.5 * DAY_SECONDS, clocks.wall)
    kept = begin(file)
    for _ in range(3):
        kept.tend(file.connection, LARGE, 0)
        clocks.run(DAY_SECONDS / 3)
        clocks.sleep(DAY_SECONDS * 2 / 3)
    kept.tend(file.connection, LARGE, 0)
    assert days(path, clocks) == [3]


def test_a_jump_back_and_forth_deletes_nothing(
    file: LedgerFile, path: Path, clocks: Clocks
) -> None:
    """Nothing that is as old as it may be."""
    fill(file, clocks.wall)
    kept = begin(file)
    for jump in (365, -365):
        clocks.wall += jump * DAY_SECONDS
        kept.tend(file.connection, LARGE, 0)
    clocks.run(DAY_SECONDS)
    kept.tend(file.connection, LARGE, 0)
    assert days(path, clocks) == [1]


def test_the_oldest_go_beyond_the_size(file: LedgerFile, path: Path) -> None:
    """At the start; as many as it takes, and the newest stay."""
    fill(file, *[time.time()] * 20_000)
    before = used_bytes(file.connection)
    limits = Limits(90, before / 2 / 1e6)
    kept = begin(file)
    while used_bytes(file.connection) > limits.max_mb * 1e6:
        kept.tend(file.connection, limits, 0)
    left = [row["id"] for row in rows_in(path)]
    assert left == list(range(left[0], 20_001))
    assert used_bytes(file.connection) > before * 0.4


def test_the_size_is_looked_at_every_thousand_rows(file: LedgerFile, path: Path) -> None:
    """And not with each batch."""
    kept = begin(file)
    kept.tend(file.connection, LARGE, 0)
    small = Limits(90, 0.000001)
    fill(file, *[time.time()] * 10)
    kept.tend(file.connection, small, SIZE_ROWS - 1)
    assert len(rows_in(path)) == 10
    kept.tend(file.connection, small, 1)
    assert rows_in(path) == []
    kept.tend(file.connection, small, SIZE_ROWS)  # there is nothing to delete any more
