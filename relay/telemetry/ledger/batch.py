"""Rows into the table, all of a batch or none; refused calls as one row a second.

A client that is refused over and over would fill the file. So of its refusals for one reason in
one second there is a row for the first, whose ``time`` becomes the last one's, and whose ``calls``
counts them.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from relay.telemetry.ledger.row import FILL, INSERT, INSERT_TOGETHER, TOGETHER, Row

REFUSED: Final = "rejected"
"""The outcome of a call that the relay refused."""
_WINDOW_SECONDS: Final = 1.0
# SQLite makes NULL of it (https://www.sqlite.org/floatingpoint.html). For each None Python's module
# looks for an adapter, and finds none: a row took 1.7 times as long.
_NULL: Final = math.nan
# If it is there still: it may have been forgotten meanwhile, and another have its number.
_COUNT: Final = (
    "UPDATE calls SET time = ?, calls = ? "
    "WHERE id = ? AND outcome = ? AND client IS ? AND reason IS ?"
)


@dataclass(slots=True)
class _Window:
    """The refusals of one client for one reason, in one second."""

    first: float
    last: float
    calls: int
    row: int = 0
    """The row that stands for them."""

    def holds(self, moment: float) -> bool:
        return 0 <= moment - self.first < _WINDOW_SECONDS


class Batches:
    """Writes rows to one open file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._windows: dict[tuple[str | None, str | None], _Window] = {}

    def write(self, rows: list[Row]) -> int:
        """Write rows in one transaction; return how many there are more in the file.

        Raises:
            sqlite3.Error: None of them was written.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            calls = [row for row in rows if row.outcome != REFUSED and row.calls]
            self._insert(calls)
            self._connection.executemany(FILL, [row._asdict() for row in rows if not row.calls])
            added = len(calls) + self._refuse(row for row in rows if row.outcome == REFUSED)
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            self._windows.clear()
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise
        return added

    def _insert(self, rows: list[Row]) -> None:
        whole = len(rows) - len(rows) % TOGETHER
        for start in range(0, whole, TOGETHER):
            some = rows[start : start + TOGETHER]
            values = [_NULL if value is None else value for row in some for value in row]
            self._connection.execute(INSERT_TOGETHER, values)
        self._connection.executemany(INSERT, rows[whole:])

    def _refuse(self, rows: Iterable[Row]) -> int:
        added, changed = 0, {}
        for row in rows:
            key = (row.client, row.reason)
            window = self._windows.get(key)
            if window is None or not window.holds(row.time):
                window = self._windows[key] = _Window(row.time, row.time, 0)
                window.row = self._connection.execute(INSERT, row).lastrowid or 0
                added += 1
            window.last = row.time
            window.calls += row.calls
            changed[window.row] = (window.last, window.calls, window.row, REFUSED, *key)
        self._connection.executemany(_COUNT, changed.values())
        return added
