"""The ledger's file: opened by one alone, and left alone where it is another's."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from relay.telemetry.ledger import file
from relay.telemetry.ledger.file import LedgerFile, Taken, Unusable
from relay.telemetry.ledger.schema import APPLICATION_ID
from tests.harness.ledger import rows_in


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger is."""
    return tmp_path / "ledger.db"


def pragma(file: LedgerFile, name: str) -> object:
    """Return what SQLite says."""
    return file.connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_it_is_made_for_its_owner_alone(path: Path) -> None:
    """And so is all beside it, whatever the umask is."""
    before = os.umask(0)
    file = LedgerFile(str(path))
    file.connection.execute("CREATE TABLE x (a)")
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    file.close()
    os.umask(before)
    names = ["ledger.db", "ledger.db-lock", "ledger.db-shm", "ledger.db-wal"]
    assert modes == dict.fromkeys(names, 0o600)


def test_sqlite_is_set_up(path: Path) -> None:
    """For readers beside it, a container without /tmp, a log that shrinks again."""
    file = LedgerFile(str(path))
    wanted = {"journal_mode": "wal", "temp_store": 2, "busy_timeout": 1000, "synchronous": 1}
    wanted |= {"journal_size_limit": 4_000_000, "secure_delete": 1}
    assert {name: pragma(file, name) for name in wanted} == wanted
    file.close()


def refuse_to_open(*_: object) -> int:
    """Open nothing, as for another user."""
    raise PermissionError(errno.EACCES, "Permission denied")


def test_one_alone_keeps_it(path: Path) -> None:
    """The next one has it once that one has closed it."""
    file = LedgerFile(str(path))
    with pytest.raises(Taken):
        LedgerFile(str(path))
    file.close()
    LedgerFile(str(path)).close()


def refuse(path: Path, said: str) -> None:
    """See that the file is refused with these words, and left as it was."""
    before = path.read_bytes()
    with pytest.raises(Unusable, match=said):
        LedgerFile(str(path))
    assert path.read_bytes() == before
    assert not path.with_name("ledger.db-wal").exists()


@pytest.mark.parametrize("content", [b"x", b"x" * 5000, b"SQLite format 3\0"])
def test_what_is_damaged_is_left_alone(path: Path, content: bytes) -> None:
    """Nobody knows what is still in it."""
    path.write_bytes(content)
    refuse(path, "is damaged; move it away, and a new one is made")


def test_a_ledger_that_was_damaged_is_left_alone(path: Path) -> None:
    """Its beginning may be whole."""
    LedgerFile(str(path)).close()
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    refuse(path, "is damaged")


def test_a_newer_ledger_is_left_alone(path: Path) -> None:
    """It says so without a look at its tables, which may be other ones."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 99")
        connection.execute("CREATE TABLE x (a)")
    refuse(path, "is of version 99, and this relay knows 1")


def test_another_programs_database_is_left_alone(path: Path) -> None:
    """With an application's id, or without one."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    refuse(path, "another program's database")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 7")
    refuse(path, "another program's database")


def test_one_that_is_locked_is_said_to_be(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another program, which SQLite's own lock tells."""
    monkeypatch.setattr(file, "BUSY_SECONDS", 0.01)
    LedgerFile(str(path)).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unusable, match="is locked by another program"):
            LedgerFile(str(path))


@pytest.mark.parametrize("theirs", ["ledger.db", "ledger.db-lock"])
def test_another_users_file_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: str
) -> None:
    """With both users, and what to type."""
    folder = tmp_path / "in a folder"
    folder.mkdir()
    (folder / theirs).touch(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(os, "open", refuse_to_open)
    with pytest.raises(Unusable) as caught:
        LedgerFile(str(folder / "ledger.db"))
    whose = f"belongs to uid {os.getuid()}, and this is uid 4711"
    remedy = f"chown 4711 '{folder}/ledger.db'*; under compose see docs/costs.md"
    assert str(caught.value) == f"{whose}; type: {remedy}"


def test_a_folder_of_another_users_is_said_to_be(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no file yet."""
    monkeypatch.setattr(os, "open", refuse_to_open)
    said = f"cannot be opened: uid {os.geteuid()} may not write in its folder"
    with pytest.raises(Unusable, match=said):
        LedgerFile(str(path))


def test_a_file_that_was_moved_away_is_no_longer_it(path: Path) -> None:
    """Whoever writes finds that out, and makes a new one."""
    file = LedgerFile(str(path))
    states = [file.is_there]
    path.rename(path.with_name("moved.db"))
    states.append(file.is_there)
    path.touch()
    states.append(file.is_there)
    path.unlink()
    path.symlink_to("moved.db")  # whoever reads it there looks for its log there
    states.append(file.is_there)
    file.close()
    assert states == [True, False, False, False]


def test_rows_can_be_read_beside_it(path: Path) -> None:
    """Readers and the writer do not wait for each other."""
    file = LedgerFile(str(path))
    file.connection.execute("BEGIN IMMEDIATE")
    assert rows_in(path) == []
    file.connection.execute("COMMIT")
    file.close()
