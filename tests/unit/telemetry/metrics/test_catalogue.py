"""Names, types, labels and buckets are a contract, and what is known is there from the start."""

from collections.abc import Mapping
from itertools import product

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families as parse_text

from relay import __version__
from relay.telemetry.metrics import Metrics
from tests.harness.messages import response_head
from tests.observability.catalogue import METRICS
from tests.observability.catalogue import Metric as Catalogued
from tests.unit.telemetry.metrics.scrapes import (
    ENDS,
    ERROR_TYPES,
    OPERATIONS,
    REASONS,
    Scrape,
    call,
    everything,
    openmetrics_of,
    state,
)

MISSING = ["client_abort", "truncated", "encoding", "parse", "too_large", "absent"]


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
