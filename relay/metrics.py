"""From finished exchanges to Prometheus samples.

Every label set is closed, and every child exists from the start, so that ``rate()`` sees a
first failure. Names and buckets are a contract with dashboards and alerts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.exposition import choose_encoder

from relay import __version__
from relay.exchange import UNKNOWN, Exchange
from relay.routing import OPERATIONS

DURATION_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200)
FIRST_BYTE_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 30, 60, 120)
REJECTIONS: Final = (
    "token",
    "host",
    "origin",
    "target",
    "path",
    "relay",
    "framing",
    "too_large",
    "draining",
)

_ERROR_CODES: Final = ("400", "401", "403", "404", "413", "429", "500", "502", "503", "529")
_FROM_THE_START: Final = (
    ("ok", "200"),
    ("stream_error", "200"),
    ("truncated", "200"),
    ("connect_error", UNKNOWN),
    ("timeout", UNKNOWN),
    ("client_abort", "200"),
    ("client_abort", UNKNOWN),
    ("rejected", UNKNOWN),
    ("internal_error", UNKNOWN),
    *(("upstream_error", code) for code in _ERROR_CODES),
)
_GOOD_OUTCOMES: Final = frozenset({"ok", "client_abort"})

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types


@dataclass(frozen=True, slots=True)
class RelayState:
    """What a scrape asks of a relay at that moment; ``up`` is None where nobody knows yet."""

    relay: str
    grant: str
    ready: bool
    up: bool | None


class Metrics:
    """The relay's metrics on a registry of their own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._requests = Counter(
            "relay_requests_total",
            "Calls that are over, by what became of them.",
            ["relay", "client", "operation", "code", "outcome"],
            registry=registry,
        )
        self._in_flight = Gauge(
            "relay_requests_in_flight", "Calls that run now.", ["relay"], registry=registry
        )
        self._duration = Histogram(
            "relay_request_duration_seconds",
            "Time from a request's head to the end of its answer.",
            ["relay", "operation", "outcome_class"],
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self._first_byte = Histogram(
            "relay_time_to_first_byte_seconds",
            "Time from a request's head to the response's.",
            ["relay"],
            buckets=FIRST_BYTE_BUCKETS,
            registry=registry,
        )
        self._rejections = Counter(
            "relay_rejections_total",
            "Calls that the relay refused.",
            ["reason"],
            registry=registry,
        )
        self._ready = Gauge(
            "relay_credential_ready",
            "Whether the relay's grant has a value (1) or not (0).",
            ["relay", "grant"],
            registry=registry,
        )
        self._up = Gauge(
            "relay_upstream_up",
            "Whether the upstream could be reached (1) or not (0) when last tried.",
            ["relay"],
            registry=registry,
        )
        Info("relay_build", "The relay's version.", registry=registry).info(
            {"version": __version__}
        )
        for reason in REJECTIONS:
            self._rejections.labels(reason)
        self._make_children(UNKNOWN, UNKNOWN, ["other"], [("rejected", UNKNOWN)])

    def prepare(self, relays: Iterable[str], clients: Iterable[str]) -> None:
        """Make the children of these relays and clients."""
        clients = list(clients)
        for relay in relays:
            self._in_flight.labels(relay)
            self._first_byte.labels(relay)
            for client in clients:
                self._make_children(relay, client, OPERATIONS, _FROM_THE_START)
            # A call whose token was refused belongs to no client.
            self._make_children(relay, UNKNOWN, OPERATIONS, [("rejected", UNKNOWN)])
            for operation in OPERATIONS:
                for outcome_class in ("ok", "error"):
                    self._duration.labels(relay, operation, outcome_class)

    def _make_children(
        self,
        relay: str,
        client: str,
        operations: Iterable[str],
        ends: Iterable[tuple[str, str]],
    ) -> None:
        ends = list(ends)
        for operation in operations:
            for outcome, code in ends:
                self._requests.labels(relay, client, operation, code, outcome)

    def begin(self, exchange: Exchange) -> None:
        """Count a call of a known relay in."""
        exchange.in_flight = True
        self._in_flight.labels(exchange.relay).inc()

    def observe(self, exchange: Exchange) -> None:
        """Take the samples of a call that is over; to be called once for each."""
        code = UNKNOWN if exchange.code is None else str(exchange.code)
        self._requests.labels(
            exchange.relay, exchange.client, exchange.operation, code, exchange.outcome
        ).inc()
        if exchange.rejection is not None:
            self._rejections.labels(exchange.rejection).inc()
        if not exchange.in_flight:
            return
        self._in_flight.labels(exchange.relay).dec()
        outcome_class = "ok" if exchange.outcome in _GOOD_OUTCOMES else "error"
        self._duration.labels(exchange.relay, exchange.operation, outcome_class).observe(
            exchange.duration
        )
        if exchange.time_to_first_byte is not None:
            self._first_byte.labels(exchange.relay).observe(exchange.time_to_first_byte)

    def show(self, states: Iterable[RelayState]) -> None:
        """Set the gauges of the relays there are now, and forget those of others."""
        self._ready.clear()
        self._up.clear()
        for state in states:
            self._ready.labels(state.relay, state.grant).set(state.ready)
            if state.up is not None:
                self._up.labels(state.relay).set(state.up)

    def expose(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition and its content type, in the format that is accepted."""
        encoder: Callable[[CollectorRegistry], bytes]
        try:
            encoder, content_type = choose_encoder(accept)
        except ValueError:  # a version that is none
            encoder, content_type = choose_encoder("")
        return encoder(self._registry), content_type
