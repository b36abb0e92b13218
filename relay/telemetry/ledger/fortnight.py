"""What a ledger says of today and of the 14 days up to it, for the page.

All of them are read at first, when a day has begun, and every ten minutes, for rows may be deleted
or filled in; between that only what has been written since: twenty thousand calls of a day take a
third of a second, the last hundred of them a millisecond. Blocks, so it is a thread's work.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta, tzinfo
from heapq import nlargest
from pathlib import Path
from typing import Final

from relay.config.limits import MICRO
from relay.telemetry.ledger.reader import OTHERS, Group, Ids, Reader, reading
from relay.telemetry.ledger.report import Totals
from relay.telemetry.periods import day_of, midnight

DAYS: Final = 14
SHOWN: Final = 20
"""Rows of each table at most."""
SESSIONS: Final = 1_000
"""How many of a day's are looked at: names are agents' own words, and may be as many as calls."""
WHOLE_SECONDS: Final = 600.0
_COLUMNS: Final = ("client", "session_id")

Figures = dict[str, object]


@dataclass(slots=True)
class _Tables:
    """Totals of some calls: of all, by model, by client, by session."""

    total: Totals = field(default_factory=Totals)
    models: dict[str | None, Totals] = field(default_factory=dict)
    clients: dict[str | None, Totals] = field(default_factory=dict)
    sessions: dict[str | None, Totals] = field(default_factory=dict)

    def add(self, group: Group) -> None:
        """Take the sums of further calls."""
        client, session = group.keys
        self.total.add(group)
        self.models.setdefault(group.model, Totals()).add(group)
        self.clients.setdefault(client, Totals()).add(group)
        if session != OTHERS:
            self.sessions.setdefault(session, Totals()).add(group)

    def forget(self) -> None:
        """Keep of the sessions those that were used last."""
        if len(self.sessions) > SESSIONS:
            self.sessions = dict(nlargest(SESSIONS, self.sessions.items(), key=_last))

    def describe(self, name: str) -> Figures:
        """Return them as the page shows them: what cost most, and the sessions used last."""
        return {
            "name": name,
            "total": _row(None, self.total),
            "models": _rows(self.models, _size),
            "clients": _rows(self.clients, _size),
            "sessions": _rows(self.sessions, _last),
        }


class Fortnight:
    """Reads one ledger, and keeps the sums: to be asked by one thread at a time."""

    def __init__(self, path: Path, zone: tzinfo) -> None:
        self._path = path
        self._zone = zone
        self._today = date.min
        self._read_at = -math.inf
        self._last = 0
        """The last row that is in the sums."""
        self._of_today = self._of_all = _Tables()
        self._days: dict[date, Totals] = {}

    def read(self, now: float) -> Figures:
        """Return what the ledger says at a time, in Unix seconds.

        Raises:
            Unusable: It cannot be read.
        """
        today = day_of(now, self._zone)
        with reading(self._path) as reader:
            last = reader.last_id()
            if not self._is_fresh(today, last):
                self._begin(today)
            if last > self._last:
                self._take(reader, today, (self._last, last))
                self._last = last
            return self._describe(is_unused=reader.begins() is None)

    def _is_fresh(self, today: date, last: int) -> bool:
        is_young = time.monotonic() - self._read_at < WHOLE_SECONDS
        return is_young and today == self._today and last >= self._last

    def _begin(self, today: date) -> None:
        self._today, self._read_at, self._last = today, time.monotonic(), 0
        self._of_today, self._of_all = _Tables(), _Tables()
        self._days = {today - timedelta(days=back): Totals() for back in reversed(range(DAYS))}

    def _take(self, reader: Reader, today: date, ids: Ids) -> None:
        """Add these rows."""
        since = midnight(min(self._days), self._zone)
        found = reader.groups(_COLUMNS, since, self._zone, None, ids=ids, sessions=SESSIONS)
        for group in found:
            self._of_all.add(group)
            self._days[min(group.day, today)].add(group)  # a later one is a clock's that was wrong
            if group.day >= today:
                self._of_today.add(group)
        self._of_all.forget()
        self._of_today.forget()

    def _describe(self, *, is_unused: bool) -> Figures:
        return {
            "source": "ledger",
            "timezone": str(self._zone),
            "priced": True,
            "is_unused": is_unused,
            "spans": [self._of_today.describe("today"), self._of_all.describe("fortnight")],
            "days": [
                {"day": day.isoformat(), **_figures(sums)} for day, sums in self._days.items()
            ],
        }


def _rows(
    sums: Mapping[str | None, Totals],
    order: Callable[[tuple[str | None, Totals]], tuple[float, ...]],
) -> list[Figures]:
    """Return the first rows, of what is more than refused calls."""
    used = (each for each in sums.items() if each[1].calls)
    return [_row(*each) for each in nlargest(SHOWN, used, key=order)]


def _size(named: tuple[str | None, Totals]) -> tuple[float, ...]:
    return named[1].money, named[1].calls


def _last(named: tuple[str | None, Totals]) -> tuple[float, ...]:
    return (named[1].last,)


def _row(name: str | None, sums: Totals) -> Figures:
    return {"name": name, **_figures(sums)}


def _figures(sums: Totals) -> Figures:
    """Return what `relay usage` would show of them."""
    return {
        "calls": sums.calls,
        "input": sums.input,
        "cache_read": sums.cache_read,
        "cache_write": sums.cache_write,
        "output": sums.output,
        "cost_usd": sums.money / MICRO,
        "estimate_usd": sums.estimate / MICRO,
        "is_notional": sums.notional > 0,
        "unpriced": sums.unpriced,
    }
