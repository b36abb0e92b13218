"""What a ledger's file knows of what was spent: read by the thread that writes it."""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from relay.telemetry.spending.sums import BUCKET_SECONDS

Found = tuple[str | None, int, int, int]
"""A client, a quarter of an hour, and micro-dollars and tokens in it."""

_SUMS: Final = """
    total(coalesce(cost, 0) + estimate),
    total(
        coalesce(input, 0) + coalesce(cache_write_5m, 0) + coalesce(cache_write_1h, 0)
        + coalesce(cache_write_unknown, 0) + coalesce(output, 0) + estimate_tokens
    )
"""
_BY_BUCKET: Final = (
    f"SELECT client, CAST(time / {BUCKET_SECONDS} AS INTEGER), {_SUMS} "  # noqa: S608  # made of what stands above
    "FROM calls WHERE time >= ? GROUP BY 1, 2"
)
_OF_SESSION: Final = (
    f"SELECT {_SUMS} FROM calls "  # noqa: S608  # the same
    "WHERE client IS :client AND session_id = :session AND (time < :before OR id <= :last)"
)
_OF_NO_SESSION: Final = _OF_SESSION.replace("= :session", "IS NULL")


def spent_since(connection: sqlite3.Connection, moment: float) -> list[Found]:
    """Return what each client has spent since a moment.

    Raises:
        sqlite3.Error: It cannot be read now.
    """
    rows = connection.execute(_BY_BUCKET, (moment,))
    return [(client, bucket, int(micro), int(tokens)) for client, bucket, micro, tokens in rows]


class SessionQuestion(NamedTuple):
    """What is asked of a session."""

    client: str | None
    session: str
    """Empty: of the calls without one."""
    before: float
    """What ended from then on is known to whoever asks."""


def spent_in_session(
    connection: sqlite3.Connection, question: SessionQuestion, last: int
) -> tuple[int, int]:
    """Return the micro-dollars and tokens that a client's session has spent before.

    What others have written, up to the row ``last``, was before, whatever their clock said.

    Raises:
        sqlite3.Error: It cannot be read now.
    """
    statement = _OF_SESSION if question.session else _OF_NO_SESSION
    row = connection.execute(statement, {**question._asdict(), "last": last}).fetchone()
    return int(row[0]), int(row[1])


def last_row(connection: sqlite3.Connection) -> int:
    """Return the number of the row that was written last; 0 where there is none."""
    number: int = connection.execute("SELECT coalesce(max(id), 0) FROM calls").fetchone()[0]
    return number
