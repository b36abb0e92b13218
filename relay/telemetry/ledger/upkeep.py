"""A whole copy of a ledger, and the deletion of a person's rows: also while a relay writes it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final, Literal

from relay.telemetry.ledger.file import Unusable, explained
from relay.telemetry.ledger.reader import connect
from relay.telemetry.ledger.row import NAME_LIMIT

# Rows in one transaction: whoever writes calls waits for one.
_ROWS_AT_ONCE: Final = 500
Whom = Literal["session", "client"]
_COLUMNS: Final = {"session": "session_id", "client": "client"}


def export(path: Path, target: Path) -> None:
    """Write one whole file, which needs no other beside it; never over another.

    Raises:
        FileExistsError: There is a file of that name.
        OSError: It cannot be written there.
        Unusable: The ledger cannot be read.
    """
    if os.path.lexists(target):
        raise FileExistsError
    with tempfile.TemporaryDirectory(prefix=".ledger-", dir=target.absolute().parent) as folder:
        copy = Path(folder) / "copy"
        os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with explained(str(path)), closing(connect(path)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        _flush(copy)
        try:
            os.link(copy, target)  # unlike a rename, it replaces nothing
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            copy.rename(target)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def forget(path: Path, whom: Whom, name: str) -> int:
    """Delete the rows of a session or a client, so that nothing of them is left in the file.

    Returns how many there were.

    Raises:
        Unusable: The ledger cannot be written, or what was deleted is still beside it.
    """
    condition = f"{_COLUMNS[whom]} = ?"
    statement = f"DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE {condition} LIMIT ?)"  # noqa: S608  # a column's name, the code's own
    deleted = 0
    with explained(str(path)), closing(connect(path, mode="rw")) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        while count := connection.execute(statement, (name[:NAME_LIMIT], _ROWS_AT_ONCE)).rowcount:
            deleted += count
        _empty_log(connection)
    return deleted


def _empty_log(connection: sqlite3.Connection) -> None:
    """Have the write-ahead log hold nothing: what was deleted is in it too."""
    busy = 1
    with contextlib.suppress(sqlite3.OperationalError):
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if busy:
        raise Unusable(
            "holds what was deleted until nobody reads it any more; do the same again then"
        )
