"""Reads a ledger's file beside the relay that writes it, or where none does.

It never writes, and never reads for long: a day at a time, each in a transaction of its own, so
that the writer's checkpoints are not held up. Knows nothing of how figures are shown.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, tzinfo
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from relay.telemetry.ledger.batch import REFUSED
from relay.telemetry.ledger.file import Unusable, explained
from relay.telemetry.ledger.schema import check_version, noted
from relay.telemetry.ledger.spent import Found, spent_since
from relay.telemetry.ledger.writer import TIMEZONE
from relay.telemetry.periods import day_of, midnight, next_day

# Longer than a writer ever holds the file.
_BUSY_SECONDS: Final = 10.0
SUBSCRIPTION: Final = "claude"
"""The grant whose calls are not billed by tokens."""
_WRITTEN: Final = (
    "coalesce(cache_write_5m, 0) + coalesce(cache_write_1h, 0) + coalesce(cache_write_unknown, 0)"
)
_USED: Final = (
    f"coalesce(input, 0) + coalesce(cache_read, 0) + {_WRITTEN} + coalesce(output, 0) > 0"
)
_SUMS: Final = f"""
    model,
    max(parent_agent_id),
    sum(CASE WHEN outcome != '{REFUSED}' THEN calls ELSE 0 END),
    total(input),
    total(cache_read),
    total({_WRITTEN}),
    total(output),
    total(reasoning),
    total(cost),
    sum(CASE WHEN cost IS NULL AND {_USED} THEN calls ELSE 0 END),
    total(estimate),
    sum(CASE WHEN outcome = '{REFUSED}' THEN calls ELSE 0 END),
    sum(CASE WHEN "grant" = '{SUBSCRIPTION}' THEN coalesce(cost, 0) + estimate ELSE 0 END),
    max(time)
"""  # made of what stands above

Ids = tuple[int, int]
"""Of rows: those after the first, up to the second."""
ALL_IDS: Final[Ids] = (0, 2**63 - 1)
OTHERS: Final = ""
"""Stands for the sessions that are not told apart; none is called so."""
_SESSION: Final = (
    "CASE WHEN session_id IS NULL OR session_id IN ("
    f"SELECT session_id {{those}} AND outcome != '{REFUSED}' "
    "GROUP BY 1 ORDER BY max(time) DESC LIMIT ?6"
    f") THEN session_id ELSE '{OTHERS}' END"
)  # made of what stands above


class Group(NamedTuple):
    """Sums of some of one day's calls; money in micro-dollars."""

    day: date
    keys: tuple[str | None, ...]
    """The columns by which they were told apart."""
    model: str | None
    parent: str | None
    calls: int
    input: int
    cache_read: int
    cache_write: int
    output: int
    reasoning: int
    cost: int
    unpriced: int
    """Calls that used tokens and have no price."""
    estimate: int
    refused: int
    notional: int
    """What of cost and estimate nobody is billed for."""
    last: float
    """When the last of them ended."""


class Reader:
    """A ledger, open for reading."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def timezone(self) -> str | None:
        """The name of the zone in which whoever writes it cuts days, if it is known."""
        return noted(self._connection, TIMEZONE)

    def begins(self) -> float | None:
        """Return when the first call ended, if there is one."""
        return self._next(-math.inf)

    def spent_since(self, moment: float) -> list[Found]:
        """Return what each client has spent since a moment, by quarters of an hour."""
        return spent_since(self._connection, moment)

    def last_id(self) -> int:
        """Return the id of the row that was written last; 0 where there is none."""
        found: int | None = self._connection.execute("SELECT max(id) FROM calls").fetchone()[0]
        return found or 0

    def groups(
        self,
        columns: tuple[str, ...],
        since: float,
        zone: tzinfo,
        client: str | None,
        *,
        ids: Ids = ALL_IDS,
        sessions: int | None = None,
    ) -> Iterator[Group]:
        """Yield sums of each day's calls from a moment on, by these columns and the model.

        With ``ids`` only of the rows that were written after one and up to another. ``sessions`` is
        how many of a day's are told apart by ``session_id``, those that were used last: their names
        are agents' own words, and there may be as many as calls.
        """
        moment = self._next(since)
        while moment is not None:
            day = day_of(moment, zone)
            start, end = min(moment, midnight(day, zone)), midnight(next_day(day), zone)
            if end <= moment:  # the time of a clock that was wrong, in no day that has a date
                end = math.inf
            values = (max(since, start), end, client, *ids)
            for row in self._sums(columns, values, sessions):
                yield _group(day, len(columns), row)
            moment = self._next(end)

    def _next(self, moment: float) -> float | None:
        """Return when the first call at or after a moment ended."""
        found = self._connection.execute("SELECT min(time) FROM calls WHERE time >= ?", (moment,))
        first: float | None = found.fetchone()[0]
        return first

    def _sums(
        self,
        columns: tuple[str, ...],
        values: tuple[float, float, str | None, int, int],
        sessions: int | None,
    ) -> list[tuple[Any, ...]]:
        # What has a plus is found by no index: rows after one are few, and stand at the end.
        row, time = ("id", "+time") if values[3] else ("+id", "time")
        those = (
            f"FROM calls WHERE {time} >= ?1 AND {time} < ?2 AND {row} > ?4 AND {row} <= ?5 "
            "AND (?3 IS NULL OR client = ?3) "
        )
        parameters: tuple[object, ...] = values
        if sessions is not None:
            parameters = (*values, sessions)
            told = _SESSION.format(those=those)
            columns = tuple(told if each == "session_id" else each for each in columns)
        selected = "".join(f"{each}, " for each in columns)
        by = "".join(f"{number}, " for number in range(1, len(columns) + 1))
        statement = f"SELECT {selected}{_SUMS} {those} GROUP BY {by}model"
        return self._connection.execute(statement, parameters).fetchall()


def _group(day: date, keys: int, row: tuple[Any, ...]) -> Group:
    model, parent, *counts, last = row[keys:]
    return Group._make((day, row[:keys], model, parent, *map(int, counts), last))


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """Open a ledger for the length of the context.

    Raises:
        Unusable: It cannot be read.
    """
    with explained(str(path)), closing(connect(path)) as connection:
        yield Reader(connection)


def connect(path: Path, *, mode: str = "ro") -> sqlite3.Connection:
    """Return a connection to a ledger that is there.

    Raises:
        Unusable: It is not there, or is no ledger.
        sqlite3.Error: It cannot be read.
    """
    if not path.exists():
        raise Unusable("is not there; a relay makes it, once it serves")
    if path.is_dir():
        raise Unusable("is a folder")
    if not path.stat().st_size:
        raise Unusable("is empty; a relay fills it, once it serves")
    address = f"file:{quote(str(path.absolute()))}?mode={mode}"
    connection = sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA temp_store = MEMORY")
        identity, version = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("application_id", "user_version")
        )
        check_version(identity, version)
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise Unusable(
                "cannot be read here: its folder must be one that can be written; "
                "or read what relay usage --export made"
            ) from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection
