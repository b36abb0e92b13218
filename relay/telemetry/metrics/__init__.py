"""From finished records to Prometheus samples.

Every label set is closed: names from the configuration, words from the API's own lists and
``other`` for the rest, and no more than 32 models. A call is observed once, when it is over;
only what its pieces cost the relay counts at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder

from relay.http.grammar import Field
from relay.telemetry.call import GOOD_OUTCOMES, UNKNOWN, CallRecord
from relay.telemetry.metrics.catalogue import Catalogue
from relay.telemetry.metrics.costs import CostCounters
from relay.telemetry.metrics.dropped import DroppedCounter, Lossy
from relay.telemetry.metrics.families import Families
from relay.telemetry.metrics.limits import LimitGauges
from relay.telemetry.metrics.spending import Accounts, SpendingMetrics
from relay.telemetry.metrics.states import HopState, RelayState
from relay.telemetry.rate_limits import RateLimitState
from relay.telemetry.spending import Spending
from relay.telemetry.usage import Usage

if TYPE_CHECKING:
    from relay.telemetry.prices import Prices

__all__ = ["HopState", "Metrics", "RelayState"]

MODEL_LIMIT: Final = 32
OTHER: Final = "other"


class Metrics:
    """The relay's metrics on a registry of their own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._all = Catalogue(registry)
        self._limits = LimitGauges(registry)
        self._models: dict[str | None, str] = {None: OTHER}
        self._costs: CostCounters | None = None
        self._dropped: dict[Lossy, DroppedCounter] = {}
        self._spending: SpendingMetrics | None = None

    def prepare(self, states: Iterable[RelayState], clients: Iterable[str]) -> None:
        """Make the children of these relays, their grants and clients, and let go of others'."""
        states, clients = list(states), list(clients)
        for state in states:
            self._all.make_children(state, clients)
        self._keep_only(states)

    def _keep_only(self, states: Iterable[RelayState]) -> None:
        """Forget what is shown of relays that a reload removed, or gave another account."""
        accounts = {state.relay: f"{state.grant} {state.upstream}" for state in states}
        self._limits.keep_only(accounts)
        for labels, number in list(self._all.in_flight.items()):
            if labels[0] not in accounts and not number.value:
                del self._all.in_flight[labels]

    def price(self, prices: Prices | None) -> None:
        """Estimate costs from now on, or no longer; their metrics exist from the first time."""
        if prices is not None or self._costs is not None:
            self._costs = self._costs or CostCounters(Families(self._registry))
            self._costs.prices = prices

    def watch(self, what: Lossy, dropped: Callable[[], int]) -> None:
        """Show from now on how much of something was lost."""
        if what not in self._dropped:
            self._dropped[what] = DroppedCounter(Families(self._registry), what, dropped)

    def watch_limits(self, spending: Spending, accounts: Accounts) -> None:
        """Show from now on what of limits is used."""
        if self._spending is None:
            self._spending = SpendingMetrics(Families(self._registry), spending, accounts)

    def begin(self, record: CallRecord) -> None:
        """Count a call of a known relay in, and take what its pieces cost from now on."""
        relay = record.relay
        record.in_flight = True
        record.piece_overheads = self._all.overhead[relay, "chunk"]
        self._all.in_flight[(relay,)].value += 1

    def begin_leg(self, record: CallRecord) -> None:
        """Take what the pieces of a further leg cost; the call itself is counted once."""
        record.piece_overheads = self._all.overhead[record.relay, "chunk"]

    def end_leg(self, record: CallRecord) -> None:
        """Take what the request of a further leg cost, once that is over."""
        self._observe_request_overhead(record)

    def refused_return(self, reason: str) -> None:
        """Count what came back from a hop, or claimed to, and was refused: no call of its own."""
        self._all.rejections[(reason,)].value += 1

    def read_limits(self, relay: str, fields: Sequence[Field]) -> None:
        """Take the rate limits and quotas that a response states."""
        self._limits.take(relay, fields)

    def current_limits(self, relay: str) -> tuple[list[RateLimitState], list[RateLimitState]]:
        """Return a relay's rate limits and quotas as they stand."""
        return self._limits.current(relay)

    def observe(self, record: CallRecord) -> None:
        """Take the samples of a call that is over; to be called once for each."""
        relay, operation, outcome = record.relay, record.operation, record.outcome
        code = UNKNOWN if record.code is None else str(record.code)
        self._all.requests[relay, record.client_label, operation, code, outcome].value += 1
        if record.rejection is not None:
            self._all.rejections[(record.rejection,)].value += 1
        if record.in_flight:
            record.in_flight = False
            self._all.in_flight[(relay,)].value -= 1
            self._observe_bytes(record)
            if outcome != "rejected":
                self._observe_times(record)
            if record.usage is not None:
                self._observe_usage(record, record.usage)
            if record.chain is not None:
                self._all.hops.observe(record)

    def _observe_bytes(self, record: CallRecord) -> None:
        self._all.request_bytes[(record.relay,)].value += record.request_bytes
        self._all.response_bytes[(record.relay,)].value += record.response_bytes

    def _observe_times(self, record: CallRecord) -> None:
        """Observe how long a call took; a refused one's time says nothing of any API."""
        relay, request_id = record.relay, record.request_id
        self._observe_request_overhead(record)
        outcome_class = "ok" if record.outcome in GOOD_OUTCOMES else "error"
        duration = self._all.duration[relay, record.operation, outcome_class]
        if request_id:
            duration.observe_example(request_id, record.duration, record.ended)
        else:
            duration.observe(record.duration)
        first_byte = record.time_to_first_byte
        if first_byte is not None:
            self._all.first_byte[(relay,)].observe(first_byte)

    def _observe_request_overhead(self, record: CallRecord) -> None:
        overhead = record.request_overhead
        if overhead is not None:
            self._all.overhead[record.relay, "request"].observe(overhead)

    def _observe_usage(self, record: CallRecord, usage: Usage) -> None:
        """Observe how the answer went, and what the API said in it, or in each attempt's."""
        if record.chain is None:
            self._observe_said(record, usage)
        else:
            for each in record.attempts:
                if each.usage is not None:
                    self._observe_said(record, each.usage)
        if usage.max_gap is not None:
            self._all.max_gap[(record.relay,)].observe(usage.max_gap)
        if usage.first_token_at is not None:
            self._observe_stream(record, usage)

    def _observe_said(self, record: CallRecord, usage: Usage) -> None:
        relay = record.relay
        if usage.error_type is not None and usage.error_where is not None:
            self._all.upstream_errors[relay, usage.error_type, usage.error_where].value += 1
        if usage.stop_reason is not None:
            self._all.stop_reasons[relay, usage.stop_reason].value += 1
        if usage.missing is not None:
            self._all.usage_missing[relay, usage.missing].value += 1
        for tool, requests in usage.server_tool_requests.items():
            self._all.server_tools[relay, tool].value += requests
        self._observe_tokens(record, usage)

    def _observe_tokens(self, record: CallRecord, usage: Usage) -> None:
        relay, client = record.relay, record.client_label
        labels = [self._model_label(each.model) for each in usage.parts]
        for part, label in zip(usage.parts, labels, strict=True):
            for kind, count in part.tokens.items():
                self._all.tokens[relay, client, label, kind].value += count
        if self._costs is not None:
            self._costs.take(record, usage, labels)
        if usage.reasoning_tokens:
            self._all.reasoning[relay, labels[0]].value += usage.reasoning_tokens

    def _observe_stream(self, record: CallRecord, usage: Usage) -> None:
        model = self._model_label(usage.model)
        first_token = record.time_to_first_token
        if first_token is not None:
            self._all.first_token[record.relay, model].observe(first_token)
        pace = usage.seconds_per_output_token(record.finished or record.started)
        if pace is not None:
            self._all.per_token[record.relay, model].observe(pace)

    def _model_label(self, model: str | None) -> str:
        """Return a model's name, or ``other`` of one that is new when there have been too many.

        A name with a lone surrogate, which JSON can spell, could not be exposed.
        """
        if (known := self._models.get(model)) is not None:
            return known
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
        """Note how late the event loop was, at each of its ticks."""
        self._all.loop_lag.observe(seconds)

    def log_lines_dropped(self, count: int) -> None:
        """Count lines of the log that nobody took in time."""
        self._all.log_lines_dropped.value += count

    def show(self, states: Iterable[RelayState]) -> None:
        """Set the gauges of the relays there are now, and forget those of others."""
        states = list(states)
        self._keep_only(states)
        for each in self._dropped.values():
            each.show()
        if self._spending is not None:
            self._spending.show()
        shown = self._all
        for gauge in (shown.ready, shown.refused, shown.expiry, shown.up, shown.connections):
            gauge.clear()
        self._all.upstream_info.clear()
        self._all.hops.show(states)
        for state in states:
            self._all.ready[state.relay, state.grant].value = state.ready
            self._all.refused[state.relay, state.grant].value = state.refused
            self._all.connections[state.relay, "idle"].value = state.idle_connections
            self._all.connections[state.relay, "active"].value = state.active_connections
            self._all.upstream_info.labels(state.relay).info({"upstream": state.upstream})
            if state.expires_at is not None:
                self._all.expiry[state.relay, state.grant].value = state.expires_at
            if state.up is not None:
                self._all.up[(state.relay,)].value = state.up

    def families(self) -> Iterator[Metric]:
        """Yield the metrics one after another, each as it is at that moment."""
        yield from self._registry.collect()

    def expose(self, accept: str, families: Iterable[Metric] | None = None) -> tuple[bytes, str]:
        """Return the exposition and its content type, in the format that is accepted.

        All of it takes tens of milliseconds: whoever cannot wait asks for some families at a time.
        """
        encoder: Callable[[_Selection], bytes]
        try:
            encoder, content_type = choose_encoder(accept)
        except (ValueError, TypeError):  # a version that is none
            encoder, content_type = choose_encoder("")
        selection = _Selection(self.families() if families is None else families)
        return encoder(selection), content_type


class _Selection:
    """Some metrics in the form of a registry: encoders ask for no more than this."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        return self._families
