"""What a ledger's calls come to, by day or by name: the rows of `relay usage`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime, tzinfo
from typing import Final, NamedTuple

from relay.config.limits import MICRO
from relay.telemetry.ledger.reader import Group, Reader
from relay.telemetry.periods import PERIODS, day_of, first_day, midnight

Key = tuple[str | None, ...]
Figures = Mapping[str, str | int | float | list[str] | None]


class Grouping(NamedTuple):
    """A way to tell calls apart."""

    names: tuple[str, ...]
    """What a row is called by, in JSON and CSV."""
    columns: tuple[str, ...] = ()
    """The columns of the table that say it, unless the day does."""
    by_size: bool = False
    """Whether the row that cost most comes first, and not the one of earlier calls."""


GROUPINGS: Final[Mapping[str, Grouping]] = {
    "today": Grouping(("model",), ("model",), by_size=True),
    "daily": Grouping(("day",)),
    "weekly": Grouping(("week",)),
    "monthly": Grouping(("month",)),
    "sessions": Grouping(("session",), ("session_id",)),
    "models": Grouping(("model",), ("model",), by_size=True),
    "clients": Grouping(("client",), ("client",), by_size=True),
    "agents": Grouping(("agent", "session", "parent"), ("agent_id", "session_id")),
}
"""By the report's name."""


@dataclass(slots=True)
class Totals:
    """What some calls come to; money in micro-dollars."""

    calls: int = 0
    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    cost: int = 0
    unpriced: int = 0
    estimate: int = 0
    refused: int = 0
    notional: int = 0
    models: set[str] = field(default_factory=set)
    parent: str | None = None
    last: float = 0.0

    def add(self, group: Group) -> None:
        """Take the sums of further calls."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(group, name))
        if group.model is not None:
            self.models.add(group.model)
        self.parent = self.parent or group.parent
        self.last = max(self.last, group.last)

    @property
    def money(self) -> int:
        """What they cost, with what is estimated."""
        return self.cost + self.estimate

    @property
    def cache_read_share(self) -> float | None:
        """How much of what went in was read from the cache."""
        whole = self.input + self.cache_read + self.cache_write
        return self.cache_read / whole if whole else None

    def figures(self) -> Figures:
        """Return what scripts get."""
        return {
            "calls": self.calls,
            "input": self.input,
            "cache_read": self.cache_read,
            "cache_write": self.cache_write,
            "output": self.output,
            "reasoning": self.reasoning,
            "cost_usd": self.cost / MICRO,
            "unpriced_calls": self.unpriced,
            "estimate_usd": self.estimate / MICRO,
            "refused": self.refused,
            "models": sorted(self.models),
        }


_COUNTS: Final = tuple(each.name for each in fields(Totals) if each.type == "int")


@dataclass(frozen=True, slots=True)
class Report:
    """A report, its rows in order."""

    name: str
    since: datetime
    timezone: str
    rows: list[tuple[Key, Totals]]
    total: Totals

    @property
    def names(self) -> tuple[str, ...]:
        """What rows are called by."""
        return GROUPINGS[self.name].names


class Question(NamedTuple):
    """What is asked of a ledger."""

    report: str = "today"
    since: str | None = None
    """``7d`` or a day."""
    client: str | None = None


def report_of(reader: Reader, question: Question, zone: tzinfo, now: float) -> Report:
    """Return a report, with days as they are in the zone.

    Raises:
        ValueError: ``since`` names no day.
        sqlite3.Error: The file cannot be read.
    """
    grouping = GROUPINGS[question.report]
    start = midnight(_first_day(reader, question, day_of(now, zone), zone), zone)
    rows: dict[Key, Totals] = {}
    total = Totals()
    for group in reader.groups(grouping.columns, start, zone, question.client):
        rows.setdefault(_key(grouping, group), Totals()).add(group)
        total.add(group)
    return Report(
        question.report,
        datetime.fromtimestamp(start, zone),
        str(zone),
        _in_order(grouping, rows),
        total,
    )


def _first_day(reader: Reader, question: Question, today: date, zone: tzinfo) -> date:
    if question.since is not None:
        return first_day(question.since, today)
    begins = None if question.report == "today" else reader.begins()
    return today if begins is None else day_of(begins, zone)


def _key(grouping: Grouping, group: Group) -> Key:
    return group.keys if grouping.columns else (PERIODS[grouping.names[0]](group.day),)


def _in_order(grouping: Grouping, rows: dict[Key, Totals]) -> list[tuple[Key, Totals]]:
    if "parent" in grouping.names:
        return _agents_in_order(rows)
    by: Callable[[tuple[Key, Totals]], tuple[float | str, ...]] = _by_time
    if grouping.by_size:
        by = _by_size
    elif not grouping.columns:
        by = _by_name
    return sorted(rows.items(), key=by)


def _by_size(row: tuple[Key, Totals]) -> tuple[float | str, ...]:
    key, sums = row
    return -sums.money, -sums.calls, key[0] or ""


def _by_time(row: tuple[Key, Totals]) -> tuple[float | str, ...]:
    key, sums = row
    return sums.last, key[0] or ""


def _by_name(row: tuple[Key, Totals]) -> tuple[float | str, ...]:
    return (row[0][0] or "",)


def _agents_in_order(rows: dict[Key, Totals]) -> list[tuple[Key, Totals]]:
    """Return agents by session, the one used last at the end; in each the main one first."""
    used: dict[str | None, float] = {}
    for (_, session), sums in rows.items():
        used[session] = max(used.get(session, 0.0), sums.last)

    def place(row: tuple[Key, Totals]) -> tuple[float | str | bool, ...]:
        (agent, session), sums = row
        return used[session], session or "", agent is not None, sums.last, agent or ""

    return [((*key, sums.parent), sums) for key, sums in sorted(rows.items(), key=place)]


def as_data(report: Report) -> dict[str, object]:
    """Return what ``--json`` prints."""
    return {
        "report": report.name,
        "since": report.since.isoformat(),
        "timezone": report.timezone,
        "rows": rows_of(report),
        "total": report.total.figures(),
    }


def rows_of(report: Report) -> list[Figures]:
    """Return the rows with their names, for scripts."""
    return [_named(report.names, key, sums) for key, sums in report.rows]


def _named(names: Iterable[str], key: Key, sums: Totals) -> Figures:
    return {**dict(zip(names, key, strict=True)), **sums.figures()}
