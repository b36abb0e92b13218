"""A whole copy of a ledger, and a person's rows gone from it: also while a relay writes it."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from relay.telemetry.ledger import reader as reader_module
from relay.telemetry.ledger import upkeep
from relay.telemetry.ledger.batch import Batches
from relay.telemetry.ledger.file import LedgerFile, Unusable
from relay.telemetry.ledger.schema import APPLICATION_ID
from relay.telemetry.ledger.upkeep import export, forget
from tests.harness.ledger import a_row, rows_in

SECRET = "a-session-nobody-should-find"


@pytest.fixture
def file(file: LedgerFile) -> LedgerFile:
    """A ledger that is open, with a few thousand calls of one person and of others."""
    names = [{"session_id": SECRET}, {"client": "carol"}, {"session_id": "other"}]
    Batches(file.connection).write([a_row(**names[n % 3]) for n in range(3000)])
    return file


def found_in(folder: Path, text: str) -> list[str]:
    """Return the names of the files that hold a text."""
    return [each.name for each in folder.iterdir() if text.encode() in each.read_bytes()]


def test_a_copy_is_whole(file: LedgerFile, path: Path, tmp_path: Path) -> None:
    """With what is still in the log beside the ledger; one file, for its owner alone."""
    folder = tmp_path / "backup"
    folder.mkdir()
    export(path, folder / "copy.db")
    assert [each.name for each in folder.iterdir()] == ["copy.db"]
    assert stat.S_IMODE((folder / "copy.db").stat().st_mode) == 0o600
    assert len(rows_in(folder / "copy.db")) == 3000
    with closing(sqlite3.connect(folder / "copy.db")) as copy:
        assert copy.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("content", [b"", b"something"])
def test_a_copy_replaces_nothing(
    file: LedgerFile, path: Path, tmp_path: Path, content: bytes
) -> None:
    """Not even what is empty."""
    target = tmp_path / "copy.db"
    target.write_bytes(content)
    with pytest.raises(FileExistsError):
        export(path, target)
    assert target.read_bytes() == content


def test_a_copy_replaces_no_link(file: LedgerFile, path: Path, tmp_path: Path) -> None:
    """Wherever it leads."""
    target = tmp_path / "copy.db"
    target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        export(path, target)


def test_a_copy_replaces_nothing_that_came_meanwhile(
    file: LedgerFile, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copying takes its time."""
    target = tmp_path / "copy.db"
    monkeypatch.setattr(upkeep, "_flush", lambda _: target.write_bytes(b"theirs"))
    with pytest.raises(FileExistsError):
        export(path, target)
    assert target.read_bytes() == b"theirs"


def test_a_copy_into_a_folder_that_is_not_there_is_an_error(
    file: LedgerFile, path: Path, tmp_path: Path
) -> None:
    """Of whoever named it."""
    with pytest.raises(FileNotFoundError):
        export(path, tmp_path / "nowhere" / "copy.db")


def test_a_session_is_forgotten(file: LedgerFile, path: Path, tmp_path: Path) -> None:
    """Nothing of it is left in any file; all others' rows are."""
    assert found_in(tmp_path, SECRET)
    assert forget(path, "session", SECRET) == 1000
    assert found_in(tmp_path, SECRET) == []
    assert len(rows_in(path)) == 2000
    assert forget(path, "session", SECRET) == 0


def test_a_client_is_forgotten(file: LedgerFile, path: Path, tmp_path: Path) -> None:
    """The same."""
    assert forget(path, "client", "carol") == 1000
    assert found_in(tmp_path, "carol") == []
    Batches(file.connection).write([a_row()])  # and the relay writes on
    assert len(rows_in(path)) == 2001


def test_what_somebody_reads_is_said_to_be_there_still(
    file: LedgerFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are deleted; what they held goes with the next time."""
    monkeypatch.setattr(reader_module, "_BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM calls").fetchone()
        with pytest.raises(Unusable, match="holds what was deleted until nobody reads it"):
            forget(path, "session", SECRET)
    assert forget(path, "session", SECRET) == 0
    assert found_in(path.parent, SECRET) == []


def test_what_retention_deletes_is_gone_too(file: LedgerFile, path: Path, tmp_path: Path) -> None:
    """A person who is forgotten has no rows in pages that were let go of."""
    file.connection.execute("DELETE FROM calls WHERE session_id = ?", (SECRET,))
    file.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert found_in(tmp_path, SECRET) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"x" * 5000, "is damaged"), (b"", "is empty"), (None, "is not there")],
)
def test_what_is_no_ledger_is_said_to_be_none(path: Path, content: bytes | None, said: str) -> None:
    """Or is not there; nothing is made in its place."""
    if content is not None:
        path.write_bytes(content)
    for work in (
        lambda: export(path, path.with_name("copy.db")),
        lambda: forget(path, "client", "a"),
    ):
        with pytest.raises(Unusable, match=said):
            work()
    assert [each.name for each in path.parent.iterdir()] == ([] if content is None else [path.name])
