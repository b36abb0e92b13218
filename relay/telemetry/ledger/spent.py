"""What a ledger's file knows of what was spent: read by the thread that writes it."""

from __future__ import annotations

import sqlite3
from typing import Final

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
_OF_SESSION: Final = f"SELECT {_SUMS} FROM calls WHERE client IS ? AND session_id = ?"  # noqa: S608  # the same
_OF_NO_SESSION: Final = f"SELECT {_SUMS} FROM calls WHERE client IS ? AND session_id IS NULL"  # noqa: S608  # the same


def spent_since(connection: sqlite3.Connection, moment: float) -> list[Found]:
    """Return what each client has spent since a moment.

    Raises:
        sqlite3.Error: It cannot be read now.
    """
    rows = connection.execute(_BY_BUCKET, (moment,))
    return [(client, bucket, int(micro), int(tokens)) for client, bucket, micro, tokens in rows]


def spent_in_session(
    connection: sqlite3.Connection, client: str | None, session: str
) -> tuple[int, int]:
    """Return the micro-dollars and tokens that a client's session has spent.

    Raises:
        sqlite3.Error: It cannot be read now.
    """
    if session:
        row = connection.execute(_OF_SESSION, (client, session)).fetchone()
    else:
        row = connection.execute(_OF_NO_SESSION, (client,)).fetchone()
    return int(row[0]), int(row[1])
