"""Rows into the file: all of a batch or none, and of refusals one row a second."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from relay.telemetry.ledger.batch import Batches
from relay.telemetry.ledger.file import LedgerFile
from relay.telemetry.ledger.row import TOGETHER, Row
from tests.harness.ledger import a_row, rows_in


def refused(moment: float, client: str = "agent", reason: str = "path", **changes: object) -> Row:
    """Return a call that was refused."""
    changes |= {"outcome": "rejected", "reason": reason, "client": client, "time": moment}
    return a_row(**changes)


@pytest.mark.parametrize("count", [3, TOGETHER - 1, TOGETHER, 2 * TOGETHER + 1])
def test_calls_are_written_in_order(file: LedgerFile, path: Path, count: int) -> None:
    """Each as a row, however many one statement takes."""
    assert Batches(file.connection).write([a_row(model=str(n)) for n in range(count)]) == count
    assert [row["model"] for row in rows_in(path)] == [str(n) for n in range(count)]


def test_a_batch_is_written_whole_or_not_at_all(file: LedgerFile, path: Path) -> None:
    """Also the refusals in it; the next one begins anew."""
    batches = Batches(file.connection)
    batches.write([refused(100.0)])
    with pytest.raises(sqlite3.IntegrityError):
        batches.write([refused(100.1), a_row(), a_row(outcome=None)])
    assert [row["calls"] for row in rows_in(path)] == [1]
    batches.write([refused(100.2), a_row()])
    assert [row["calls"] for row in rows_in(path)] == [1, 1, 1]


def test_refusals_of_a_second_are_one_row(file: LedgerFile, path: Path) -> None:
    """The first one's fields, the last one's time, and how many there were; in any batches."""
    batches = Batches(file.connection)
    assert batches.write([refused(100.0, operation="models"), refused(100.5)]) == 1
    assert batches.write([refused(100.9), a_row()]) == 1
    assert batches.write([refused(101.0)]) == 1
    rows = [row for row in rows_in(path) if row["outcome"] == "rejected"]
    assert [(row["time"], row["calls"], row["operation"]) for row in rows] == [
        (100.9, 3, "models"),
        (101.0, 1, "messages"),
    ]


def test_each_client_and_reason_has_its_own(file: LedgerFile, path: Path) -> None:
    """Nobody's refusals are another's."""
    rows = [refused(100.0), refused(100.1, client="other"), refused(100.2, reason="limit")]
    Batches(file.connection).write(rows)
    assert [row["calls"] for row in rows_in(path)] == [1, 1, 1]


def test_a_row_that_is_gone_counts_no_more(file: LedgerFile, path: Path) -> None:
    """It was forgotten within its second; whoever has its number now stays as he is."""
    batches = Batches(file.connection)
    batches.write([refused(100.0)])
    file.connection.execute("DELETE FROM calls")
    batches.write([a_row(time=100.1), refused(100.2)])
    assert [(row["outcome"], row["time"], row["calls"]) for row in rows_in(path)] == [
        ("ok", 100.1, 1)
    ]


def test_a_clock_that_goes_back_begins_a_new_row(file: LedgerFile, path: Path) -> None:
    """It does not make one that counts for ever."""
    Batches(file.connection).write([refused(100.0), refused(50.0), refused(50.1)])
    assert [(row["time"], row["calls"]) for row in rows_in(path)] == [(100.0, 1), (50.1, 2)]
