"""Rate limits and quotas as gauges: collected at each scrape, absent once past their reset.

Responses come far more often than anybody asks. So of those whose headers have the same names
only the latest is kept, with the time it came; their values are read when they are wanted. To read
them at once would take a fifth of what a call costs, and more.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from relay.http.grammar import Field
from relay.telemetry.rate_limits import (
    PREFIX,
    Book,
    Names,
    RateLimitState,
    clock_lead,
    read_limits,
)

_key: Final = attrgetter("key")
# Sets of header names: APIs have one or two. More at a time are read at once, and not kept.
_UNREAD_LIMIT: Final = 8
_GAUGES: Final[tuple[tuple[str, str, str, str], ...]] = (
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


class LimitGauges(Collector):
    """The gauges of all relays."""

    def __init__(self, registry: CollectorRegistry) -> None:
        kinds, windows = Names(), Names()
        self._books: defaultdict[str, _Books] = defaultdict(partial(_Books, kinds, windows))
        self._accounts: dict[str, str] = {}
        registry.register(self)

    def keep_only(self, accounts: Mapping[str, str]) -> None:
        """Keep what is known of these relays; of one whose account is another now, nothing."""
        for relay in [*self._books]:
            if relay not in accounts or self._accounts.get(relay) not in (None, accounts[relay]):
                del self._books[relay]
        self._accounts = dict(accounts)

    def take(self, relay: str, fields: Sequence[Field]) -> None:
        """Take a response's headers, whatever its status."""
        names = b"\n".join(map(_key, fields))
        if names.find(PREFIX) >= 0:  # ``in`` takes twenty times as long
            self._books[relay].keep(names, fields)

    def current(self, relay: str) -> tuple[list[RateLimitState], list[RateLimitState]]:
        """Return a relay's rate limits and quotas as they stand."""
        return self._books[relay].current() if relay in self._books else ([], [])

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Yield the families without samples, so that the registry knows their names."""
        for label, name, text, _ in _GAUGES:
            yield GaugeMetricFamily(name, text, labels=["relay", label])

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the families, for the registry."""
        for family, (label, _, _, value) in zip(self.describe(), _GAUGES, strict=True):
            for relay in self._books:
                limits, quotas = self.current(relay)
                for reading in limits if label == "kind" else quotas:
                    number = getattr(reading, value)
                    if number is not None:
                        family.add_metric([relay, reading.name], number)
            yield family


class _Books:
    """What one relay's API has said: read up to the last time that somebody asked."""

    def __init__(self, kinds: Names, windows: Names) -> None:
        self._kinds = Book(kinds)
        self._windows = Book(windows)
        self._unread: dict[bytes, tuple[Sequence[Field], float]] = {}

    def keep(self, names: bytes, fields: Sequence[Field]) -> None:
        """Keep a response's headers in place of the last ones that had the same names."""
        self._unread.pop(names, None)
        self._unread[names] = (fields, time.time())
        if len(self._unread) > _UNREAD_LIMIT:
            self._read()

    def current(self) -> tuple[list[RateLimitState], list[RateLimitState]]:
        """Return the rate limits and quotas as they stand."""
        self._read()
        now = time.time()
        return list(self._kinds.current(now)), list(self._windows.current(now))

    def _read(self) -> None:
        for fields, came_at in self._unread.values():
            limits, quotas = read_limits(fields)
            lead = clock_lead(fields, came_at)
            self._kinds.take(limits, came_at, lead)
            self._windows.take(quotas, came_at, lead)
        self._unread.clear()
