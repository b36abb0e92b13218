"""Rate limits and quotas as an API's response headers state them.

Readings are kept until the reset they name: past it, the value is gone, for an absent one
misleads nobody. Resets are times on the API's clock, which the answer's ``Date`` tells; where
this host's is another, they are moved to it. Pure: the time is handed in, as seconds since
the epoch.

Source: https://docs.anthropic.com/en/api/rate-limits#response-headers; the unified ones are
what Claude subscriptions get, one set for each window (``5h``, ``7d``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from relay.http.grammar import Field

KIND_LIMIT: Final = 32
"""Kinds, and windows, of all relays: more than the API has ever had."""
WITHOUT_RESET_SECONDS: Final = 300.0

PREFIX: Final = b"anthropic-ratelimit-"
_KIND: Final = re.compile(r"([a-z0-9]+(?:[-_][a-z0-9]+)*)-(limit|remaining|reset)")
_WINDOW: Final = re.compile(r"unified-([a-z0-9]+(?:[-_][a-z0-9]+)*)-(utilization|reset)")
# A reset further away than this is no reset: the longest window is a week.
_FARTHEST_RESET_SECONDS: Final = 60 * 86400.0

# Seconds. ``Date`` has whole ones, and an answer is some on its way; clocks that are set agree.
_SAME_CLOCK_SECONDS: Final = 10.0
_DATE: Final = b"date"


@dataclass(frozen=True, slots=True)
class RateLimitState:
    """One kind's, or window's, values in one response; None where it does not state them."""

    name: str
    limit: float | None = None
    remaining: float | None = None
    utilization: float | None = None
    reset: float | None = None
    """Seconds since the epoch."""

    def stated(self) -> dict[str, float]:
        """Return the values that were stated, by name."""
        values = {
            "limit": self.limit,
            "remaining": self.remaining,
            "utilization": self.utilization,
            "reset": self.reset,
        }
        return {name: value for name, value in values.items() if value is not None}


def read_limits(fields: Iterable[Field]) -> tuple[list[RateLimitState], list[RateLimitState]]:
    """Return the rate limits by kind, and the quotas by window."""
    kinds: dict[str, dict[str, float]] = {}
    windows: dict[str, dict[str, float]] = {}
    for field in fields:
        if not field.key.startswith(PREFIX):
            continue
        name = field.key[len(PREFIX) :].decode("ascii")
        unified = name.startswith("unified-")
        match = (_WINDOW if unified else _KIND).fullmatch(name)
        if match is None:
            continue
        value = _number(field.value, is_time=match[2] == "reset")
        if value is not None:
            into = windows if unified else kinds
            key = match[1] if unified else match[1].replace("-", "_")
            into.setdefault(key, {})[match[2]] = value
    return _readings(kinds), _readings(windows)


def _readings(values: dict[str, dict[str, float]]) -> list[RateLimitState]:
    return [RateLimitState(name, **parts) for name, parts in values.items()]


def _number(value: bytes, *, is_time: bool) -> float | None:
    """Return a finite number of at least 0: plain, or an RFC 3339 time as seconds."""
    text = value.decode("latin-1")
    try:
        number = float(text)
    except ValueError:
        if not is_time:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        number = moment.timestamp() if moment.tzinfo else math.nan
    return number if math.isfinite(number) and number >= 0 else None


def clock_lead(fields: Iterable[Field], now: float) -> float:
    """Return how many seconds this host's clock is ahead of the API's, by the answer's ``Date``.

    Of several, the one next to this clock counts: an LLM proxy adds its own, and what it has
    kept from an earlier answer is old on any clock.
    """
    dates = [_http_date(field.value) for field in fields if field.key == _DATE]
    leads = [now - date for date in dates if date is not None]
    lead = min(leads, key=abs, default=0.0)
    return lead if abs(lead) > _SAME_CLOCK_SECONDS else 0.0


def _http_date(value: bytes) -> float | None:
    try:
        return parsedate_to_datetime(value.decode("latin-1")).timestamp()
    except (ValueError, OverflowError):
        return None


class Names:
    """The names that there may be: the first that come, so that labels stay a closed set."""

    def __init__(self) -> None:
        self._admitted: set[str] = set()

    def admit(self, name: str) -> bool:
        """Whether a name is among the first 32."""
        if len(self._admitted) < KIND_LIMIT:
            self._admitted.add(name)
        return name in self._admitted


class Book:
    """The latest readings of one relay, each until its reset."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._entries: dict[str, tuple[RateLimitState, float]] = {}

    def take(self, readings: Iterable[RateLimitState], now: float, lead: float = 0.0) -> None:
        """Take new readings, by a clock that is so many seconds behind ``now``'s."""
        self._forget(now)
        for reading in readings:
            if self._names.admit(reading.name):
                reset = None if reading.reset is None else reading.reset + lead
                moved = replace(reading, reset=reset)
                self._entries[reading.name] = (moved, _expiry(moved, now))

    def current(self, now: float) -> Iterator[RateLimitState]:
        """Yield the readings whose reset has not passed."""
        self._forget(now)
        for reading, _ in list(self._entries.values()):
            yield reading

    def _forget(self, now: float) -> None:
        self._entries = {name: entry for name, entry in self._entries.items() if now < entry[1]}


def _expiry(reading: RateLimitState, now: float) -> float:
    if reading.reset is None or reading.reset > now + _FARTHEST_RESET_SECONDS:
        return now + WITHOUT_RESET_SECONDS
    return reading.reset
