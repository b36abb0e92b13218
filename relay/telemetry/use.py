"""What calls have used since the process began: by model, by client, by session.

In memory alone, and so gone with the process. A page that shows more reads it elsewhere; what it
is handed has the same form.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.telemetry.call import UNKNOWN, CallRecord
from relay.telemetry.usage import CACHE_WRITES, Part

if TYPE_CHECKING:
    from relay.telemetry.prices import Prices

SHOWN: Final = 20
"""Rows of each table at most: the latest used."""
# Names are an agent's own words, and a process runs for months.
_KEPT: Final = 1_000


@dataclass(slots=True)
class Sum:
    """Tokens by direction, and what they may have cost."""

    calls: int = 0
    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    cost: float = 0.0
    """US dollars, by list prices, of what has a price."""
    unpriced: int = 0
    """Calls, or parts of them, whose model has none."""

    def add(self, other: Sum) -> None:
        """Take what one part of an answer used, or all of it."""
        self.calls += other.calls
        self.input += other.input
        self.cache_read += other.cache_read
        self.cache_write += other.cache_write
        self.output += other.output
        self.cost += other.cost
        self.unpriced += other.unpriced


class SumsByName:
    """Sums by name: no more than so many, the longest unused gone first."""

    def __init__(self) -> None:
        self._sums: dict[str, Sum] = {}
        """In the order of their last use."""

    def of(self, name: str) -> Sum:
        """Return the sum of a name, now the latest used."""
        found = self._sums.pop(name) if name in self._sums else Sum()
        self._sums[name] = found
        if len(self._sums) > _KEPT:
            del self._sums[next(iter(self._sums))]
        return found

    def latest(self) -> Iterable[tuple[str, Sum]]:
        """Return the latest used, the very latest first."""
        return list(reversed(self._sums.items()))[:SHOWN]


class Use:
    """What all calls have used since the start."""

    def __init__(self) -> None:
        self._prices: Prices | None = None
        self.version = 0
        """Another one whenever there is news."""
        self._since = time.time()
        self._total = Sum()
        self._models, self._clients, self._sessions = SumsByName(), SumsByName(), SumsByName()

    def price(self, prices: Prices | None) -> None:
        """Estimate costs from now on, or no longer."""
        self._prices = prices
        self.version += 1

    def take(self, record: CallRecord) -> None:
        """Take a call that is over, if it used anything."""
        usage = record.usage
        if usage is None:
            return
        searches = usage.server_tool_requests.get("web_search", 0)
        whole: Sum | None = None
        for part in usage.parts:
            if not part.tokens:
                continue
            used = self._used(record, part, searches, usage.tier)
            searches = 0  # they are the answer's own
            self._models.of(part.model or UNKNOWN).add(used)
            if whole is None:
                whole = used
            else:
                whole.add(used)
        if whole is not None:
            whole.calls = 1
            self.version += 1
            self._total.add(whole)
            self._clients.of(record.client).add(whole)
            self._sessions.of(record.session_id or UNKNOWN).add(whole)

    def _used(self, record: CallRecord, part: Part, searches: int, tier: str | None) -> Sum:
        """Return what one part of an answer comes to."""
        get = part.tokens.get
        five_minutes, hour, unknown = CACHE_WRITES  # a generator would take as long as all else
        written = get(five_minutes, 0) + get(hour, 0) + get(unknown, 0)
        used = Sum(1, get("input", 0), get("cache_read", 0), written, get("output", 0))
        if self._prices is not None:
            model = part.model or UNKNOWN
            cost = self._prices.cost(
                record.api, model, part.tokens, web_searches=searches, tier=tier
            )
            used.cost, used.unpriced = cost or 0.0, int(cost is None)
        return used

    def report(self) -> dict[str, object]:
        """Return it as plain data; ``priced`` says whether costs are estimated at all."""
        return {
            "source": "memory",
            "since": self._since,
            "priced": self._prices is not None,
            "is_unused": not self._total.calls,
            "spans": [self._span()],
        }

    def _span(self) -> dict[str, object]:
        return {
            "name": "start",
            "total": _row("", self._total),
            "models": [_row(name, each) for name, each in self._models.latest()],
            "clients": [_row(name, each) for name, each in self._clients.latest()],
            "sessions": [_row(name, each) for name, each in self._sessions.latest()],
        }


def _row(name: str, each: Sum) -> dict[str, str | int | float | None]:
    return {
        "name": None if name == UNKNOWN else name,
        "calls": each.calls,
        "input": each.input,
        "cache_read": each.cache_read,
        "cache_write": each.cache_write,
        "output": each.output,
        "cost_usd": round(each.cost, 6),
        "unpriced": each.unpriced,
    }
