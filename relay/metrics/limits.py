"""Rate limits and quotas as gauges: collected at each scrape, absent once past their reset."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from relay.framing import Field
from relay.ratelimits import Book, Reading, read_limits

_Value = Literal["limit", "remaining", "reset", "utilization"]

_GAUGES: Final[tuple[tuple[str, str, str, _Value], ...]] = (
    ("kind", "relay_ratelimit_limit", "The API's rate limit.", "limit"),
    ("kind", "relay_ratelimit_remaining", "What is left of the rate limit.", "remaining"),
    (
        "kind",
        "relay_ratelimit_reset_timestamp_seconds",
        "When the rate limit is whole again.",
        "reset",
    ),
    ("window", "relay_quota_utilization_ratio", "The share of the quota used.", "utilization"),
    (
        "window",
        "relay_quota_reset_timestamp_seconds",
        "When the quota's window begins anew.",
        "reset",
    ),
)


@dataclass(frozen=True, slots=True)
class _Books:
    """What one relay's API has said."""

    kind: Book = field(default_factory=Book)
    window: Book = field(default_factory=Book)


class LimitGauges(Collector):
    """The gauges of all relays."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._books: dict[str, _Books] = {}
        registry.register(self)

    def take(self, relay: str, fields: Iterable[Field]) -> None:
        """Read a response's headers, whatever its status."""
        limits, quotas = read_limits(fields)
        if limits or quotas:
            books = self._books.setdefault(relay, _Books())
            now = time.time()
            books.kind.take(limits, now)
            books.window.take(quotas, now)

    def current(self, relay: str) -> tuple[list[Reading], list[Reading]]:
        """Return a relay's rate limits and quotas as they stand."""
        books = self._books.get(relay, _Books())
        now = time.time()
        return list(books.kind.current(now)), list(books.window.current(now))

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the families, for the registry."""
        for label, name, text, value in _GAUGES:
            family = GaugeMetricFamily(name, text, labels=["relay", label])
            for relay in self._books:
                limits, quotas = self.current(relay)
                for reading in limits if label == "kind" else quotas:
                    number = getattr(reading, value)
                    if number is not None:
                        family.add_metric([relay, reading.name], number)
            yield family
