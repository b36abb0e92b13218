"""What a ledger says of today and the last 14 days: the same, however often it is read."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from relay.telemetry.ledger import fortnight
from relay.telemetry.ledger.batch import Batches
from relay.telemetry.ledger.file import LedgerFile, Unusable
from relay.telemetry.ledger.fortnight import SHOWN, Fortnight
from relay.telemetry.ledger.reader import Reader
from relay.telemetry.ledger.row import Row
from tests.harness.ledger import a_row

BERLIN = ZoneInfo("Europe/Berlin")
TODAY = "2026-11-26"


def at(text: str, **changes: object) -> Row:
    """Return a call that ended at this time in Berlin, and cost a dollar."""
    moment = datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()
    return a_row(**({"time": moment, "cost": 1_000_000, "session_id": "s"} | changes))


def moment(time: str, day: str = TODAY) -> float:
    """Return a time of a day in Berlin, in Unix seconds."""
    return datetime.fromisoformat(f"{day} {time}").replace(tzinfo=BERLIN).timestamp()


class Book:
    """A ledger with its sums."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file
        self._batches = Batches(file.connection)
        self.fortnight = Fortnight(Path(file.path), BERLIN)

    def write(self, *rows: Row) -> None:
        """Add calls."""
        self._batches.write(list(rows))

    def delete(self, where: str) -> None:
        """Take some away."""
        self._file.connection.execute(f"DELETE FROM calls WHERE {where}")  # noqa: S608  # the test's own

    def read(self, now: float | None = None) -> dict[str, Any]:
        """Return what it says."""
        return self.fortnight.read(moment("12:00") if now is None else now)

    def calls(self, now: float | None = None) -> tuple[int, int]:
        """Return how many calls there were today, and in all."""
        today, everything = self.read(now)["spans"]
        return today["total"]["calls"], everything["total"]["calls"]


@pytest.fixture
def book(file: LedgerFile) -> Book:
    """An empty one."""
    return Book(file)


def names(table: list[dict[str, Any]]) -> list[str | None]:
    """Return what a table's rows are called."""
    return [row["name"] for row in table]


def test_days_are_those_of_the_time_zone(book: Book) -> None:
    """Fourteen of them, today the last; what is older is left out."""
    book.write(
        at("2026-11-12 23:59:59"), at("2026-11-13 00:00"), at("2026-11-25 23:59:59"), at(TODAY)
    )
    told = book.read()
    assert (told["source"], told["timezone"], told["is_unused"]) == (
        "ledger",
        "Europe/Berlin",
        False,
    )
    days = [(each["day"], each["calls"]) for each in told["days"]]
    assert len(days) == 14
    assert days[0] == ("2026-11-13", 1)
    assert days[-2:] == [("2026-11-25", 1), (TODAY, 1)]
    assert sum(calls for _, calls in days) == 3
    assert [(span["name"], span["total"]["calls"]) for span in told["spans"]] == [
        ("today", 1),
        ("fortnight", 3),
    ]


def test_sums_are_by_model_client_and_session(book: Book) -> None:
    """Money with what is estimated; what cost most first, of sessions the last used."""
    book.write(
        at(f"{TODAY} 09:00", model="large", client="a", session_id="early", cost=3_000_000),
        at(f"{TODAY} 10:00", model="small", client="b", session_id=None, cost=None, estimate=500),
        at(f"{TODAY} 11:00", model="small", client="b", session_id="late", grant="claude"),
    )
    book.write(at(f"{TODAY} 11:30", input=1, cache_read=20, cache_write_5m=3, output=5))
    (span, _) = book.read()["spans"]
    assert names(span["models"]) == ["large", "small", "claude-opus-4-8"]
    assert names(span["clients"]) == ["a", "b", "agent"]
    assert names(span["sessions"]) == ["s", "late", None, "early"]
    small = span["models"][1]
    assert (small["cost_usd"], small["estimate_usd"]) == (1.0005, 0.0005)
    assert (small["is_notional"], span["models"][0]["is_notional"]) == (True, False)
    sums = {"calls": 1, "input": 1, "cache_read": 20, "cache_write": 3, "output": 5}
    assert sums.items() <= span["sessions"][0].items()


def test_what_is_written_later_is_added_once(book: Book) -> None:
    """A session's sums go on, and nothing is counted twice."""
    for number in range(1, 4):
        book.write(at(f"{TODAY} 0{number}:00"))
        assert book.calls() == book.calls() == (number, number)
    assert book.read()["spans"][1]["sessions"][0]["cost_usd"] == 3.0


def test_what_is_written_meanwhile_waits_for_the_next_time(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that comes after the last one was looked for is not counted twice."""
    book.write(at(TODAY), at(TODAY))
    with monkeypatch.context() as before:
        before.setattr(Reader, "last_id", lambda _: 1)
        assert book.calls() == (1, 1)
    assert book.calls() == (2, 2)


def test_only_what_is_new_is_read_again(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of what was there is seen when all is read again, as it is every ten minutes."""
    book.write(at(TODAY), at(TODAY))
    assert book.calls() == (2, 2)
    book.delete("id = 1")
    book.write(at(TODAY))
    assert book.calls() == (3, 3)
    monkeypatch.setattr(fortnight, "WHOLE_SECONDS", 0.0)
    assert book.calls() == (2, 2)


def test_fewer_rows_than_before_are_seen_at_once(book: Book) -> None:
    """As when the file was moved away, and is a new one."""
    book.write(at(TODAY), at(TODAY))
    assert book.calls() == (2, 2)
    book.delete("1")
    assert book.calls() == (0, 0)
    assert book.read()["is_unused"] is True


def test_a_day_that_begins_begins_at_nothing(book: Book) -> None:
    """What was today's is yesterday's; what comes late for it is not lost."""
    book.write(at(f"{TODAY} 23:00"))
    assert book.calls(moment("23:30")) == (1, 1)
    after = moment("00:00:01", "2026-11-27")
    assert book.calls(after) == (0, 1)
    book.write(at(f"{TODAY} 23:59:59"))
    assert book.calls(after) == (0, 2)
    assert [each["calls"] for each in book.read(after)["days"][-2:]] == [2, 0]


def test_calls_of_a_clock_that_was_ahead_are_todays(book: Book) -> None:
    """As in `relay usage`."""
    book.write(at("2031-01-01"))
    assert book.calls() == (1, 1)
    assert book.read()["days"][-1]["calls"] == 1


def test_tables_have_an_end(book: Book) -> None:
    """The sessions used last are in it, and those that only were refused are not."""
    rows = [
        at(f"{TODAY} 09:00", session_id=f"s{number}", time=moment("09:00") + number)
        for number in range(SHOWN + 5)
    ]
    book.write(*rows, at(f"{TODAY} 10:00", session_id="refused", outcome="rejected"))
    (span, _) = book.read()["spans"]
    assert names(span["sessions"]) == [f"s{SHOWN + 4 - number}" for number in range(SHOWN)]


def test_sessions_without_end_take_no_memory(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent may name a new one in each call: those used last are told apart, all are counted."""
    monkeypatch.setattr(fortnight, "SESSIONS", 3)
    yesterday = [at("2026-11-25", session_id=f"y{number}") for number in range(9)]
    refused = at(f"{TODAY} 11:00", session_id="refused", outcome="rejected")
    book.write(*yesterday, at(TODAY, session_id=None), refused)
    for number in range(9):
        book.write(at(f"{TODAY} 0{number}:00", session_id=f"s{number}"))
        book.read()
    for _ in range(2):
        (today, everything) = book.read()["spans"]
        assert (today["total"]["calls"], everything["total"]["calls"]) == (10, 19)
        assert names(today["sessions"])[:3] == names(everything["sessions"])[:3]
        assert names(today["sessions"])[:3] == ["s8", "s7", "s6"]
        assert len(book.fortnight._of_all.sessions) <= 3
        monkeypatch.setattr(fortnight, "WHOLE_SECONDS", 0.0)


def test_a_ledger_that_is_not_there_is_said(tmp_path: Path) -> None:
    """In the words of `relay usage`."""
    with pytest.raises(Unusable, match="is not there"):
        Fortnight(tmp_path / "none.db", BERLIN).read(moment("12:00"))
