"""From finished calls to samples: names, labels and buckets are a contract."""

import time
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Exemplar

from relay import errors
from relay.telemetry.call import CallRecord
from relay.telemetry.metrics import Metrics, RelayState
from relay.telemetry.metrics.catalogue import DURATION_BUCKETS
from tests.harness.messages import response_head
from tests.harness.model_answers import JSON, message_body, message_events
from tests.unit.telemetry.metrics.scrapes import (
    EVENT_STREAM,
    NOW,
    OPENMETRICS,
    Scrape,
    answered_call,
    call,
    openmetrics_of,
    state,
)

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
