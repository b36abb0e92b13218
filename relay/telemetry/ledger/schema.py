"""The tables of a ledger's file, and how one of an earlier version becomes one of this.

``calls`` is a promise to whoever reads it with SQL of their own: see docs/costs.md. What else
is in the file is the relay's. A migration is one step from one ``user_version`` to the next, and
all that are due are one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

APPLICATION_ID: Final = 0x524C4552
"""What tells a ledger from another program's database: ``RLER``."""

_FIRST: Final = (
    """
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY,
        time REAL NOT NULL,
        relay TEXT,
        client TEXT,
        "grant" TEXT,
        session_id TEXT,
        agent_id TEXT,
        parent_agent_id TEXT,
        operation TEXT NOT NULL,
        model TEXT,
        status INTEGER,
        outcome TEXT NOT NULL,
        reason TEXT,
        error_type TEXT,
        duration REAL NOT NULL,
        first_token REAL,
        input INTEGER,
        cache_read INTEGER,
        cache_write_5m INTEGER,
        cache_write_1h INTEGER,
        cache_write_unknown INTEGER,
        output INTEGER,
        reasoning INTEGER,
        tier TEXT,
        cost INTEGER,
        estimate INTEGER NOT NULL,
        estimate_tokens INTEGER NOT NULL,
        request_id TEXT,
        request_bytes INTEGER NOT NULL,
        response_bytes INTEGER NOT NULL,
        legs INTEGER,
        hops TEXT,
        calls INTEGER NOT NULL
    )
    """,
    "CREATE INDEX calls_time ON calls (time)",
    "CREATE INDEX calls_session ON calls (session_id) WHERE session_id IS NOT NULL",
    # Calls without a session are one session of their client.
    "CREATE INDEX calls_sessionless ON calls (client) WHERE session_id IS NULL",
    "CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)
MIGRATIONS: Final[Sequence[Sequence[str]]] = (_FIRST,)
"""The step from each version to the next."""

_NAME: Final = "name"


class NotALedger(Exception):
    """The file is none that this relay can keep; the text says why, and what to do."""


def check_version(application_id: int, version: int, steps: int = len(MIGRATIONS)) -> None:
    """See whether a file that is not empty is a ledger, and none of a newer relay.

    Raises:
        NotALedger: It is not.
    """
    if application_id != APPLICATION_ID:
        raise NotALedger("is another program's database; name another file")
    if version > steps:
        raise NotALedger(
            f"is of version {version}, and this relay knows {steps}; "
            "use a newer relay, or name another file"
        )


def migrate(
    connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS
) -> None:
    """Make the tables, or bring them up to date: all of it or nothing.

    Raises:
        NotALedger: The file is another program's, or of a newer relay.
        sqlite3.Error: It cannot be done now.
    """
    version = _number(connection, "user_version")
    if version or not _is_empty(connection):
        check_version(_number(connection, "application_id"), version, len(migrations))
    if version == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in migrations[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def note(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Keep a fact about the file in it."""
    connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (key, value))


def noted(connection: sqlite3.Connection, key: str) -> str | None:
    """Return a fact about the file, if it is known."""
    row = connection.execute("SELECT value FROM about WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def name_of(connection: sqlite3.Connection) -> str:
    """Return what tells this ledger from others, also where its file is moved or copied.

    Raises:
        sqlite3.Error: It has none yet, and cannot be given one now.
    """
    name = noted(connection, _NAME)
    if name is None:
        name = uuid4().hex
        note(connection, _NAME, name)
    return name


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _is_empty(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
