"""Figures as people read them, and foreign text made harmless. Pure.

What an agent or an upstream chose (paths, methods, models) may hold terminal escapes,
text that turns the reading direction, or the markup of the library that draws: everything
that does not print is escaped here, and the drawing never parses markup.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

UNKNOWN: Final = "–"
LONGEST: Final = 200
"""Characters of a foreign text that are shown at most: more than a line has."""

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_UNITS: Final = (
    (_DAY, "d", _HOUR, "h"),
    (_HOUR, "h", _MINUTE, "min"),
    (_MINUTE, "min", 1, "s"),
)


def plain(text: str | None) -> str:
    """Return text with what does not print escaped, as the log does; a dash for none."""
    if text is None:
        return UNKNOWN
    cut = text[:LONGEST]
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def duration(seconds: float | None) -> str:
    """Return a time in two units at most: ``0.42 s``, ``4.2 s``, ``42 s``, ``2 h 10 min``."""
    if seconds is None:
        return UNKNOWN
    if seconds < 9.95:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    return _whole(round(seconds))


def _whole(seconds: int) -> str:
    if seconds < _MINUTE:
        return f"{seconds} s"
    large, large_unit, small, small_unit = next(unit for unit in _UNITS if seconds >= unit[0])
    rest = seconds % large // small
    return f"{seconds // large} {large_unit}" + (f" {rest} {small_unit}" if rest else "")


def reset(seconds: float | None) -> str:
    """Return when something resets: ``resets in 2 h 10 min``; empty where it is unknown."""
    if seconds is None:
        return ""
    return f"resets in {_whole(math.ceil(seconds))}" if seconds > 0 else "resets now"


def ago(seconds: float) -> str:
    """Return how long ago something was: ``4 s ago``; what is yet to be is just now."""
    return f"{_whole(round(max(0.0, seconds)))} ago"


def amount(value: float | None) -> str:
    """Return a count in three digits at most: ``999``, ``1.2k``, ``45k``, ``1.3M``."""
    if value is None:
        return UNKNOWN
    unit = ""
    for larger in ("k", "M", "G"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return (f"{value:.0f}" if value >= 9.95 or not unit else _short(value)) + unit


def rate(value: float) -> str:
    """Return a rate: ``0``, ``3.4``, ``42``."""
    return _short(value) if value < 9.95 else amount(value)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def percent(share: float | None) -> str:
    """Return a share: ``87 %``. Only all is ``100 %``, and only nothing ``0 %``."""
    if share is None:
        return UNKNOWN
    whole = round(share * 100)
    if whole in (0, 100) and share not in (0, 1):
        return "<1 %" if whole == 0 else ">99 %"
    return f"{whole} %"


def spending_limit(name: str, most: float, session: str | None) -> str:
    """Return what a client may spend: ``$20 a day``, ``2M tokens a session (ab12)``."""
    kind, _, period = plain(name).partition("_")
    if kind == "at":
        return f"{amount(most)} at once"
    what = f"${most:g}" if kind == "usd" else f"{amount(most)} {kind}"
    of_session = f" ({plain(session)[:8]})" if session else ""
    return f"{what} {'an' if period == 'hour' else 'a'} {period}{of_session}"


def outcome(name: str | None) -> str:
    """Return an outcome in words: ``upstream error``."""
    return plain(name).replace("_", " ")


def clock(time: float) -> str:
    """Return the local time of day, ``12:00:01``."""
    return f"{datetime.fromtimestamp(time, UTC).astimezone():%H:%M:%S}"
