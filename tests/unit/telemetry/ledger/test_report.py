"""What a ledger's calls come to: sums by day, week, month and name, in the time zone it keeps."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from relay.telemetry.ledger.batch import Batches
from relay.telemetry.ledger.file import LedgerFile
from relay.telemetry.ledger.reader import reading
from relay.telemetry.ledger.report import Question, as_data, report_of
from relay.telemetry.ledger.row import Row
from tests.harness.ledger import a_row

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 26, 12, tzinfo=BERLIN).timestamp()
NOTHING = {
    "calls": 0,
    "input": 0,
    "cache_read": 0,
    "cache_write": 0,
    "output": 0,
    "reasoning": 0,
    "cost_usd": 0.0,
    "unpriced_calls": 0,
    "estimate_usd": 0.0,
    "refused": 0,
    "models": [],
}


def at(text: str, **changes: object) -> Row:
    """Return a call that ended at this time in Berlin."""
    return a_row(time=datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp(), **changes)


def asked(
    path: Path,
    *rows: Row,
    report: str = "today",
    since: str | None = None,
    client: str | None = None,
    zone: ZoneInfo = BERLIN,
) -> dict[str, Any]:
    """Return the answer of a ledger with these rows."""
    file = LedgerFile(str(path / "ledger.db"))
    with closing(file):
        Batches(file.connection).write(list(rows))
        with reading(path / "ledger.db") as reader:
            return as_data(report_of(reader, Question(report, since, client), zone, NOW))


def rows_of(answer: dict[str, Any], *keys: str) -> list[Any]:
    """Return what an answer's rows hold of these figures."""
    found = [tuple(row[key] for key in keys) for row in answer["rows"]]
    return found if len(keys) > 1 else [value for (value,) in found]


def test_a_row_holds_the_sums(tmp_path: Path) -> None:
    """Of every figure, and the models by name."""
    used = {"input": 1, "cache_read": 2, "cache_write_5m": 3, "cache_write_1h": 4}
    used |= {"cache_write_unknown": 5, "output": 6, "reasoning": 7}
    more = {kind: 10 * count for kind, count in used.items()}
    (row,) = asked(
        tmp_path,
        at("2026-11-26 01:00", model="b", cost=1_234_567, estimate=5, **used),
        at("2026-11-26 02:00", model="a", cost=None, estimate=1_000_000, **more),
        at("2026-11-26 03:00", model=None, cost=0, outcome="upstream_error", status=529),
        at("2026-11-26 04:00", model=None, outcome="rejected", reason="path", calls=40),
        report="daily",
    )["rows"]
    assert row == {
        "day": "2026-11-26",
        "calls": 3,
        "input": 11,
        "cache_read": 22,
        "cache_write": 12 * 11,
        "output": 66,
        "reasoning": 77,
        "cost_usd": 1.234567,
        "unpriced_calls": 1,
        "estimate_usd": 1.000005,
        "refused": 40,
        "models": ["a", "b"],
    }


def test_a_call_without_tokens_and_price_is_not_unpriced(tmp_path: Path) -> None:
    """Its usage is not known, which is another matter."""
    (row,) = asked(tmp_path, at("2026-11-26 01:00", cost=None), report="daily")["rows"]
    assert row["unpriced_calls"] == 0


def test_the_answer_says_what_it_is_of(tmp_path: Path) -> None:
    """Its report, since when, in which zone, and the total of all its rows."""
    calls = [at(f"2026-11-2{day} 01:00", cost=day, model=str(day)) for day in (4, 5)]
    answer = asked(tmp_path, *calls, report="daily")
    assert answer | {"rows": None} == {
        "report": "daily",
        "since": "2026-11-24T00:00:00+01:00",
        "timezone": "Europe/Berlin",
        "rows": None,
        "total": NOTHING | {"calls": 2, "cost_usd": 0.000009, "models": ["4", "5"]},
    }
    assert rows_of(answer, "day") == ["2026-11-24", "2026-11-25"]


def test_a_ledger_without_calls_has_no_rows(tmp_path: Path) -> None:
    """And a total of nothing."""
    answer = asked(tmp_path, report="monthly")
    assert (answer["rows"], answer["total"]) == ([], NOTHING)
    assert answer["since"] == "2026-11-26T00:00:00+01:00"


def test_today_is_by_model_and_meant_by_nothing(tmp_path: Path) -> None:
    """Since midnight, what cost most first."""
    calls = [
        at("2026-11-25 23:59:59", model="yesterday"),
        at("2026-11-26 00:00:00", model="cheap", cost=1),
        at("2026-11-26 11:00:00", model="dear", cost=2),
        at("2026-11-26 11:00:00", model=None, cost=0),
    ]
    answer = asked(tmp_path, *calls)
    assert answer["report"] == "today"
    assert answer["since"] == "2026-11-26T00:00:00+01:00"
    assert rows_of(answer, "model") == ["dear", "cheap", None]


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("Europe/Berlin", [("2026-03-28", 1), ("2026-03-29", 1), ("2026-03-30", 1)]),
        ("UTC", [("2026-03-28", 2), ("2026-03-29", 1)]),
        ("Asia/Tokyo", [("2026-03-29", 2), ("2026-03-30", 1)]),
    ],
)
def test_days_are_the_time_zones(
    tmp_path: Path, zone: str, expected: list[tuple[str, int]]
) -> None:
    """Also the one of 23 hours, when summer begins."""
    calls = [at(f"2026-03-{moment}") for moment in ("28 23:59", "29 00:00", "30 00:00")]
    answer = asked(tmp_path, *calls, report="daily", zone=ZoneInfo(zone))
    assert rows_of(answer, "day", "calls") == expected


def test_weeks_begin_on_monday(tmp_path: Path) -> None:
    """And are called by it, across the years."""
    calls = [at(f"{day} 12:00") for day in ("2025-12-28", "2025-12-29", "2026-01-04", "2026-01-05")]
    expected = [("2025-12-22", 1), ("2025-12-29", 2), ("2026-01-05", 1)]
    assert rows_of(asked(tmp_path, *calls, report="weekly"), "week", "calls") == expected


def test_months_are_called_by_year_and_number(tmp_path: Path) -> None:
    """In order."""
    calls = [at(f"{day} 12:00") for day in ("2025-12-31", "2026-01-01", "2026-01-31")]
    expected = [("2025-12", 1), ("2026-01", 2)]
    assert rows_of(asked(tmp_path, *calls, report="monthly"), "month", "calls") == expected


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("0d", ["2026-11-26"]),
        ("7d", ["2026-11-19", "2026-11-26"]),
        ("2026-11-18", ["2026-11-18", "2026-11-19", "2026-11-26"]),
        (None, ["2026-11-18", "2026-11-19", "2026-11-26"]),
        ("99999d", ["2026-11-18", "2026-11-19", "2026-11-26"]),
        ("0001-01-01", ["2026-11-18", "2026-11-19", "2026-11-26"]),
        ("9999-12-31", []),
    ],
)
def test_since_is_a_midnight(tmp_path: Path, since: str | None, expected: list[str]) -> None:
    """So many days ago, or of a day; without it all is shown."""
    moments = ("2026-11-18 23:59:59", "2026-11-19 00:00:00", "2026-11-26 09:00:00")
    answer = asked(tmp_path, *map(at, moments), report="daily", since=since)
    assert rows_of(answer, "day") == expected


def test_a_client_can_be_asked_for(tmp_path: Path) -> None:
    """The calls of others are left out."""
    calls = [at("2026-11-26 01:00", client=client, model=client) for client in ("a", "b", None)]
    assert rows_of(asked(tmp_path, *calls, client="b"), "model", "calls") == [("b", 1)]


def test_clients_are_told_apart(tmp_path: Path) -> None:
    """What has no name is null."""
    calls = [at("2026-11-20 01:00", client=client) for client in ("a", "b", "b", None)]
    expected = [("b", 2), (None, 1), ("a", 1)]
    assert rows_of(asked(tmp_path, *calls, report="clients"), "client", "calls") == expected


def test_sessions_are_told_apart(tmp_path: Path) -> None:
    """The one used last at the end; across days."""
    calls = [
        at("2026-11-20 01:00", session_id="long"),
        at("2026-11-21 01:00", session_id="short"),
        at("2026-11-22 01:00", session_id="long"),
        at("2026-11-19 01:00", session_id=None),
    ]
    expected = [(None, 1), ("short", 1), ("long", 2)]
    assert rows_of(asked(tmp_path, *calls, report="sessions"), "session", "calls") == expected


def test_agents_have_their_own_sums(tmp_path: Path) -> None:
    """Within their sessions, the main one first, each with its parent."""
    calls = [
        at("2026-11-20 01:00", session_id="two"),
        at("2026-11-20 02:00", session_id="one", output=1, agent_id="child"),
        at("2026-11-20 03:00", session_id="one", output=2),
        at("2026-11-21 04:00", session_id="one", output=4, agent_id="b", parent_agent_id="child"),
        at("2026-11-22 05:00", session_id="one", output=8, agent_id="b"),
    ]
    answer = asked(tmp_path, *calls, report="agents")
    assert rows_of(answer, "session", "agent", "parent", "output") == [
        ("two", None, None, 0),
        ("one", None, None, 2),
        ("one", "child", None, 1),
        ("one", "b", "child", 12),
    ]


def test_calls_of_a_clock_that_was_wrong_are_counted(tmp_path: Path) -> None:
    """Long ago, and in days that have no date."""
    calls = [a_row(time=moment) for moment in (0.0, 4e9, 1e15)]
    assert sum(rows_of(asked(tmp_path, *calls, report="daily"), "calls")) == 3
