"""The file's tables: made, brought up to date, and left alone where they are not this relay's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from relay.telemetry.ledger.row import INSERT, Row
from relay.telemetry.ledger.schema import MIGRATIONS, NotALedger, migrate, note, noted
from tests.harness.ledger import a_row

COLUMNS = """
    id time relay client grant session_id agent_id parent_agent_id operation model status outcome
    reason error_type duration first_token input cache_read cache_write_5m cache_write_1h
    cache_write_unknown output reasoning tier cost estimate estimate_tokens request_id
    request_bytes response_bytes legs hops calls
"""
# A file as version 1 made it: what users have, whatever becomes of the code.
VERSION_1 = Path(__file__).with_name("version_1.sql")
VERSIONS = {1: VERSION_1}


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A new file."""
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as connection:
        yield connection


def columns(connection: sqlite3.Connection) -> list[str]:
    """Return the columns of the table that is a promise."""
    return [row[1] for row in connection.execute("PRAGMA table_info(calls)")]


def test_a_new_file_has_the_table_that_is_promised(connection: sqlite3.Connection) -> None:
    """Its columns by name and order, each of a row's among them."""
    migrate(connection)
    assert columns(connection) == COLUMNS.split()
    assert columns(connection) == ["id", *Row._fields]
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    assert version == len(MIGRATIONS)


def test_time_and_session_are_indexed(connection: sqlite3.Connection) -> None:
    """What is read by them is found without reading all."""
    migrate(connection)
    for condition in ("time > 1", "session_id = 'a'"):
        asked = f"SELECT * FROM calls WHERE {condition}"  # noqa: S608  # the test's own
        plan = connection.execute(f"EXPLAIN QUERY PLAN {asked}")
        assert "USING INDEX" in str(plan.fetchall())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_of_each_version_is_brought_up_to_date(
    connection: sqlite3.Connection, version: int
) -> None:
    """With its rows; and rows can be added."""
    connection.executescript(VERSIONS[version].read_text(encoding="utf-8"))
    migrate(connection)
    assert columns(connection) == COLUMNS.split()
    connection.execute(INSERT, a_row(model="new"))
    models = connection.execute("SELECT model FROM calls ORDER BY id").fetchall()
    assert models == [("claude-opus-4-8",), ("new",)]
    assert noted(connection, "timezone") == "Europe/Berlin"


def test_every_version_has_its_file() -> None:
    """A new version brings a file of the one before, which users have by then."""
    assert list(VERSIONS) == list(range(1, len(MIGRATIONS) + 1))


def test_steps_that_are_due_are_taken_in_order(connection: sqlite3.Connection) -> None:
    """From whichever version the file is, and none twice."""
    migrate(connection)
    later = (*MIGRATIONS, ["ALTER TABLE calls ADD COLUMN a"], ["ALTER TABLE calls ADD COLUMN b"])
    migrate(connection, later)
    migrate(connection, later)
    assert columns(connection) == [*COLUMNS.split(), "a", "b"]


def test_a_step_that_fails_leaves_the_file_as_it_was(connection: sqlite3.Connection) -> None:
    """All steps are one transaction."""
    migrate(connection)
    later = (*MIGRATIONS, ["ALTER TABLE calls ADD COLUMN a"], ["ALTER TABLE nothing DROP COLUMN b"])
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, later)
    assert columns(connection) == COLUMNS.split()
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_a_newer_file_is_left_alone(connection: sqlite3.Connection) -> None:
    """A relay that is set back does not undo what a newer one made."""
    migrate(connection, (*MIGRATIONS, ["ALTER TABLE calls ADD COLUMN a"]))
    with pytest.raises(NotALedger, match=r"is of version 2, and this relay knows 1; use a newer"):
        migrate(connection)
    assert columns(connection) == [*COLUMNS.split(), "a"]


def test_another_programs_database_is_left_alone(connection: sqlite3.Connection) -> None:
    """Whatever its version is."""
    connection.execute("CREATE TABLE theirs (a)")
    with pytest.raises(NotALedger, match="another program's database; name another file"):
        migrate(connection)
    assert columns(connection) == []


def test_facts_are_kept(connection: sqlite3.Connection) -> None:
    """The last one counts."""
    migrate(connection)
    assert noted(connection, "timezone") is None
    note(connection, "timezone", "UTC")
    note(connection, "timezone", "Europe/Berlin")
    assert noted(connection, "timezone") == "Europe/Berlin"
