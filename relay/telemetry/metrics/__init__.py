"""From finished exchanges to Prometheus samples.

Every label set is closed: names from the configuration, words from the API's own lists and
``other`` for the rest, and no more than 32 models. A call is observed once, when it is over;
only what its pieces cost the relay counts at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from relay.http.grammar import Field
from relay.telemetry.call import UNKNOWN, Exchange
from relay.telemetry.metrics.catalogue import Catalogue
from relay.telemetry.metrics.costs import CostCounters, Pricing
from relay.telemetry.metrics.families import Families
from relay.telemetry.metrics.limits import LimitGauges
from relay.telemetry.rate_limits import Reading
from relay.telemetry.usage import Reading as UsageReading

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
        self._models: dict[str | None, str] = {None: OTHER}
        self._costs: CostCounters | None = None

    def prepare(self, states: Iterable[RelayState], clients: Iterable[str]) -> None:
        """Make the children of these relays, their grants and clients."""
        clients = list(clients)
        for state in states:
            self._all.make_children(state.relay, state.grant, clients)

    def price(self, pricing: Pricing | None) -> None:
        """Estimate costs from now on, or no longer; their metrics exist from the first time."""
        if pricing is not None or self._costs is not None:
            self._costs = self._costs or CostCounters(Families(self._registry))
            self._costs.pricing = pricing

    def begin(self, exchange: Exchange) -> None:
        """Count a call of a known relay in, and take what its pieces cost from now on."""
        relay = exchange.relay
        exchange.in_flight = True
        exchange.piece_overheads = self._all.overhead[relay, "chunk"]
        self._all.in_flight[(relay,)].value += 1

    def read_limits(self, relay: str, fields: Sequence[Field]) -> None:
        """Take the rate limits and quotas that a response states."""
        self._limits.take(relay, fields)

    def current_limits(self, relay: str) -> tuple[list[Reading], list[Reading]]:
        """Return a relay's rate limits and quotas as they stand."""
        return self._limits.current(relay)

    def observe(self, exchange: Exchange) -> None:
        """Take the samples of a call that is over; to be called once for each."""
        relay, operation, outcome = exchange.relay, exchange.operation, exchange.outcome
        code = UNKNOWN if exchange.code is None else str(exchange.code)
        self._all.requests[relay, exchange.client, operation, code, outcome].value += 1
        if exchange.rejection is not None:
            self._all.rejections[(exchange.rejection,)].value += 1
        if exchange.in_flight:
            exchange.in_flight = False
            self._all.in_flight[(relay,)].value -= 1
            self._observe_transfer(exchange)
            self._observe_times(exchange)
            if exchange.reading is not None:
                self._observe_usage(exchange, exchange.reading)

    def _observe_transfer(self, exchange: Exchange) -> None:
        relay, overhead = exchange.relay, exchange.request_overhead
        self._all.request_bytes[(relay,)].value += exchange.request_bytes
        self._all.response_bytes[(relay,)].value += exchange.response_bytes
        if overhead is not None:
            self._all.overhead[relay, "request"].observe(overhead)

    def _observe_times(self, exchange: Exchange) -> None:
        relay, request_id = exchange.relay, exchange.request_id
        outcome_class = "ok" if exchange.outcome in _GOOD_OUTCOMES else "error"
        duration = self._all.duration[relay, exchange.operation, outcome_class]
        if request_id:
            duration.observe_example(request_id, exchange.duration, time.time() - exchange.age)
        else:
            duration.observe(exchange.duration)
        first_byte = exchange.time_to_first_byte
        if first_byte is not None:
            self._all.first_byte[(relay,)].observe(first_byte)

    def _observe_usage(self, exchange: Exchange, reading: UsageReading) -> None:
        relay = exchange.relay
        if reading.error_type is not None and reading.error_where is not None:
            self._all.upstream_errors[relay, reading.error_type, reading.error_where].value += 1
        if reading.stop_reason is not None:
            self._all.stop_reasons[relay, reading.stop_reason].value += 1
        if reading.missing is not None:
            self._all.usage_missing[relay, reading.missing].value += 1
        for tool, requests in reading.server_tool_requests.items():
            self._all.server_tools[relay, tool].value += requests
        if reading.max_gap is not None:
            self._all.max_gap[(relay,)].observe(reading.max_gap)
        self._observe_model(exchange, reading)

    def _observe_model(self, exchange: Exchange, reading: UsageReading) -> None:
        relay, client = exchange.relay, exchange.client
        model = self._models.get(reading.model) or self._model_label(reading.model)
        for kind, count in reading.tokens.items():
            self._all.tokens[relay, client, model, kind].value += count
        if self._costs is not None:
            self._costs.take(exchange, reading, model)
        if reading.reasoning_tokens:
            self._all.reasoning[relay, model].value += reading.reasoning_tokens
        if reading.first_token_at is not None:
            self._observe_stream(exchange, reading, model)

    def _observe_stream(self, exchange: Exchange, reading: UsageReading, model: str) -> None:
        first_token = exchange.time_to_first_token
        if first_token is not None:
            self._all.first_token[exchange.relay, model].observe(first_token)
        pace = reading.seconds_per_output_token(exchange.finished or exchange.started)
        if pace is not None:
            self._all.per_token[exchange.relay, model].observe(pace)

    def _model_label(self, model: str | None) -> str:
        """Return the name of a model that is new, or ``other`` once there have been too many.

        A name with a lone surrogate, which JSON can spell, could not be exposed.
        """
        if model is None or not model.isprintable() or len(self._models) > MODEL_LIMIT:
            return OTHER
        self._models[model] = model
        return model

    def credential_read(self, grant: str, result: str) -> None:
        """Count a further reading of a grant's source."""
        self._all.credential_reloads[grant, result].value += 1

    def loaded(self) -> None:
        """Note that the configuration in force was loaded now."""
        self._all.last_reload.value = time.time()

    def reloaded(self, *, succeeded: bool) -> None:
        """Count a reload of the configuration."""
        self._all.config_reloads[("success" if succeeded else "failure",)].value += 1
        if succeeded:
            self.loaded()

    def loop_was_late(self, seconds: float) -> None:
        """Note how late the event loop was."""
        self._all.loop_lag.value = seconds

    def show(self, states: Iterable[RelayState]) -> None:
        """Set the gauges of the relays there are now, and forget those of others."""
        for gauge in (self._all.ready, self._all.up, self._all.connections):
            gauge.clear()
        self._all.upstream_info.clear()
        for state in states:
            self._all.ready[state.relay, state.grant].value = state.ready
            self._all.connections[state.relay, "idle"].value = state.idle_connections
            self._all.connections[state.relay, "active"].value = state.active_connections
            self._all.upstream_info.labels(state.relay).info({"upstream": state.upstream})
            if state.up is not None:
                self._all.up[(state.relay,)].value = state.up

    def expose(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition and its content type, in the format that is accepted."""
        encoder: Callable[[CollectorRegistry], bytes]
        try:
            encoder, content_type = choose_encoder(accept)
        except (ValueError, TypeError):  # a version that is none
            encoder, content_type = choose_encoder("")
        return encoder(self._registry), content_type
