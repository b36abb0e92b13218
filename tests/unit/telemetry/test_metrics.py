"""From finished calls to samples: names, labels and buckets are a contract."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from itertools import product

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Exemplar

from relay import __version__, errors
from relay.errors import Api
from relay.telemetry import call as call_module
from relay.telemetry.call import CallRecord
from relay.telemetry.metrics import HopState, Metrics, RelayState, limits
from relay.telemetry.metrics.catalogue import DURATION_BUCKETS
from tests.harness.messages import response_head
from tests.harness.model_answers import (
    JSON,
    MESSAGE_TOKENS,
    MODEL,
    STREAM,
    error_event,
    message_body,
    message_events,
    message_start,
)
from tests.observability.catalogue import METRICS
from tests.observability.catalogue import Metric as Catalogued

OPERATIONS: dict[Api, list[str]] = {
    "anthropic": ["messages", "count_tokens", "batches", "models", "files", "other"],
    "openai": ["chat_completions", "responses", "embeddings", "models", "files", "other"],
}
ENDS = [
    ("ok", "200"),
    ("stream_error", "200"),
    ("truncated", "200"),
    ("connect_error", "none"),
    ("timeout", "none"),
    ("client_abort", "200"),
    ("client_abort", "none"),
    ("rejected", "none"),
    ("internal_error", "none"),
    ("no_credential", "none"),
    *(
        ("upstream_error", code)
        for code in ("400", "401", "403", "404", "413", "429", "500", "502", "503", "529")
    ),
]
REASONS = [
    *("token", "host", "origin", "target", "path", "relay", "framing", "too_large", "draining"),
    *("limit", "pass", "leg"),
]
MISSING = ["client_abort", "truncated", "encoding", "parse", "too_large", "absent"]
ERROR_TYPES = [
    *("rate_limit_error", "overloaded_error", "api_error", "authentication_error"),
    "other",
]
MODELS = 32
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Scrape:
    """What one scrape shows."""

    def __init__(self, metrics: Metrics) -> None:
        text, _ = metrics.expose("text/plain")
        self.families = {family.name: family for family in parse_text(text.decode())}
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        """Return a sample's value, or None where there is no such sample."""
        return self.samples.get((name, frozenset(labels.items())))

    def labels(self, name: str) -> list[dict[str, str]]:
        """Return the label sets of a name."""
        return [dict(labels) for sample, labels in self.samples if sample == name]

    def total(self, name: str) -> float:
        """Return the sum of all samples of a name."""
        return sum(value for (sample, _), value in self.samples.items() if sample == name)

    def buckets(self, name: str, **labels: str) -> dict[str, float]:
        """Return a histogram's buckets."""
        return {
            dict(found)["le"]: value
            for (sample, found), value in self.samples.items()
            if sample == f"{name}_bucket" and dict(found).items() >= labels.items()
        }


def state(
    relay: str, grant: str = "", *, ready: bool = True, up: bool | None = True, **connections: int
) -> RelayState:
    """Return a relay's state."""
    idle, active = connections.get("idle", 0), connections.get("active", 0)
    api: Api = "openai" if relay == "openai" else "anthropic"
    url = f"http://{relay}:8787"
    return RelayState(relay, grant or relay, ready, up, url, idle, active, api=api)


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of two relays and two clients."""
    metrics = Metrics(CollectorRegistry())
    metrics.prepare([state("anthropic"), state("openai")], ["agent", "other"])
    return metrics


def call(metrics: Metrics, *, known: bool = True, seconds: float = 1.0) -> CallRecord:
    """Return a call that has begun, of a known relay or of none, and took so long."""
    record = CallRecord(method="POST", started=0.0)
    record.finished = seconds
    if known:
        record.relay, record.client, record.operation = "anthropic", "agent", "messages"
        metrics.begin(record)
    return record


# From the start


def test_every_end_of_a_call_has_its_counter_from_the_start(metrics: Metrics) -> None:
    """So that a first failure is a rate, not an appearance."""
    scrape = Scrape(metrics)
    for relay, operations in OPERATIONS.items():
        combinations = product(["agent", "other"], operations, ENDS)
        for client, operation, (outcome, code) in combinations:
            labels = {"relay": relay, "client": client, "operation": operation}
            value = scrape.value("relay_requests_total", code=code, outcome=outcome, **labels)
            assert value == 0


def test_refused_calls_have_their_counters_from_the_start(metrics: Metrics) -> None:
    """Of a relay without its client, and of neither."""
    scrape = Scrape(metrics)
    end = {"client": "none", "code": "none", "outcome": "rejected"}
    for relay, operations in OPERATIONS.items():
        for operation in operations:
            labels = {"relay": relay, "operation": operation}
            assert scrape.value("relay_requests_total", **end, **labels) == 0
    assert scrape.value("relay_requests_total", relay="none", operation="other", **end) == 0


def test_nothing_else_is_there_from_the_start(metrics: Metrics) -> None:
    """Of the operations that a relay's API has, and no others."""
    operations = sum(map(len, OPERATIONS.values()))
    count = 2 * operations * len(ENDS) + operations + 1
    assert len(Scrape(metrics).labels("relay_requests_total")) == count


def test_every_reason_has_its_counter_from_the_start() -> None:
    """Even before any relay is known."""
    scrape = Scrape(Metrics(CollectorRegistry()))
    assert {labels["reason"] for labels in scrape.labels("relay_rejections_total")} == {*REASONS}
    assert scrape.total("relay_rejections_total") == 0


def test_histograms_and_gauges_have_their_children_from_the_start(metrics: Metrics) -> None:
    """For each relay, operation and class of outcome."""
    scrape = Scrape(metrics)
    for relay, operations in OPERATIONS.items():
        for operation, kind in product(operations, ["ok", "error"]):
            labels = {"relay": relay, "operation": operation, "outcome_class": kind}
            assert scrape.value("relay_request_duration_seconds_count", **labels) == 0
        assert scrape.value("relay_time_to_first_byte_seconds_count", relay=relay) == 0
        assert scrape.value("relay_requests_in_flight", relay=relay) == 0


def test_no_client_is_a_client_of_that_name() -> None:
    """Without declared clients, calls are counted under none."""
    metrics = Metrics(CollectorRegistry())
    metrics.prepare([state("anthropic")], ["none"])
    labels = {"relay": "anthropic", "client": "none", "operation": "messages"}
    assert Scrape(metrics).value("relay_requests_total", code="200", outcome="ok", **labels) == 0


def test_reload_adds_children_and_keeps_counts(metrics: Metrics) -> None:
    """A counter never falls."""
    record = call(metrics)
    record.answered(response_head())
    record.succeeded()
    metrics.observe(record)
    metrics.prepare([state("anthropic"), state("new")], ["agent"])
    scrape = Scrape(metrics)
    labels = {"client": "agent", "operation": "messages", "code": "200", "outcome": "ok"}
    assert scrape.value("relay_requests_total", relay="anthropic", **labels) == 1
    assert scrape.value("relay_requests_total", relay="new", **labels) == 0


# The catalogue

CATALOGUE = {metric.name: metric for metric in METRICS if metric.only_with is None}
COSTS = {metric.name: metric for metric in METRICS if metric.only_with == "costs"}
SUFFIXES = {
    "counter": {"_total"},
    "gauge": {""},
    "histogram": {"_bucket", "_count", "_sum"},
    "info": {"_info"},
}
NOW = 1_800_000_000.0


@dataclass
class Clock:
    """A clock that moves when it is told to: of calls, and of the day."""

    now: float = 100.0

    def perf_counter(self) -> float:
        """Return seconds."""
        return self.now

    def time(self) -> float:
        """Return seconds since the epoch."""
        return NOW + self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that calls and limits look at."""
    clock = Clock()
    monkeypatch.setattr(call_module, "time", clock)
    monkeypatch.setattr(limits, "time", clock)
    return clock


def answered_call(
    metrics: Metrics, pieces: Iterable[bytes], *fields: tuple[str, str], status: int = 200
) -> CallRecord:
    """Have a call answered with these pieces, and observe it."""
    record = call(metrics)
    record.finished = None
    record.answered(response_head(status, *fields))
    assert record.meter is not None
    for piece in pieces:
        record.meter.feed(piece, 1.0)
    record.succeeded()
    record.finish()
    metrics.observe(record)
    return record


EVENT_STREAM = ("content-type", STREAM)
DOCUMENT = ("content-type", JSON)


def everything() -> Metrics:
    """Return metrics in which there is a sample of each."""
    metrics = Metrics(CollectorRegistry())
    hop = HopState("headroom", up=True, url="http://headroom:8787")
    states = [replace(state("anthropic", "claude"), hops=(hop,), expires_at=NOW)]
    metrics.prepare(states, ["agent"])
    metrics.show(states)
    metrics.loop_was_late(0.01)
    metrics.credential_read("claude", "changed")
    metrics.reloaded(succeeded=True)
    metrics.read_limits(
        "anthropic",
        response_head(
            429,
            *((f"anthropic-ratelimit-requests-{part}", "5") for part in ("limit", "remaining")),
            ("anthropic-ratelimit-requests-reset", f"{time.time() + 60}"),
            ("anthropic-ratelimit-unified-5h-utilization", "0.5"),
            ("anthropic-ratelimit-unified-5h-reset", f"{time.time() + 60}"),
        ).fields,
    )
    answered_call(metrics, message_events(), EVENT_STREAM, ("request-id", "req_1"))
    error = b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}'
    answered_call(metrics, [error], DOCUMENT, status=529)
    answered_call(metrics, message_events()[:3], EVENT_STREAM)
    metrics.observe(CallRecord(outcome="rejected", rejection="token"))
    return metrics


def openmetrics_of(metrics: Metrics) -> dict[str, Metric]:
    """Return the families in the OpenMetrics format, by name."""
    text = metrics.expose(OPENMETRICS)[0].decode()
    families = parse_openmetrics(text)  # type: ignore[no-untyped-call]  # it has no types
    return {family.name: family for family in families}


def check_catalogue(metrics: Metrics, catalogue: Mapping[str, Catalogued]) -> None:
    """See that a scrape shows just these, each with its type and labels, and a sample."""
    families = openmetrics_of(metrics)
    assert {family.name for family in families.values()} == {
        name.removesuffix("_total").removesuffix("_info") for name in catalogue
    }
    for name, metric in catalogue.items():
        family = families[name.removesuffix("_total").removesuffix("_info")]
        assert (name, family.type) == (name, metric.kind)
        assert family.documentation
        assert {sample.name.removeprefix(family.name) for sample in family.samples} == (
            SUFFIXES[metric.kind]
        )
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == set(metric.labels), name


def test_every_metric_has_its_name_type_and_labels() -> None:
    """All of the catalogue, and nothing else: neither of the process nor of Python."""
    check_catalogue(everything(), CATALOGUE)


def test_both_formats_show_the_same() -> None:
    """Whatever a scraper asks for."""
    metrics = everything()
    text = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(metrics.expose("text/plain")[0].decode())
        for sample in family.samples
    }
    other = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in openmetrics_of(metrics).values()
        for sample in family.samples
    }
    assert text == other


@pytest.mark.parametrize("name", [name for name in CATALOGUE if CATALOGUE[name].buckets])
def test_buckets_are_those_of_the_dashboards(name: str) -> None:
    """Alerts ask for these very bounds, in every series."""
    scrape = Scrape(everything())
    expected = [*CATALOGUE[name].buckets, float("inf")]
    series: dict[frozenset[tuple[str, str]], list[float]] = {}
    for labels in scrape.labels(f"{name}_bucket"):
        bound = float(labels.pop("le"))
        series.setdefault(frozenset(labels.items()), []).append(bound)
    assert series
    assert all(bounds == expected for bounds in series.values())


def test_every_child_is_there_from_the_start(metrics: Metrics) -> None:
    """Where the labels are known beforehand."""
    scrape = Scrape(metrics)
    relays = ["anthropic", "openai"]
    expected: dict[str, set[tuple[str, ...]]] = {
        "relay_requests_in_flight": {(relay,) for relay in relays},
        "relay_request_duration_seconds_count": {
            (relay, operation, kind)
            for relay, operations in OPERATIONS.items()
            for operation in operations
            for kind in ("ok", "error")
        },
        "relay_time_to_first_byte_seconds_count": {(relay,) for relay in relays},
        "relay_stream_max_gap_seconds_count": {(relay,) for relay in relays},
        "relay_overhead_seconds_count": set(product(relays, ["request", "chunk"])),
        "relay_server_tool_requests_total": set(product(relays, ["web_search", "web_fetch"])),
        "relay_usage_missing_total": set(product(relays, MISSING)),
        "relay_upstream_errors_total": set(product(relays, ERROR_TYPES, ["http", "stream"])),
        "relay_rejections_total": {(reason,) for reason in REASONS},
        "relay_credential_reloads_total": set(product(relays, ["changed", "unchanged", "failed"])),
        "relay_config_reloads_total": {("success",), ("failure",)},
        "relay_upstream_connections": set(product(relays, ["idle", "active"])),
        "relay_request_bytes_total": {(relay,) for relay in relays},
        "relay_response_bytes_total": {(relay,) for relay in relays},
        "relay_event_loop_lag_seconds_count": {()},
        "relay_log_lines_dropped_total": {()},
    }
    for name, children in expected.items():
        metric = CATALOGUE[name.removesuffix("_count")]
        found = {tuple(labels[label] for label in metric.labels) for labels in scrape.labels(name)}
        assert (name, found) == (name, children)
        assert scrape.total(name) == 0


def test_build_info_names_the_version(metrics: Metrics) -> None:
    """So that a dashboard shows an upgrade."""
    assert Scrape(metrics).value("relay_build_info", version=__version__) == 1


# Costs


class ListPrice:
    """Knows the price of one model."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, int]]] = []
        self.searches: list[int] = []
        self.tiers: list[str | None] = []

    def cost(
        self,
        api: str,
        model: str,
        tokens: Mapping[str, int],
        *,
        web_searches: int = 0,
        tier: str | None = None,
    ) -> float | None:
        """Return a quarter of a dollar."""
        self.searches.append(web_searches)
        self.tiers.append(tier)
        self.asked.append((api, model, dict(tokens)))
        return 0.25 if model == MODEL else None


def test_costs_are_exposed_only_where_they_are_configured() -> None:
    """Their names, too; and once they are there they do not go away."""
    metrics = everything()
    metrics.price(None)
    check_catalogue(metrics, CATALOGUE)
    metrics.price(ListPrice())
    answered_call(metrics, [message_body()], DOCUMENT)
    answered_call(metrics, [message_body("unheard-of")], DOCUMENT)
    check_catalogue(metrics, CATALOGUE | COSTS)
    metrics.price(None)
    check_catalogue(metrics, CATALOGUE | COSTS)


def test_costs_are_counted_by_model(metrics: Metrics) -> None:
    """What has no price is counted as such; what used nothing has no costs at all."""
    prices = ListPrice()
    metrics.price(prices)
    answered_call(metrics, message_events(), EVENT_STREAM)
    answered_call(metrics, [message_body("unheard-of")], DOCUMENT)
    answered_call(metrics, [b"{}"], DOCUMENT)
    metrics.price(None)
    answered_call(metrics, message_events(), EVENT_STREAM)
    scrape = Scrape(metrics)
    labels = {"relay": "anthropic", "client": "agent"}
    assert scrape.value("relay_estimated_cost_usd_total", model=MODEL, **labels) == 0.25
    assert scrape.value("relay_unpriced_requests_total", model="unheard-of", **labels) == 1
    assert scrape.total("relay_estimated_cost_usd_total") == 0.25
    assert scrape.total("relay_unpriced_requests_total") == 1
    assert prices.asked == [
        ("anthropic", MODEL, MESSAGE_TOKENS),
        ("anthropic", "unheard-of", MESSAGE_TOKENS),
    ]


def with_steps(*steps: dict[str, object]) -> bytes:
    """Return a message whose usage tells of these steps."""
    message = json.loads(message_body())
    message["usage"]["iterations"] = list(steps)
    return json.dumps(message).encode()


COMPACTION: dict[str, object] = {"type": "compaction", "input_tokens": 180_000}
ADVICE: dict[str, object] = {"type": "advisor_message", "model": "wise", "output_tokens": 600}


def test_what_the_api_ran_beside_an_answer_is_counted_by_its_model(metrics: Metrics) -> None:
    """A compaction is the model's own, advice another's."""
    answered_call(metrics, [with_steps(COMPACTION, ADVICE)], DOCUMENT)
    scrape = Scrape(metrics)
    labels = {"relay": "anthropic", "client": "agent"}
    fresh = scrape.value("relay_tokens_total", model=MODEL, type="input", **labels)
    assert fresh == MESSAGE_TOKENS["input"] + 180_000
    assert scrape.value("relay_tokens_total", model="wise", type="output", **labels) == 600
    assert scrape.total("relay_tokens_total") == sum(MESSAGE_TOKENS.values()) + 180_600


def test_costs_are_those_of_each_part(metrics: Metrics) -> None:
    """Together their prompts may be long, and none of them is; a call without a price is one."""
    prices = ListPrice()
    metrics.price(prices)
    answered_call(metrics, [with_steps(COMPACTION, COMPACTION, ADVICE, ADVICE)], DOCUMENT)
    assert prices.asked == [
        ("anthropic", MODEL, MESSAGE_TOKENS),
        *[("anthropic", MODEL, {"input": 180_000})] * 2,
        *[("anthropic", "wise", {"output": 600})] * 2,
    ]
    assert prices.searches == [2, 0, 0, 0, 0]
    scrape = Scrape(metrics)
    labels = {"relay": "anthropic", "client": "agent"}
    assert scrape.value("relay_estimated_cost_usd_total", model=MODEL, **labels) == 0.75
    assert scrape.value("relay_unpriced_requests_total", model="wise", **labels) == 1


def test_costs_of_models_over_the_limit_are_told_together(metrics: Metrics) -> None:
    """Their prices are their own, their label is not."""
    for number in range(MODELS):
        answered_call(metrics, [message_body(f"model-{number}")], DOCUMENT)
    metrics.price(ListPrice())
    answered_call(metrics, [message_body()], DOCUMENT)
    scrape = Scrape(metrics)
    labels = {"relay": "anthropic", "client": "agent", "model": "other"}
    assert scrape.value("relay_estimated_cost_usd_total", **labels) == 0.25


# Usage


def test_usage_is_counted_by_its_labels(metrics: Metrics) -> None:
    """Tokens by type, reasoning, tools, why it ended; nothing is missing."""
    answered_call(metrics, message_events(), EVENT_STREAM)
    scrape = Scrape(metrics)
    relay = {"relay": "anthropic"}
    for kind, count in MESSAGE_TOKENS.items():
        labels = relay | {"client": "agent", "model": MODEL, "type": kind}
        assert scrape.value("relay_tokens_total", **labels) == count
    assert scrape.total("relay_tokens_total") == sum(MESSAGE_TOKENS.values())
    assert scrape.value("relay_reasoning_tokens_total", model=MODEL, **relay) == 3
    tools = "relay_server_tool_requests_total"
    assert scrape.value(tools, tool="web_search", **relay) == 2
    assert scrape.value(tools, tool="web_fetch", **relay) == 1
    assert scrape.value("relay_stop_reasons_total", reason="end_turn", **relay) == 1
    assert scrape.total("relay_stop_reasons_total") == 1
    assert scrape.total("relay_usage_missing_total") == 0
    assert scrape.total("relay_upstream_errors_total") == 0


def test_what_an_answer_does_not_state_makes_no_series(metrics: Metrics) -> None:
    """A model's are there once it has used something."""
    answered_call(metrics, [b"{}"], DOCUMENT)
    scrape = Scrape(metrics)
    for name in ("tokens_total", "reasoning_tokens_total", "stop_reasons_total"):
        assert scrape.labels(f"relay_{name}") == []
    for name in ("time_to_first_token", "time_per_output_token"):
        assert scrape.labels(f"relay_{name}_seconds_count") == []


@pytest.mark.parametrize(
    ("status", "pieces", "where"),
    [
        (529, [b'{"error":{"type":"overloaded_error"}}'], "http"),
        (200, [message_start(), error_event("overloaded_error")], "stream"),
    ],
)
def test_errors_are_counted_by_where_they_came(
    metrics: Metrics, status: int, pieces: list[bytes], where: str
) -> None:
    """As an answer, or within a stream of a 200."""
    kind = EVENT_STREAM if where == "stream" else DOCUMENT
    answered_call(metrics, pieces, kind, status=status)
    scrape = Scrape(metrics)
    labels = {"relay": "anthropic", "error_type": "overloaded_error", "where": where}
    assert scrape.value("relay_upstream_errors_total", **labels) == 1
    assert scrape.total("relay_upstream_errors_total") == 1
    assert scrape.value("relay_usage_missing_total", relay="anthropic", reason="truncated") == (
        1 if where == "stream" else 0
    )


def test_strange_words_of_an_api_are_other(metrics: Metrics) -> None:
    """Labels are closed: neither error types nor reasons are taken from the wire."""
    answered_call(metrics, [b'{"error":{"type":"unheard_of"}}'], DOCUMENT, status=500)
    odd = message_body().replace(b'"end_turn"', b'"tired"')
    answered_call(metrics, [odd], DOCUMENT)
    scrape = Scrape(metrics)
    labels = {"relay": "anthropic", "error_type": "other", "where": "http"}
    assert scrape.value("relay_upstream_errors_total", **labels) == 1
    assert scrape.labels("relay_stop_reasons_total") == [{"relay": "anthropic", "reason": "other"}]


def test_times_of_a_stream_are_those_of_its_events(metrics: Metrics, clock: Clock) -> None:
    """First token, time for each after it, longest silence, and the relay's own share."""
    record = CallRecord(method="POST", relay="anthropic", operation="messages", started=100.0)
    metrics.begin(record)
    record.waited, record.sent_at = 0.5, 100.502
    clock.now = 100.8
    record.answered(response_head(200, EVENT_STREAM))
    assert record.meter is not None
    start, ping, *rest = message_events()
    for piece, now in ((start, 101.0), (ping, 102.0), (b"".join(rest), 104.0)):
        record.meter.feed(piece, now)
        record.piece_overheads.observe(0.003)
    record.succeeded()
    clock.now = 106.4
    record.finish()
    metrics.observe(record)
    scrape = Scrape(metrics)
    first = "relay_time_to_first_token_seconds"
    labels = {"relay": "anthropic", "model": MODEL}
    assert scrape.value(f"{first}_sum", **labels) == pytest.approx(4)
    assert scrape.value("relay_time_to_first_byte_seconds_sum", relay="anthropic") == (
        pytest.approx(0.8)
    )
    pace = "relay_time_per_output_token_seconds_sum"
    assert scrape.value(pace, **labels) == pytest.approx(2.4 / 8)
    gap = "relay_stream_max_gap_seconds_sum"
    assert scrape.value(gap, relay="anthropic") == pytest.approx(2.4)
    share = "relay_overhead_seconds"
    request = {"relay": "anthropic", "phase": "request"}
    assert scrape.value(f"{share}_sum", **request) == pytest.approx(0.002)
    assert scrape.buckets(share, **request)["0.0025"] == 1
    chunks = {"relay": "anthropic", "phase": "chunk"}
    assert scrape.value(f"{share}_count", **chunks) == 3
    assert scrape.value(f"{share}_sum", **chunks) == pytest.approx(0.009)
    assert (
        scrape.buckets(share, **chunks)["0.0025"],
        scrape.buckets(share, **chunks)["0.005"],
    ) == (
        0,
        3,
    )


def test_overhead_of_a_call_that_was_never_sent_is_not_known(metrics: Metrics) -> None:
    """A refusal says nothing of how fast the relay forwards."""
    record = call(metrics)
    record.failed(errors.UpstreamUnreachable())
    metrics.observe(record)
    assert Scrape(metrics).total("relay_overhead_seconds_count") == 0


def test_overhead_of_pieces_shows_while_the_stream_runs(metrics: Metrics) -> None:
    """Each piece counts when it has been written, and only once."""
    record = call(metrics)
    record.piece_overheads.observe(0.003)
    chunks = {"relay": "anthropic", "phase": "chunk"}
    for _ in range(2):
        assert Scrape(metrics).value("relay_overhead_seconds_count", **chunks) == 1
        metrics.observe(record)


def test_bytes_are_counted_both_ways(metrics: Metrics) -> None:
    """Of bodies, by relay."""
    record = call(metrics)
    record.request_bytes, record.response_bytes = 10, 20
    metrics.observe(record)
    scrape = Scrape(metrics)
    assert scrape.value("relay_request_bytes_total", relay="anthropic") == 10
    assert scrape.value("relay_response_bytes_total", relay="anthropic") == 20
    assert scrape.total("relay_request_bytes_total") == 10


# Models


def test_models_beyond_the_limit_are_other(metrics: Metrics) -> None:
    """The first 32 keep their names, and no token is lost."""
    for number in range(MODELS + 8):
        answered_call(metrics, [message_body(f"model-{number}")], DOCUMENT)
    answered_call(metrics, message_events("model-3"), EVENT_STREAM)
    answered_call(metrics, message_events("one-more"), EVENT_STREAM)
    scrape = Scrape(metrics)
    found = {labels["model"] for labels in scrape.labels("relay_tokens_total")}
    assert found == {*(f"model-{number}" for number in range(MODELS)), "other"}
    output = {"relay": "anthropic", "client": "agent", "type": "output"}
    count = MESSAGE_TOKENS["output"]
    assert scrape.value("relay_tokens_total", model="model-3", **output) == 2 * count
    assert scrape.value("relay_tokens_total", model="other", **output) == 9 * count
    for name in ("relay_reasoning_tokens_total", "relay_time_to_first_token_seconds_count"):
        assert {labels["model"] for labels in scrape.labels(name)} <= found


@pytest.mark.parametrize("status", [301, 400, 429, 500])
def test_model_is_taken_from_good_answers_only(metrics: Metrics, status: int) -> None:
    """An agent that asks for models that do not exist makes no series."""
    for number in range(50):
        answered_call(metrics, [message_body(f"made-up-{number}")], DOCUMENT, status=status)
    answered_call(metrics, [message_body()], DOCUMENT)
    scrape = Scrape(metrics)
    assert {labels["model"] for labels in scrape.labels("relay_tokens_total")} == {MODEL}


@pytest.mark.parametrize("name", ["\ud800", "a\nb", "a\x00b", "", "m" * 1000])
def test_model_that_cannot_be_a_label_is_other(metrics: Metrics, name: str) -> None:
    """Nothing that an answer holds makes a scrape fail."""
    answered_call(metrics, [message_body(name)], DOCUMENT)
    scrape = Scrape(metrics)
    assert {labels["model"] for labels in scrape.labels("relay_tokens_total")} == {"other"}
    assert openmetrics_of(metrics)


@pytest.mark.parametrize("name", ['say "x"', "back\\slash", "{a=b}", "modèle-é", "a,b # {c}"])
def test_model_with_odd_characters_stays_one_label(metrics: Metrics, name: str) -> None:
    """Quoted as the formats want it."""
    answered_call(metrics, [message_body(name)], DOCUMENT)
    scrape = Scrape(metrics)
    assert {labels["model"] for labels in scrape.labels("relay_tokens_total")} == {name}
    tokens = openmetrics_of(metrics)["relay_tokens"].samples
    assert {sample.labels["model"] for sample in tokens} == {name}


# Rate limits and quotas


def test_limits_are_shown_until_their_reset(metrics: Metrics, clock: Clock) -> None:
    """And are gone once it has passed: absent beats stale."""
    fields = (
        ("anthropic-ratelimit-input-tokens-limit", "2000"),
        ("anthropic-ratelimit-input-tokens-remaining", "1500"),
        ("anthropic-ratelimit-input-tokens-reset", f"{clock.time() + 60:.0f}"),
        ("anthropic-ratelimit-unified-7d-utilization", "0.75"),
        ("anthropic-ratelimit-unified-7d-reset", f"{clock.time() + 120:.0f}"),
    )
    metrics.read_limits("anthropic", response_head(200, *fields).fields)
    kind = {"relay": "anthropic", "kind": "input_tokens"}
    window = {"relay": "anthropic", "window": "7d"}
    expected: dict[tuple[str, float], float] = {
        ("relay_ratelimit_limit", 60): 2000,
        ("relay_ratelimit_remaining", 60): 1500,
        ("relay_ratelimit_reset_timestamp_seconds", 60): clock.time() + 60,
        ("relay_quota_utilization_ratio", 120): 0.75,
        ("relay_quota_reset_timestamp_seconds", 120): clock.time() + 120,
    }
    start = clock.now
    for after in (0, 59, 61, 119, 121):
        clock.now = start + after
        scrape = Scrape(metrics)
        for (name, until), value in expected.items():
            labels = window if "quota" in name else kind
            assert scrape.value(name, **labels) == (value if after < until else None)
            assert len(scrape.labels(name)) == (after < until)


def test_limits_of_relays_do_not_mix(metrics: Metrics, clock: Clock) -> None:
    """Each API has its own."""
    for relay, left in (("anthropic", "5"), ("openai", "6")):
        field = ("anthropic-ratelimit-requests-remaining", left)
        metrics.read_limits(relay, response_head(200, field).fields)
    scrape = Scrape(metrics)
    name = "relay_ratelimit_remaining"
    assert scrape.value(name, relay="anthropic", kind="requests") == 5
    assert scrape.value(name, relay="openai", kind="requests") == 6
    assert scrape.labels("relay_ratelimit_limit") == []


def test_latest_limits_count_however_they_are_stated(metrics: Metrics, clock: Clock) -> None:
    """Between two scrapes come responses that state one kind, another, or both."""
    for number in range(98):
        fields = [("request-id", f"req_{number}")]
        if number % 2:
            fields.append(("anthropic-ratelimit-requests-remaining", f"{1000 - number}"))
        if number % 3:
            fields.append(("anthropic-ratelimit-tokens-remaining", f"{2000 - number}"))
        metrics.read_limits("anthropic", response_head(200, *fields).fields)
    scrape = Scrape(metrics)
    name = "relay_ratelimit_remaining"
    assert scrape.value(name, relay="anthropic", kind="requests") == 1000 - 97
    assert scrape.value(name, relay="anthropic", kind="tokens") == 2000 - 97
    assert len(scrape.labels(name)) == 2


@pytest.mark.parametrize(("after", "left"), [(299, 5), (301, None)])
def test_limits_age_from_when_they_came(
    metrics: Metrics, clock: Clock, after: float, left: float | None
) -> None:
    """Not from when somebody first asked."""
    field = ("anthropic-ratelimit-requests-remaining", "5")
    metrics.read_limits("anthropic", response_head(200, field).fields)
    clock.now += after
    scrape = Scrape(metrics)
    assert scrape.value("relay_ratelimit_remaining", relay="anthropic", kind="requests") == left


def test_headers_that_are_kept_do_not_pile_up(metrics: Metrics, clock: Clock) -> None:
    """An API that names each response's headers anew has its values read at once."""
    for number in range(1000):
        fields = ((f"x-{number}", "1"), ("anthropic-ratelimit-requests-remaining", f"{number}"))
        metrics.read_limits("anthropic", response_head(200, *fields).fields)
        assert len(metrics._limits._books["anthropic"]._unread) <= limits._UNREAD_LIMIT
    (limit,), _ = metrics.current_limits("anthropic")
    assert limit.remaining == 999


@pytest.mark.parametrize("ahead", [-900, 900])
def test_limits_of_a_host_whose_clock_is_wrong_are_shown(
    metrics: Metrics, clock: Clock, ahead: int
) -> None:
    """Their resets are relative to the answer's Date, and shown on the clock of this host."""
    there = clock.time() - ahead
    fields = (
        ("date", formatdate(there, usegmt=True)),
        ("anthropic-ratelimit-requests-remaining", "5"),
        ("anthropic-ratelimit-requests-reset", f"{there + 60:.0f}"),
    )
    metrics.read_limits("anthropic", response_head(200, *fields).fields)
    kind = {"relay": "anthropic", "kind": "requests"}
    reset = Scrape(metrics).value("relay_ratelimit_reset_timestamp_seconds", **kind)
    assert reset == pytest.approx(clock.time() + 60, abs=1)
    for after, left in ((58, 5), (4, None)):
        clock.now += after
        assert Scrape(metrics).value("relay_ratelimit_remaining", **kind) == left


def stating_limits(metrics: Metrics, *relays: str) -> None:
    """Have answers state a limit and a quota that hold for long."""
    reset = f"{time.time() + 86_400:.0f}"
    fields = (
        ("anthropic-ratelimit-requests-remaining", "5"),
        ("anthropic-ratelimit-requests-reset", reset),
        ("anthropic-ratelimit-unified-7d-utilization", "0.5"),
        ("anthropic-ratelimit-unified-7d-reset", reset),
    )
    for relay in relays:
        metrics.read_limits(relay, response_head(200, *fields).fields)


def relays_with(scrape: Scrape, name: str) -> set[str]:
    """Return the relays that there are samples of."""
    return {labels["relay"] for labels in scrape.labels(name)}


def test_limits_go_with_their_relay(metrics: Metrics) -> None:
    """By the reload that removes it, and by the next scrape if a call ends after that."""
    stating_limits(metrics, "anthropic", "openai")
    metrics.prepare([state("openai")], ["agent"])
    assert metrics.current_limits("anthropic") == ([], [])
    metrics.prepare([state("anthropic"), state("openai")], ["agent"])
    assert relays_with(Scrape(metrics), "relay_ratelimit_remaining") == {"openai"}
    stating_limits(metrics, "anthropic")
    metrics.show([state("openai")])
    for name in ("ratelimit_remaining", "ratelimit_reset_timestamp_seconds"):
        assert relays_with(Scrape(metrics), f"relay_{name}") == {"openai"}
    for name in ("utilization_ratio", "reset_timestamp_seconds"):
        assert relays_with(Scrape(metrics), f"relay_quota_{name}") == {"openai"}


@pytest.mark.parametrize(
    "changed",
    [state("anthropic", "other"), replace(state("anthropic"), upstream="http://other:1")],
    ids=["grant", "upstream"],
)
def test_limits_go_with_their_account(metrics: Metrics, changed: RelayState) -> None:
    """What another grant, or another API, had left says nothing of this one."""
    stating_limits(metrics, "anthropic", "openai")
    metrics.prepare([changed, state("openai")], ["agent"])
    assert relays_with(Scrape(metrics), "relay_ratelimit_remaining") == {"openai"}


def test_calls_in_flight_outlive_their_relay_until_they_are_over(metrics: Metrics) -> None:
    """Then it is gone from the gauges; what was counted stays."""
    exchange = call(metrics)
    metrics.show([state("openai")])
    assert Scrape(metrics).value("relay_requests_in_flight", relay="anthropic") == 1
    metrics.observe(exchange)
    metrics.show([state("openai")])
    scrape = Scrape(metrics)
    assert relays_with(scrape, "relay_requests_in_flight") == {"openai"}
    assert scrape.total("relay_requests_total") == 1


def test_kinds_and_windows_are_limited(metrics: Metrics, clock: Clock) -> None:
    """To 32 of each, of all relays together; the others are dropped."""
    for number in range(40):
        fields = (
            (f"anthropic-ratelimit-k{number}-limit", "1"),
            (f"anthropic-ratelimit-unified-{number}d-utilization", "0.5"),
        )
        relay = "anthropic" if number < 20 else "openai"
        metrics.read_limits(relay, response_head(200, *fields).fields)
        metrics.current_limits(relay)
    scrape = Scrape(metrics)
    kinds = {labels["kind"] for labels in scrape.labels("relay_ratelimit_limit")}
    windows = {labels["window"] for labels in scrape.labels("relay_quota_utilization_ratio")}
    assert kinds == {f"k{number}" for number in range(32)}
    assert windows == {f"{number}d" for number in range(32)}


def test_current_limits_are_those_of_a_scrape(metrics: Metrics, clock: Clock) -> None:
    """For whoever shows them elsewhere."""
    assert metrics.current_limits("anthropic") == ([], [])
    field = ("anthropic-ratelimit-requests-remaining", "5")
    metrics.read_limits("anthropic", response_head(200, field).fields)
    (limit,), quotas = metrics.current_limits("anthropic")
    assert (limit.name, limit.stated(), quotas) == ("requests", {"remaining": 5}, [])
    clock.now += 301
    assert metrics.current_limits("anthropic") == ([], [])


# Exemplars


def exemplars_of(metrics: Metrics) -> list[Exemplar]:
    """Return all exemplars, and see that they are where they should be."""
    found = [
        (sample.name, sample.exemplar)
        for family in openmetrics_of(metrics).values()
        for sample in family.samples
        if sample.exemplar is not None
    ]
    assert {name for name, _ in found} <= {"relay_request_duration_seconds_bucket"}
    return [exemplar for _, exemplar in found]


@pytest.mark.parametrize("name", ["request-id", "x-request-id"])
def test_duration_has_the_request_id_as_its_exemplar(metrics: Metrics, name: str) -> None:
    """From a slow bucket to the line in the log."""
    answered_call(metrics, message_events(), EVENT_STREAM, (name, "req_011CQ"))
    (exemplar,) = exemplars_of(metrics)
    assert exemplar.labels == {"request_id": "req_011CQ"}
    assert b"req_011CQ" not in metrics.expose("text/plain")[0]


@pytest.mark.parametrize("length", [117, 118, 119, 128, 5000])
def test_exemplar_has_128_characters_at_most(metrics: Metrics, length: int) -> None:
    """OpenMetrics allows no more, the label's name included."""
    answered_call(metrics, message_events(), EVENT_STREAM, ("request-id", "r" * length))
    (exemplar,) = exemplars_of(metrics)
    ((name, value),) = exemplar.labels.items()
    assert name == "request_id"
    assert len(name) + len(value) <= 128
    assert value == "r" * min(length, 118)


@pytest.mark.parametrize("value", ['a"b', "a\\b", "a,b", "}", "# {"])
def test_exemplar_of_odd_characters_is_exposed_well(metrics: Metrics, value: str) -> None:
    """Quoted as the format wants it, or left out; the scrape goes on."""
    answered_call(metrics, message_events(), EVENT_STREAM, ("request-id", value))
    quoted = {"a,b", "}"}
    labels = [exemplar.labels for exemplar in exemplars_of(metrics)]
    assert labels == ([{"request_id": value}] if value in quoted else [])


@pytest.mark.parametrize("fields", [(), (("request-id", "caf\xe9"),), (("request-id", ""),)])
def test_without_a_request_id_there_is_no_exemplar(
    metrics: Metrics, fields: tuple[tuple[str, str], ...]
) -> None:
    """Or where it is none."""
    answered_call(metrics, message_events(), EVENT_STREAM, *fields)
    assert exemplars_of(metrics) == []


# Reloads and the loop


def test_credentials_readings_are_counted_by_result(metrics: Metrics) -> None:
    """By grant."""
    for result in ("changed", "failed", "failed"):
        metrics.credential_read("anthropic", result)
    scrape = Scrape(metrics)
    name = "relay_credential_reloads_total"
    assert scrape.value(name, grant="anthropic", result="changed") == 1
    assert scrape.value(name, grant="anthropic", result="failed") == 2
    assert scrape.value(name, grant="anthropic", result="unchanged") == 0
    assert scrape.total(name) == 3


def test_reload_of_the_configuration_is_counted_and_dated(metrics: Metrics) -> None:
    """A failed one changes nothing in force, and so not the date."""
    name = "relay_config_last_reload_timestamp_seconds"
    metrics.reloaded(succeeded=False)
    assert Scrape(metrics).value(name) == 0
    before = time.time()
    metrics.reloaded(succeeded=True)
    scrape = Scrape(metrics)
    assert before <= (scrape.value(name) or 0) <= time.time()
    assert scrape.value("relay_config_reloads_total", result="success") == 1
    assert scrape.value("relay_config_reloads_total", result="failure") == 1


def test_first_loading_is_dated_and_no_reload(metrics: Metrics) -> None:
    """The configuration in force has an age from the start."""
    before = time.time()
    metrics.loaded()
    scrape = Scrape(metrics)
    loaded = scrape.value("relay_config_last_reload_timestamp_seconds")
    assert before <= (loaded or 0) <= time.time()
    assert scrape.total("relay_config_reloads_total") == 0


def test_lag_of_the_loop_is_kept_of_every_tick(metrics: Metrics) -> None:
    """A stall between two scrapes shows, however well the loop has recovered."""
    for seconds in (0.0002, 0.6, 0.001):
        metrics.loop_was_late(seconds)
    scrape = Scrape(metrics)
    buckets = scrape.buckets("relay_event_loop_lag_seconds")
    assert (buckets["0.001"], buckets["0.5"], buckets["1.0"]) == (2, 2, 3)
    assert scrape.value("relay_event_loop_lag_seconds_sum") == pytest.approx(0.6012)


def test_lines_that_nobody_took_are_counted(metrics: Metrics) -> None:
    """However many at a time."""
    for count in (1, 40):
        metrics.log_lines_dropped(count)
    assert Scrape(metrics).value("relay_log_lines_dropped_total") == 41


# One call, one observation


def test_good_call_is_observed_once(metrics: Metrics) -> None:
    """In each metric that it concerns."""
    record = call(metrics, seconds=0.3)
    assert Scrape(metrics).value("relay_requests_in_flight", relay="anthropic") == 1
    record.answered(response_head())
    record.first_byte = 0.2
    record.succeeded()
    metrics.observe(record)
    scrape = Scrape(metrics)
    assert scrape.total("relay_requests_total") == 1
    labels = {"relay": "anthropic", "client": "agent", "operation": "messages"}
    assert scrape.value("relay_requests_total", code="200", outcome="ok", **labels) == 1
    assert scrape.value("relay_requests_in_flight", relay="anthropic") == 0
    assert scrape.total("relay_rejections_total") == 0
    duration = {"relay": "anthropic", "operation": "messages", "outcome_class": "ok"}
    assert scrape.value("relay_request_duration_seconds_sum", **duration) == pytest.approx(0.3)
    buckets = scrape.buckets("relay_request_duration_seconds", **duration)
    assert (buckets["0.25"], buckets["0.5"]) == (0, 1)
    assert scrape.total("relay_request_duration_seconds_count") == 1
    name = "relay_time_to_first_byte_seconds"
    assert scrape.value(f"{name}_sum", relay="anthropic") == pytest.approx(0.2)
    assert scrape.total(f"{name}_count") == 1


ENDINGS = [
    ("upstream_error", "429", "error"),
    ("upstream_error", "302", "error"),
    ("truncated", "200", "error"),
    ("timeout", "200", "error"),
    ("timeout", "none", "error"),
    ("connect_error", "none", "error"),
    ("internal_error", "none", "error"),
    ("client_abort", "200", "ok"),
    ("no_credential", "none", "error"),
    ("client_abort", "none", "ok"),
]


@pytest.mark.parametrize(("outcome", "code", "kind"), ENDINGS)
def test_each_outcome_is_observed_once(
    metrics: Metrics, outcome: str, code: str, kind: str
) -> None:
    """Counter, duration and first byte, under the right labels."""
    record = call(metrics)
    record.outcome = outcome
    if code != "none":
        record.answered(response_head(int(code)))
    metrics.observe(record)
    scrape = Scrape(metrics)
    labels = {"relay": "anthropic", "client": "agent", "operation": "messages"}
    assert scrape.value("relay_requests_total", code=code, outcome=outcome, **labels) == 1
    assert scrape.total("relay_requests_total") == 1
    duration = {"relay": "anthropic", "operation": "messages", "outcome_class": kind}
    assert scrape.value("relay_request_duration_seconds_count", **duration) == 1
    assert scrape.total("relay_request_duration_seconds_count") == 1
    answered = 0 if code == "none" else 1
    assert scrape.total("relay_time_to_first_byte_seconds_count") == answered
    assert scrape.value("relay_requests_in_flight", relay="anthropic") == 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.TokenRefused, "token"),
        (errors.ForeignHost, "host"),
        (errors.BadHost, "host"),
        (errors.OriginRefused, "origin"),
        (errors.BadTarget, "target"),
        (errors.MethodRefused, "target"),
        (errors.UpgradeRefused, "target"),
        (errors.PathRefused, "path"),
        (errors.UnknownRelay, "relay"),
        (errors.MalformedRequest, "framing"),
        (errors.RequestStalled, "framing"),
        (errors.TargetTooLong, "framing"),
        (errors.HeadersTooLarge, "framing"),
        (errors.VersionNotSupported, "framing"),
        (errors.BodyTooLarge, "too_large"),
        (errors.Draining, "draining"),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_refused_call_counts_once_in_both_counters(
    metrics: Metrics, error: type[errors.ClientError], reason: str, *, known: bool
) -> None:
    """As ``rejected`` with code ``none``, and by its reason."""
    record = call(metrics, known=known)
    record.failed(error())
    metrics.observe(record)
    scrape = Scrape(metrics)
    labels = {"relay": "anthropic", "client": "agent", "operation": "messages"}
    if not known:
        labels = {"relay": "none", "client": "none", "operation": "other"}
    assert scrape.value("relay_requests_total", code="none", outcome="rejected", **labels) == 1
    assert scrape.total("relay_requests_total") == 1
    assert scrape.value("relay_rejections_total", reason=reason) == 1
    assert scrape.total("relay_rejections_total") == 1
    assert scrape.value("relay_requests_in_flight", relay="anthropic") == 0


def test_refused_call_is_in_no_histogram(metrics: Metrics) -> None:
    """How fast the relay says no is neither an API's time nor an error's."""
    exchange = call(metrics)
    exchange.sent_at = 0.5  # its body stalled, or was too large after all
    exchange.failed(errors.RequestStalled())
    exchange.finish()
    metrics.observe(exchange)
    scrape = Scrape(metrics)
    counts = {name for name, _ in scrape.samples if name.endswith("_seconds_count")}
    assert "relay_request_duration_seconds_count" in counts
    assert {scrape.total(name) for name in counts} == {0}


def test_missing_credential_is_no_rejection(metrics: Metrics) -> None:
    """It is a fault in the relay's set-up, and an outcome of its own."""
    record = call(metrics)
    record.failed(errors.CredentialMissing())
    metrics.observe(record)
    scrape = Scrape(metrics)
    assert scrape.total("relay_rejections_total") == 0
    labels = {"relay": "anthropic", "client": "agent", "operation": "messages"}
    value = scrape.value("relay_requests_total", code="none", outcome="no_credential", **labels)
    assert value == 1


@pytest.mark.parametrize(
    ("error", "outcome", "status"),
    [
        (errors.UpstreamUnreachable(), "connect_error", 502),
        (errors.UpstreamTimeout(), "timeout", 504),
        (errors.UpstreamConnectTimeout(), "timeout", 504),
        (errors.UpstreamMalformed(), "upstream_error", 502),
        (errors.RelayFault(), "internal_error", 500),
    ],
)
def test_failure_before_an_answer_has_no_code(
    error: errors.RelayError, outcome: str, status: int
) -> None:
    """The agent was told something; the upstream said nothing."""
    record = CallRecord()
    record.failed(error)
    assert (record.outcome, record.status, record.code) == (outcome, status, None)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_keeps_the_upstreams_code(status: int) -> None:
    """The agent was told something else."""
    record = CallRecord()
    record.failed(errors.UpstreamRedirected(status))
    assert (record.status, record.code) == (502, status)


@pytest.mark.parametrize("error", [errors.UpstreamTruncated(), errors.UpstreamStalled()])
def test_failure_within_an_answer_keeps_its_status(error: errors.RelayError) -> None:
    """The head had been passed on already."""
    record = CallRecord()
    record.answered(response_head())
    record.failed(error)
    assert (record.status, record.code, record.outcome) == (200, 200, error.outcome)


def test_agents_fault_within_an_answer_is_no_refusal() -> None:
    """It was relayed already: the agent has left, in a way."""
    record = CallRecord()
    record.answered(response_head())
    record.failed(errors.RequestStalled())
    assert (record.outcome, record.rejection) == ("client_abort", None)
    assert (record.status, record.code) == (200, 200)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "ok"), (304, "ok"), (399, "ok"), (400, "upstream_error"), (529, "upstream_error")],
)
def test_answer_passed_on_to_its_end_is_judged_by_its_status(status: int, outcome: str) -> None:
    """An error of the upstream is one, however well it was passed on."""
    record = CallRecord()
    record.answered(response_head(status))
    record.succeeded()
    assert record.outcome == outcome


def test_times_of_a_call_run_until_it_is_finished() -> None:
    """And stand still afterwards."""
    assert CallRecord().time_to_first_byte is None
    record = CallRecord()
    record.answered(response_head())
    assert record.time_to_first_byte is not None
    assert 0 <= record.time_to_first_byte <= record.duration
    record.finish()
    assert record.duration == record.duration


# Gauges


def test_gauges_show_the_relays_there_are(metrics: Metrics) -> None:
    """Those that are gone, or that nobody knows of yet, are absent."""
    metrics.show(
        [
            state("anthropic", "claude", idle=2, active=1),
            replace(state("openai", ready=False, up=False), refused=True, expires_at=NOW),
            state("new", "anthropic", up=None),
        ]
    )
    scrape = Scrape(metrics)
    assert scrape.value("relay_credential_ready", relay="anthropic", grant="claude") == 1
    assert scrape.value("relay_credential_ready", relay="openai", grant="openai") == 0
    assert scrape.value("relay_credential_refused", relay="anthropic", grant="claude") == 0
    assert scrape.value("relay_credential_refused", relay="openai", grant="openai") == 1
    ends = "relay_credential_expiry_timestamp_seconds"
    assert scrape.labels(ends) == [{"relay": "openai", "grant": "openai"}]
    assert scrape.value(ends, relay="openai", grant="openai") == NOW
    assert scrape.value("relay_upstream_up", relay="anthropic") == 1
    assert scrape.value("relay_upstream_up", relay="openai") == 0
    assert scrape.value("relay_upstream_up", relay="new") is None
    connections = "relay_upstream_connections"
    assert scrape.value(connections, relay="anthropic", state="idle") == 2
    assert scrape.value(connections, relay="anthropic", state="active") == 1
    assert scrape.value(connections, relay="new", state="active") == 0
    assert scrape.value("relay_upstream_info", relay="new", upstream="http://new:8787") == 1
    metrics.show([state("new", "anthropic")])
    scrape = Scrape(metrics)
    assert scrape.labels("relay_upstream_up") == [{"relay": "new"}]
    for name in ("relay_credential_ready", "relay_credential_refused"):
        assert scrape.labels(name) == [{"relay": "new", "grant": "anthropic"}]
    assert scrape.labels("relay_upstream_info") == [{"relay": "new", "upstream": "http://new:8787"}]
    assert {labels["relay"] for labels in scrape.labels("relay_upstream_connections")} == {"new"}


# Formats


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain", "text/html, */*;q=0.1"])
def test_text_is_the_default_format(metrics: Metrics, accept: str) -> None:
    """For curl and for Prometheus alike."""
    body, content_type = metrics.expose(accept)
    assert content_type.startswith("text/plain; version=")
    assert b"# TYPE relay_requests_total counter" in body
    assert list(parse_text(body.decode()))


def test_openmetrics_is_spoken_where_it_is_accepted(metrics: Metrics) -> None:
    """As Prometheus asks for it."""
    accept = f"{OPENMETRICS};q=0.6,text/plain;version=0.0.4;q=0.3"
    body, content_type = metrics.expose(accept)
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    families = parse_openmetrics(body.decode())  # type: ignore[no-untyped-call]  # it has no types
    names = {family.name for family in families}
    assert {"relay_requests", "relay_build", "relay_request_duration_seconds"} <= names


@pytest.mark.parametrize("accept", ["text/plain", OPENMETRICS])
def test_no_time_of_creation_is_exposed(metrics: Metrics, accept: str) -> None:
    """It would double the number of series."""
    assert b"_created" not in metrics.expose(accept)[0]


def test_each_registry_stands_for_itself() -> None:
    """Two relays in one process, as tests have them, do not mix."""
    one, other = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
    one.observe(CallRecord(outcome="rejected", rejection="token"))
    assert Scrape(one).total("relay_rejections_total") == 1
    assert Scrape(other).total("relay_rejections_total") == 0


# How many series


def test_ten_thousand_sessions_make_no_series() -> None:
    """Whatever a call was called, what is shown of it is one of what is known beforehand."""
    metrics = Metrics(CollectorRegistry())
    state = RelayState("anthropic", "claude", ready=True, up=True, upstream="http://x:1",
                       idle_connections=0, active_connections=0)  # fmt: skip
    metrics.prepare([state], ["agent"])
    metrics.show([state])
    counts: list[int] = []
    for number in range(10_000):
        record = CallRecord(method="POST", path=f"/{number}", relay="anthropic", client="agent")
        record.operation = "messages"
        record.session_id, record.agent_id = f"session-{number}", f"agent-{number}"
        metrics.begin(record)
        fields = (("content-type", JSON), ("request-id", f"req_{number}"))
        record.answered(response_head(200, *fields))
        assert record.meter is not None
        record.meter.feed(message_body(f"model-{number % 100}"), 1.0)
        record.succeeded()
        record.finish()
        metrics.observe(record)
        if number in (100, 9_999):
            counts.append(sum(len(family.samples) for family in metrics._registry.collect()))
    assert counts[0] == counts[1]
    text = metrics.expose("application/openmetrics-text")[0]
    assert b"session-" not in text
    # One exemplar for each bucket of one histogram, however many calls there were.
    assert text.count(b"req_") <= len(DURATION_BUCKETS) + 1
