"""Sums by client and calendar period. Pure.

A sum is never reset: each period has its own, so a clock that is set forward and back finds
today's as it was. Of each client the periods that were used last are kept.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta, tzinfo
from typing import Final, NamedTuple

from relay.config.limits import ALL, MICRO
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


class Marks:
    """What somebody has spent, and up to where nothing is to be said of it.

    Most calls bring no limit to its line, nor to where it warns: so they are counted and let pass
    by two comparisons, and limits are looked at from the mark on. That saves a third of what
    limits cost a call.
    """

    __slots__ = ("label", "micro", "micro_mark", "tokens", "tokens_mark")

    def __init__(self) -> None:
        self.micro = self.tokens = 0
        self.label = ""
        """Whose limits the marks are of: a reload may bring a client under those of another."""
        self.forget_marks()

    def forget_marks(self) -> None:
        """Have limits looked at the next time."""
        self.micro_mark = self.tokens_mark = -math.inf

    def is_due(self, label: str) -> bool:
        """Whether limits have to be looked at, those of this label's."""
        return (
            self.micro >= self.micro_mark or self.tokens >= self.tokens_mark or self.label != label
        )

    def raise_marks(self, label: str) -> None:
        """Have no limit of this label's looked at, until marks say otherwise."""
        self.label = label
        self.micro_mark = self.tokens_mark = math.inf

    def add(self, spent: Spent) -> None:
        """Count more."""
        self.micro += spent.micro
        self.tokens += spent.tokens

    def mark(self, kind: str, left: float) -> None:
        """Have limits looked at once so much more is spent, in dollars or in tokens."""
        if kind == "usd":  # dollars are no whole numbers: rather once too often
            self.micro_mark = min(self.micro_mark, self.micro + left * MICRO - 1)
        else:
            self.tokens_mark = min(self.tokens_mark, self.tokens + left)


@dataclass(slots=True)
class _Sum:
    micro: int = 0
    tokens: int = 0


class ClientSums(Marks):
    """One client's sums; what is spent in the periods of now is in one place for all of them."""

    __slots__ = ("_sums", "keys")

    def __init__(self) -> None:
        super().__init__()
        self._sums: dict[str, _Sum] = {}
        """By period, the one that was added to last at the end."""
        self.keys: Keys = {}
        """The periods whose sums do not have it yet."""

    def turn(self, keys: Keys) -> None:
        """Let these be the periods of now."""
        if keys is not self.keys:
            self._book()
            self.keys = keys
            self.forget_marks()

    def of(self, key: str) -> Spent:
        """Return what was spent in a period."""
        found = self._sums.get(key)
        spent = NOTHING if found is None else Spent(found.micro, found.tokens)
        is_now = key in self.keys.values()
        return spent.plus(Spent(self.micro, self.tokens)) if is_now else spent

    def _book(self) -> None:
        sums = self._sums
        for key in self.keys.values():
            known = sums.pop(key, None) or _Sum()
            known.micro += self.micro
            known.tokens += self.tokens
            sums[key] = known
        self.micro = self.tokens = 0
        while len(sums) > _PERIODS_KEPT:
            del sums[next(iter(sums))]


class Sums:
    """What each client has spent in each period, and all together."""

    def __init__(self) -> None:
        self.of_all = ClientSums()
        self._clients: OrderedDict[str, ClientSums] = OrderedDict()

    def find(self, client: str) -> ClientSums:
        """Return a client's sums, now the last that were used."""
        known = self._clients.get(client)
        if known is None:
            known = self._clients[client] = ClientSums()
            if len(self._clients) > _CLIENTS_KEPT:
                self._clients.popitem(last=False)
        else:
            self._clients.move_to_end(client)
        return known

    def peek(self, client: str) -> ClientSums:
        """Return the same, without taking it for a call; ``all`` is all together."""
        return self.of_all if client == ALL else self._clients.get(client) or ClientSums()

    def add(self, client: str, keys: Keys, spent: Spent) -> ClientSums:
        """Add to a client's sums of the periods that these are the keys of, and to all's."""
        known, of_all = self.find(client), self.of_all
        if known.keys is not keys:
            known.turn(keys)
        if of_all.keys is not keys:
            of_all.turn(keys)
        micro, tokens = spent
        known.micro += micro
        known.tokens += tokens
        of_all.micro += micro
        of_all.tokens += tokens
        return known

    def of(self, client: str, key: str) -> Spent:
        """Return what a client has spent in a period."""
        return self.peek(client).of(key)

    def forget_marks(self) -> None:
        """Have limits looked at the next time."""
        for each in (self.of_all, *self._clients.values()):
            each.forget_marks()


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
