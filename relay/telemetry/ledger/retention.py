"""Deletes what a ledger should not hold any more: the too old, and the oldest of too many.

By age at the start and once a day, by size every thousand rows too. A clock that is wrong would
delete everything: where the newest call is more than a day behind the clock, or the clock jumped,
nothing is deleted by age for a day of running. It deletes a little at a time, for the calls of
these moments wait.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Final, NamedTuple

DAY_SECONDS: Final = 86_400
# Seconds by which the clock of the day is set. Corrections are smaller.
_JUMP_SECONDS: Final = 600
SIZE_ROWS: Final = 1_000
"""Rows between two looks at the size."""
# Of half a second, between two batches.
_TURN_SECONDS: Final = 0.1
_ROWS_AT_ONCE: Final = 500
_MEGABYTE: Final = 1_000_000

_DELETE_OLD: Final = (
    "DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE time < ? ORDER BY time LIMIT ?)"
)
_DELETE_FIRST: Final = "DELETE FROM calls WHERE id IN (SELECT id FROM calls ORDER BY id LIMIT ?)"


class Limits(NamedTuple):
    """For how long calls are kept, and how many."""

    keep_days: float
    max_mb: float


class Retention:
    """What is due to be deleted from one open file."""

    def __init__(self, newest: float | None) -> None:
        """Begin, with the time of the newest call in the file."""
        self._offset = _offset()
        self._age_due = time.monotonic()
        if newest is not None and time.time() - newest > DAY_SECONDS:
            self._age_due += DAY_SECONDS
        self._too_old: float | None = None
        """Calls of before this moment are being deleted."""
        self._size_due = True
        self._rows = 0

    def tend(self, connection: sqlite3.Connection, limits: Limits, written: int) -> None:
        """Delete some of what is due, after so many rows were written.

        Raises:
            sqlite3.Error: It cannot be done now.
        """
        self._look_at_clock(limits)
        self._rows += written
        if self._rows >= SIZE_ROWS:
            self._rows, self._size_due = 0, True
        end = time.monotonic() + _TURN_SECONDS
        while self._too_old is not None and time.monotonic() < end:
            if not _delete(connection, _DELETE_OLD, self._too_old, _ROWS_AT_ONCE):
                self._too_old = None
        while self._size_due and time.monotonic() < end:
            if used_bytes(connection) <= limits.max_mb * _MEGABYTE:
                self._size_due = False
            elif not _delete(connection, _DELETE_FIRST, _ROWS_AT_ONCE):
                self._size_due = False  # there is nothing but the empty tables

    def _look_at_clock(self, limits: Limits) -> None:
        now, running, offset = time.time(), time.monotonic(), _offset()
        if abs(offset - self._offset) > _JUMP_SECONDS:
            self._offset, self._too_old = offset, None
            self._age_due = running + DAY_SECONDS
        elif running >= self._age_due:
            self._age_due = running + DAY_SECONDS
            self._too_old = now - limits.keep_days * DAY_SECONDS
            self._size_due = True


def _offset() -> float:
    """Return how far the clock of the day is from one that nobody sets; sleep moves both."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of the pages that are in use."""
    pages, free, size = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def newest_time(connection: sqlite3.Connection) -> float | None:
    """Return when the newest call ended, if there is one."""
    row = connection.execute("SELECT time FROM calls ORDER BY id DESC LIMIT 1").fetchone()
    return None if row is None else float(row[0])


def _delete(connection: sqlite3.Connection, statement: str, *values: float) -> int:
    return connection.execute(statement, values).rowcount
