"""Days, weeks and months in a time zone, and the moments at which they begin. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Final

_DAYS: Final = re.compile(r"(\d{1,5})d", re.ASCII)
_FIRST_DAY: Final = date(1970, 1, 1)
_LAST_YEAR: Final = 9998


def day_of(moment: float, zone: tzinfo) -> date:
    """Return the day in which a moment falls; nonsense is brought within what has a date."""
    try:
        day = datetime.fromtimestamp(moment, zone).date()
    except (ValueError, OverflowError, OSError):
        return date(1970 if moment < 0 else _LAST_YEAR, 1, 1)
    return min(day, date(_LAST_YEAR, 1, 1))


def midnight(day: date, zone: tzinfo) -> float:
    """Return when a day begins, in Unix seconds."""
    return datetime.combine(day, time.min, zone).timestamp()


def next_day(day: date) -> date:
    """Return the day after."""
    return day + timedelta(days=1)


def first_day(text: str, today: date) -> date:
    """Return the day that ``7d`` or ``2026-11-30`` names; the first that calls can be of, at least.

    Raises:
        ValueError: It names none.
    """
    days = _DAYS.fullmatch(text)
    day = today - timedelta(days=int(days[1])) if days else date.fromisoformat(text)
    return max(day, _FIRST_DAY)


def _week(day: date) -> str:
    return (day - timedelta(days=day.weekday())).isoformat()


def _month(day: date) -> str:
    return f"{day:%Y-%m}"


PERIODS: Final[Mapping[str, Callable[[date], str]]] = {
    "day": date.isoformat,
    "week": _week,
    "month": _month,
}
"""What a day's period is called: the day, its week's Monday, its month."""
