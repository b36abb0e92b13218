"""The ledger's file, opened by one relay alone, and what is said where it cannot be.

Whoever keeps it holds a lock on a file beside it, for as long as it is open: SQLite has locks of
its own, but none that lasts, and closing its file for another purpose would let go of them. What
is damaged, of a newer relay or another program's is found out before a byte of it changes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from relay.telemetry.ledger.schema import NotALedger, check_version, migrate

BUSY_SECONDS: Final = 1.0
"""How long a statement waits for other programs' locks."""
# Bytes. A write-ahead log that grew, while somebody read, gets smaller again.
_JOURNAL_LIMIT: Final = 4_000_000
_PRAGMAS: Final = (
    "PRAGMA temp_store = MEMORY",  # the container has no /tmp
    "PRAGMA synchronous = NORMAL",  # to the disk with each checkpoint
    f"PRAGMA journal_size_limit = {_JOURNAL_LIMIT}",
    "PRAGMA secure_delete = ON",  # what retention deletes is gone, too
)
LOCK_SUFFIX: Final = "-lock"
_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_VERSION_AT: Final = 60
_APPLICATION_AT: Final = 68
_DAMAGED: Final = "is damaged; move it away, and a new one is made"
_WORDS: Final = {
    sqlite3.SQLITE_BUSY: "is locked by another program",
    sqlite3.SQLITE_LOCKED: "is locked by another program",
    sqlite3.SQLITE_FULL: "cannot be written: the disk is full",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_READONLY: "cannot be written: it is read-only",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk says no",
}


class Unusable(Exception):
    """The file cannot be used now; the text says why, and what to do."""


class Taken(Unusable):
    """Another relay keeps the file."""

    def __init__(self) -> None:
        super().__init__("is kept by another relay; calls wait here until that one ends")


class LedgerFile:
    """The file, open, and this relay's alone."""

    def __init__(self, path: str) -> None:
        """Open it, and make what is not there yet.

        Raises:
            Unusable: It cannot be opened.
        """
        self.path = path
        with contextlib.ExitStack() as undo, explained(path):
            self._lock = _take_lock(path + LOCK_SUFFIX)
            undo.callback(os.close, self._lock)
            self._identity = _look_at(path)
            self._place = os.path.realpath(path)
            self.connection = _connect(path)
            undo.pop_all()

    @property
    def is_there(self) -> bool:
        """Whether the file of this path is still the one that is open."""
        try:
            found = Path(self.path).stat()
        except OSError:
            return False
        # What a link leads to has its log beside itself, under a name of its own.
        here = os.path.realpath(self.path)
        return (found.st_dev, found.st_ino) == self._identity and here == self._place

    def close(self) -> None:
        """Close it, and let others have it."""
        if not self.is_there:
            # SQLite closes a file that was moved without what its log holds; and leaves the log,
            # which the next file of this path would be taken to go with.
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()
        os.close(self._lock)


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    """Have failures of the file and of SQLite raised as ``Unusable``."""
    try:
        yield
    except NotALedger as error:
        raise Unusable(str(error)) from error
    except OSError as error:
        raise Unusable(_why(path, error)) from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        foreign = _owner(path) if code == sqlite3.SQLITE_CANTOPEN else None
        raise Unusable(foreign or _WORDS.get(code, f"cannot be used: {error}")) from error


def _why(path: str, error: OSError) -> str:
    if isinstance(error, PermissionError):
        in_folder = f"cannot be opened: uid {os.geteuid()} may not write in its folder"
        return _owner(path) or in_folder
    return f"cannot be opened: {(error.strerror or 'unknown').lower()}"


def _owner(path: str) -> str | None:
    """Return whose the file is, and what to type, if it is another user's."""
    own = os.geteuid()
    for part in (path, path + LOCK_SUFFIX, f"{path}-wal", f"{path}-shm"):
        with contextlib.suppress(OSError):
            if (uid := Path(part).stat().st_uid) != own:
                remedy = f"chown {own} {shlex.quote(path)}*; under compose see docs/costs.md"
                return f"belongs to uid {uid}, and this is uid {own}; type: {remedy}"
    return None


def _take_lock(path: str) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Taken from None
    except OSError:
        os.close(handle)
        raise
    return handle


def _look_at(path: str) -> tuple[int, int]:
    """Make the file, if it is not there, for its owner alone; see by its header what it is."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        found, header = os.fstat(handle), os.pread(handle, _HEADER_BYTES, 0)
    finally:
        os.close(handle)
    if header and (len(header) < _HEADER_BYTES or not header.startswith(_MAGIC)):
        raise NotALedger(_DAMAGED)
    if application_id := _number(header, _APPLICATION_AT):
        check_version(application_id, _number(header, _VERSION_AT))
    return found.st_dev, found.st_ino


def _number(header: bytes, at: int) -> int:
    return int.from_bytes(header[at : at + 4], "big")


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    migrate(connection)
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise Unusable("is where it cannot be shared with readers; name a file on a local disk")
