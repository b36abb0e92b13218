"""From finished exchanges to Prometheus samples.

Every label set is closed: names from the configuration, words from the API's own lists and
``other`` for the rest, and no more than 32 models. A call is observed once, when it is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from relay.bins import OVERHEAD_BOUNDS
from relay.exchange import ID_LIMIT, UNKNOWN, Exchange
from relay.framing import Field
from relay.metrics.catalogue import Catalogue
from relay.metrics.costs import CostCounters, Pricing
from relay.metrics.limits import LimitGauges
from relay.metrics.overhead import BinsHistogram
from relay.ratelimits import Reading
from relay.usage import Reading as UsageReading

MODEL_LIMIT: Final = 32
OTHER: Final = "other"
_GOOD_OUTCOMES: Final = frozenset({"ok", "client_abort"})


@dataclass(frozen=True, slots=True)
class RelayState:
    """What a scrape asks of a relay at that moment; ``up`` is None where nobody knows yet."""

    relay: str
    grant: str
    ready: bool
    up: bool | None
    upstream: str
    idle_connections: int
    active_connections: int

    @property
    def upstream_state(self) -> str:
        """``up``, in a word."""
        return "unknown" if self.up is None else "up" if self.up else "down"


class Metrics:
    """The relay's metrics on a registry of their own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._all = Catalogue(registry)
        self._limits = LimitGauges(registry)
        self._overhead = BinsHistogram(
            "relay_overhead_seconds",
            "The relay's own share: of a request until it goes out, and of each piece.",
            ("relay", "phase"),
            OVERHEAD_BOUNDS,
            registry,
        )
        self._models: set[str] = set()
        self._costs: CostCounters | None = None

    def prepare(self, states: Iterable[RelayState], clients: Iterable[str]) -> None:
        """Make the children of these relays, their grants and clients."""
        clients = list(clients)
        for state in states:
            self._all.make_children(state.relay, state.grant, clients)
            for phase in ("request", "chunk"):
                self._overhead.labels(state.relay, phase)

    def price(self, pricing: Pricing | None) -> None:
        """Estimate costs from now on, or no longer; their metrics exist from the first time."""
        if pricing is not None or self._costs is not None:
            self._costs = self._costs or CostCounters(self._registry)
            self._costs.pricing = pricing

    def begin(self, exchange: Exchange) -> None:
        """Count a call of a known relay in."""
        exchange.in_flight = True
        self._all.in_flight.labels(exchange.relay).inc()

    def read_limits(self, relay: str, fields: Iterable[Field]) -> None:
        """Take the rate limits and quotas that a response states."""
        self._limits.take(relay, fields)

    def current_limits(self, relay: str) -> tuple[list[Reading], list[Reading]]:
        """Return a relay's rate limits and quotas as they stand."""
        return self._limits.current(relay)

    def observe(self, exchange: Exchange) -> None:
        """Take the samples of a call that is over; to be called once for each."""
        code = UNKNOWN if exchange.code is None else str(exchange.code)
        self._all.requests.labels(
            exchange.relay, exchange.client, exchange.operation, code, exchange.outcome
        ).inc()
        if exchange.rejection is not None:
            self._all.rejections.labels(exchange.rejection).inc()
        if exchange.in_flight:
            exchange.in_flight = False
            self._all.in_flight.labels(exchange.relay).dec()
            self._observe_transfer(exchange)
            self._observe_times(exchange)
            self._observe_usage(exchange)

    def _observe_transfer(self, exchange: Exchange) -> None:
        relay = exchange.relay
        self._all.request_bytes.labels(relay).inc(exchange.request_bytes)
        self._all.response_bytes.labels(relay).inc(exchange.response_bytes)
        self._overhead.labels(relay, "chunk").merge(exchange.piece_overheads)
        if exchange.request_overhead is not None:
            self._overhead.labels(relay, "request").observe(exchange.request_overhead)

    def _observe_times(self, exchange: Exchange) -> None:
        relay = exchange.relay
        outcome_class = "ok" if exchange.outcome in _GOOD_OUTCOMES else "error"
        self._all.duration.labels(relay, exchange.operation, outcome_class).observe(
            exchange.duration, _exemplar(exchange.request_id)
        )
        if exchange.time_to_first_byte is not None:
            self._all.first_byte.labels(relay).observe(exchange.time_to_first_byte)

    def _observe_usage(self, exchange: Exchange) -> None:
        reading, relay = exchange.reading, exchange.relay
        if reading is None:
            return
        if reading.error_type is not None and reading.error_where is not None:
            labels = (relay, reading.error_type, reading.error_where)
            self._all.upstream_errors.labels(*labels).inc()
        if reading.stop_reason is not None:
            self._all.stop_reasons.labels(relay, reading.stop_reason).inc()
        if reading.missing is not None:
            self._all.usage_missing.labels(relay, reading.missing).inc()
        for tool, requests in reading.server_tool_requests.items():
            self._all.server_tools.labels(relay, tool).inc(requests)
        if reading.max_gap is not None:
            self._all.max_gap.labels(relay).observe(reading.max_gap)
        self._observe_model(exchange, reading)

    def _observe_model(self, exchange: Exchange, reading: UsageReading) -> None:
        relay, model = exchange.relay, self._model_label(reading.model)
        for kind, count in reading.tokens.items():
            self._all.tokens.labels(relay, exchange.client, model, kind).inc(count)
        if self._costs is not None:
            self._costs.take(exchange, reading, model)
        if reading.reasoning_tokens:
            self._all.reasoning.labels(relay, model).inc(reading.reasoning_tokens)
        if exchange.time_to_first_token is not None:
            self._all.first_token.labels(relay, model).observe(exchange.time_to_first_token)
        ended_at = exchange.finished or exchange.started
        pace = reading.seconds_per_output_token(ended_at)
        if pace is not None:
            self._all.per_token.labels(relay, model).observe(pace)

    def _model_label(self, model: str | None) -> str:
        """Return the model's name, or ``other`` once there have been too many.

        A name with a lone surrogate, which JSON can spell, could not be exposed.
        """
        if model is None or not model.isprintable():
            return OTHER
        if model not in self._models and len(self._models) < MODEL_LIMIT:
            self._models.add(model)
        return model if model in self._models else OTHER

    def credential_read(self, grant: str, result: str) -> None:
        """Count a further reading of a grant's source."""
        self._all.credential_reloads.labels(grant, result).inc()

    def loaded(self) -> None:
        """Note that the configuration in force was loaded now."""
        self._all.last_reload.set_to_current_time()

    def reloaded(self, *, succeeded: bool) -> None:
        """Count a reload of the configuration."""
        self._all.config_reloads.labels("success" if succeeded else "failure").inc()
        if succeeded:
            self.loaded()

    def loop_was_late(self, seconds: float) -> None:
        """Note how late the event loop was."""
        self._all.loop_lag.set(seconds)

    def show(self, states: Iterable[RelayState]) -> None:
        """Set the gauges of the relays there are now, and forget those of others."""
        for gauge in (self._all.ready, self._all.up, self._all.connections):
            gauge.clear()
        self._all.upstream_info.clear()
        for state in states:
            self._all.ready.labels(state.relay, state.grant).set(state.ready)
            self._all.connections.labels(state.relay, "idle").set(state.idle_connections)
            self._all.connections.labels(state.relay, "active").set(state.active_connections)
            self._all.upstream_info.labels(state.relay).info({"upstream": state.upstream})
            if state.up is not None:
                self._all.up.labels(state.relay).set(state.up)

    def expose(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition and its content type, in the format that is accepted."""
        encoder: Callable[[CollectorRegistry], bytes]
        try:
            encoder, content_type = choose_encoder(accept)
        except (ValueError, TypeError):  # a version that is none
            encoder, content_type = choose_encoder("")
        return encoder(self._registry), content_type


def _exemplar(request_id: str) -> dict[str, str] | None:
    """Return the exemplar for a request id: 128 characters in all, its name's included."""
    room = ID_LIMIT - len("request_id")
    return {"request_id": request_id[:room]} if request_id else None
