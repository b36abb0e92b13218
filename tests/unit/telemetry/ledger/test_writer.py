"""The thread that writes: nobody waits for it, it drops what it cannot write, and says so once."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from relay.telemetry.ledger import writer as writer_module
from relay.telemetry.ledger.batch import Batches
from relay.telemetry.ledger.file import LedgerFile
from relay.telemetry.ledger.retention import Limits
from relay.telemetry.ledger.schema import noted
from relay.telemetry.ledger.upkeep import export
from relay.telemetry.ledger.writer import CHECKPOINT_SECONDS, QUEUE_LIMIT, TICK_SECONDS, Writer
from tests.harness import FUSE_SECONDS
from tests.harness.ledger import a_row, finish, rows_in, wait_until

LIMITS = Limits(90, 1024)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger is."""
    return tmp_path / "ledger.db"


@pytest.fixture
def writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Writer]:
    """One that writes often, and has opened its file."""
    monkeypatch.setattr(writer_module, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(writer_module, "_RETRY_SECONDS", 0.1)
    monkeypatch.setattr("relay.telemetry.ledger.file.BUSY_SECONDS", 0.05)
    writer = Writer(str(path), LIMITS, "UTC")
    assert writer.wait_for_first_look(FUSE_SECONDS)
    yield writer
    finish(writer)


def models(path: Path) -> list[str]:
    """Return what was written."""
    return [row["model"] for row in rows_in(path)]


def put(writer: Writer, *names: str) -> None:
    """Put calls, told apart by their models."""
    for name in names:
        writer.put(a_row(model=name))


def test_it_writes_soon(writer: Writer, path: Path) -> None:
    """Without being asked."""
    put(writer, "a", "b")
    wait_until(lambda: models(path) == ["a", "b"])


def test_less_than_a_second_is_lost_and_a_minute_at_most_is_not_on_the_disk() -> None:
    """Of a relay that is killed, and of a machine that loses its power."""
    assert TICK_SECONDS < 1
    assert CHECKPOINT_SECONDS == 60


def test_an_end_loses_nothing(writer: Writer, path: Path) -> None:
    """What was put last is written, the log is in the file, and another may keep it."""
    put(writer, *map(str, range(100)))
    finish(writer)
    assert len(models(path)) == 100
    LedgerFile(str(path)).close()


def test_the_time_zone_is_kept(writer: Writer, path: Path) -> None:
    """As it is in force."""

    def zone() -> str | None:
        with closing(sqlite3.connect(path)) as connection:
            return noted(connection, "timezone")

    wait_until(lambda: zone() == "UTC")
    writer.timezone = "Europe/Berlin"
    wait_until(lambda: zone() == "Europe/Berlin")


def test_a_locked_file_costs_calls_and_is_said_once(writer: Writer, path: Path) -> None:
    """And once more how many are missing, when it works again."""
    put(writer, "before")
    wait_until(lambda: models(path) == ["before"])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for count in (1, 2, 3):
            put(writer, "lost")
            wait_until(lambda count=count: writer.dropped == count)  # type: ignore[misc]  # bound at once
        assert writer.problem == "is locked by another program"
        other.execute("ROLLBACK")
    wait_until(lambda: not writer.problem)
    put(writer, "after")
    wait_until(lambda: models(path) == ["before", "after"])
    assert writer.take_notices() == [
        "is locked by another program",
        "is written again; 3 calls are missing in it",
    ]
    assert writer.take_notices() == []


def test_nobody_waits_for_a_locked_file(writer: Writer, path: Path) -> None:
    """Putting takes no time at all."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begun = time.perf_counter()
        put(writer, *["x"] * 1000)
        assert time.perf_counter() - begun < 0.5


def test_a_damaged_file_is_left_and_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is moved away, a new one is made."""
    monkeypatch.setattr(writer_module, "TICK_SECONDS", 0.02)
    path.write_bytes(b"not a ledger" * 100)
    writer = Writer(str(path), LIMITS, "UTC")
    assert writer.wait_for_first_look(FUSE_SECONDS)
    assert writer.problem == "is damaged; move it away, and a new one is made"
    put(writer, "lost")
    wait_until(lambda: writer.dropped == 1)
    path.rename(path.with_name("away"))
    put(writer, "kept")
    finish(writer)
    assert path.with_name("away").read_bytes() == b"not a ledger" * 100
    assert models(path) == ["kept"]


def test_a_file_that_is_taken_away_is_made_anew(writer: Writer, path: Path) -> None:
    """What comes then is in the new one; what came before is with the old one."""
    put(writer, "old")
    wait_until(lambda: models(path) == ["old"])
    away = path.rename(path.with_name("away.db"))
    put(writer, "new")
    finish(writer)
    assert (models(away), models(path)) == (["old"], ["new"])


def test_another_ledger_in_its_place_is_written_on(writer: Writer, path: Path) -> None:
    """A copy that is put back, for example: nothing of what it replaces gets into it."""
    copy = path.with_name("copy.db")
    put(writer, "copied")
    wait_until(lambda: models(path) == ["copied"])
    export(path, copy)
    for number in range(100):
        put(writer, f"{number}")
    wait_until(lambda: len(models(path)) == 101)
    copy.rename(path)
    put(writer, "later")
    finish(writer)
    assert models(path) == ["copied", "later"]


def test_a_second_one_waits_and_takes_over(writer: Writer, path: Path) -> None:
    """With the calls that came meanwhile: nothing is lost by a rolling restart."""
    second = Writer(str(path), LIMITS, "UTC")
    assert second.wait_for_first_look(FUSE_SECONDS)
    assert second.problem == "is kept by another relay; calls wait here until that one ends"
    put(second, "of the second")
    for _ in range(2):
        tried = second._retry_at
        wait_until(lambda tried=tried: second._retry_at != tried)  # type: ignore[misc]  # bound at once
    put(writer, "of the first")
    finish(writer)
    wait_until(lambda: models(path) == ["of the first", "of the second"])
    finish(second)
    assert second.dropped == 0


def test_one_that_never_had_the_file_says_what_was_not_written(writer: Writer, path: Path) -> None:
    """At its end, in calls: a row that fills another's place is none."""
    second = Writer(str(path), LIMITS, "UTC")
    put(second, "lost", "too")
    second.put(a_row(calls=0))
    finish(second)
    assert second.dropped == 2
    assert second.take_notices()[-1].startswith("2 calls were not written: ")
    assert models(path) == []


def test_memory_is_bounded(writer: Writer, path: Path) -> None:
    """What comes above the limit is dropped and counted."""
    second = Writer(str(path), LIMITS, "UTC")
    row = a_row()
    for _ in range(QUEUE_LIMIT + 7):
        second.put(row)
    assert second.dropped == 7
    finish(writer)
    finish(second)


def test_a_fault_does_not_end_it(
    writer: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and the next batch is written."""
    broken = Batches.write
    monkeypatch.setattr(Batches, "write", lambda *_: 1 // 0)
    put(writer, "lost")
    wait_until(lambda: writer.dropped == 1)
    monkeypatch.setattr(Batches, "write", broken)
    put(writer, "kept")
    wait_until(lambda: models(path) == ["kept"])
    assert "by a fault of the relay: ZeroDivisionError" in writer.take_notices()[0]
