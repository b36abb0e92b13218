"""Sums by client and calendar period. Pure.

A sum is never reset: each period has its own, so a clock that is set forward and back finds
today's as it was. Of each client the periods that were used last are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta, tzinfo
from typing import Final, NamedTuple

from relay.config.schema import Per
from relay.telemetry.periods import PERIODS, day_of, midnight, next_day

HOUR_SECONDS: Final = 3600
BUCKET_SECONDS: Final = 900
"""What all periods are made of: time zones differ by whole quarters of an hour."""
# For each client: a month of days, a week of hours, and some.
_PERIODS_KEPT: Final = 256
# A folder has a thousand clients at a time. Whoever is forgotten begins at zero: so it takes ten
# thousand others, that called since.
_CLIENTS_KEPT: Final = 10_000

Keys = Mapping[Per, str]
"""What each period is called that a moment falls into."""


class Spent(NamedTuple):
    """What was spent: micro-dollars, and tokens without those that the cache had."""

    micro: int = 0
    tokens: int = 0

    def plus(self, other: Spent) -> Spent:
        """Return both together."""
        return Spent(self.micro + other.micro, self.tokens + other.tokens)


NOTHING: Final = Spent()


@dataclass(slots=True)
class _Sum:
    micro: int = 0
    tokens: int = 0


class _Client:
    """One client's sums; what is added to the periods of now is added up before."""

    __slots__ = ("_keys", "_micro", "_sums", "_tokens")

    def __init__(self) -> None:
        self._sums: dict[str, _Sum] = {}
        """By period, the one that was added to last at the end."""
        self._keys: Keys = {}
        self._micro = self._tokens = 0
        """What is yet to be added to the sums of the periods that these keys name."""

    def add(self, keys: Keys, spent: Spent) -> None:
        if keys is not self._keys:
            self._settle()
            self._keys = keys
        self._micro += spent.micro
        self._tokens += spent.tokens

    def of(self, key: str) -> Spent:
        if self._micro or self._tokens:
            self._settle()
        found = self._sums.get(key)
        return NOTHING if found is None else Spent(found.micro, found.tokens)

    def _settle(self) -> None:
        sums = self._sums
        for key in self._keys.values():
            known = sums.pop(key, None) or _Sum()
            known.micro += self._micro
            known.tokens += self._tokens
            sums[key] = known
        self._micro = self._tokens = 0
        while len(sums) > _PERIODS_KEPT:
            del sums[next(iter(sums))]


class Sums:
    """What each client has spent in each period."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, _Client] = OrderedDict()

    def add(self, client: str, keys: Keys, spent: Spent) -> None:
        """Add to a client's sums of the periods that these are the keys of."""
        known = self._clients.get(client)
        if known is None:
            known = self._clients[client] = _Client()
            if len(self._clients) > _CLIENTS_KEPT:
                self._clients.popitem(last=False)
        self._clients.move_to_end(client)
        known.add(keys, spent)

    def of(self, client: str, key: str) -> Spent:
        """Return what a client has spent in a period."""
        known = self._clients.get(client)
        return NOTHING if known is None else known.of(key)


class Calendar:
    """Periods as a time zone cuts them."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        self.zone = zone
        self._bucket = -1
        self._keys: Keys = {}

    def keys(self, moment: float) -> Keys:
        """Return what the periods are called that a moment falls into."""
        bucket = int(moment // BUCKET_SECONDS)
        if bucket != self._bucket:
            day = day_of(moment, self.zone)
            self._keys = {
                "hour": f"hour {int(moment // HOUR_SECONDS)}",
                "day": f"day {PERIODS['day'](day)}",
                "week": f"week {PERIODS['week'](day)}",
                "month": f"month {PERIODS['month'](day)}",
            }
            self._bucket = bucket
        return self._keys

    def end(self, per: Per, moment: float) -> float | None:
        """Return when the period ends that a moment falls into; None of a session."""
        if per == "session":
            return None
        if per == "hour":
            return (moment // HOUR_SECONDS + 1) * HOUR_SECONDS
        day = day_of(moment, self.zone)
        if per == "week":
            day += timedelta(days=6 - day.weekday())
        elif per == "month":
            day = (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
        return midnight(next_day(day), self.zone)

    def earliest(self, moment: float) -> float:
        """Return when the first of the periods began that a moment falls into."""
        day = day_of(moment, self.zone)
        monday = day - timedelta(days=day.weekday())
        return min(
            midnight(monday, self.zone),
            midnight(day.replace(day=1), self.zone),
            moment // HOUR_SECONDS * HOUR_SECONDS,
        )
