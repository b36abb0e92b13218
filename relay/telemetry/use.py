"""What calls have used since the process began: by model, by client, by session.

In memory alone, and so gone with the process. A page that shows more reads it elsewhere; what it
is handed has the same form.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from relay.telemetry.call import UNKNOWN, CallRecord
from relay.telemetry.metrics.costs import Pricing

SHOWN: Final = 20
"""Rows of each table at most: the latest used."""
# Names are an agent's own words, and a process runs for months.
_KEPT: Final = 1_000
_WRITTEN: Final = "cache_write"


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

    def add(self, tokens: Mapping[str, int], cost: float | None) -> None:
        """Take what one part of an answer used."""
        self.input += tokens.get("input", 0)
        self.cache_read += tokens.get("cache_read", 0)
        self.cache_write += sum(n for kind, n in tokens.items() if kind.startswith(_WRITTEN))
        self.output += tokens.get("output", 0)
        if cost is None:
            self.unpriced += 1
        else:
            self.cost += cost


class Sums:
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
        self._pricing: Pricing | None = None
        self.version = 0
        """Another one whenever there is news."""
        self._since = time.time()
        self._total = Sum()
        self._models, self._clients, self._sessions = Sums(), Sums(), Sums()

    def price(self, pricing: Pricing | None) -> None:
        """Estimate costs from now on, or no longer."""
        self._pricing = pricing
        self.version += 1

    def take(self, record: CallRecord) -> None:
        """Take a call that is over, if it used anything."""
        usage = record.usage
        if usage is None or not usage.tokens:
            return
        self.version += 1
        searches = usage.server_tool_requests.get("web_search", 0)
        sums = (self._total, self._clients.of(record.client), self._session(record))
        for each in sums:
            each.calls += 1
        for part in filter(lambda part: part.tokens, usage.parts):
            model = part.model or UNKNOWN
            by_model = self._models.of(model)
            by_model.calls += 1
            cost = self._cost(record, model, part.tokens, searches)
            searches = 0  # they are the answer's own
            for each in (*sums, by_model):
                each.add(part.tokens, cost)

    def _session(self, record: CallRecord) -> Sum:
        return self._sessions.of(record.session_id or UNKNOWN)

    def _cost(
        self, record: CallRecord, model: str, tokens: Mapping[str, int], searches: int
    ) -> float | None:
        if self._pricing is None:
            return None
        return self._pricing.cost(record.api, model, tokens, web_searches=searches)

    def report(self) -> dict[str, object]:
        """Return it as plain data; ``priced`` says whether costs are estimated at all."""
        return {
            "source": "memory",
            "since": self._since,
            "priced": self._pricing is not None,
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
