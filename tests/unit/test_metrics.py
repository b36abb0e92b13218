"""From finished calls to samples: names, labels and buckets are a contract."""

from itertools import product

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from relay import __version__, errors
from relay.exchange import Exchange
from relay.metrics import Metrics, RelayState

OPERATIONS = [
    "messages",
    "count_tokens",
    "batches",
    "models",
    "files",
    "chat_completions",
    "responses",
    "embeddings",
    "other",
]
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
    *(
        ("upstream_error", code)
        for code in ("400", "401", "403", "404", "413", "429", "500", "502", "503", "529")
    ),
]
REASONS = ["token", "host", "origin", "target", "path", "relay", "framing", "too_large", "draining"]
DURATION = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200]
FIRST_BYTE = [0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 30, 60, 120]
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


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of two relays and two clients."""
    metrics = Metrics(CollectorRegistry())
    metrics.prepare(["anthropic", "openai"], ["agent", "other"])
    return metrics


def call(metrics: Metrics, *, known: bool = True, seconds: float = 1.0) -> Exchange:
    """Return a call that has begun, of a known relay or of none, and took so long."""
    exchange = Exchange(method="POST", started=0.0)
    exchange.finished = seconds
    if known:
        exchange.relay, exchange.client, exchange.operation = "anthropic", "agent", "messages"
        metrics.begin(exchange)
    return exchange


# From the start


def test_every_end_of_a_call_has_its_counter_from_the_start(metrics: Metrics) -> None:
    """So that a first failure is a rate, not an appearance."""
    scrape = Scrape(metrics)
    combinations = product(["anthropic", "openai"], ["agent", "other"], OPERATIONS, ENDS)
    for relay, client, operation, (outcome, code) in combinations:
        labels = {"relay": relay, "client": client, "operation": operation}
        value = scrape.value("relay_requests_total", code=code, outcome=outcome, **labels)
        assert value == 0


def test_refused_calls_have_their_counters_from_the_start(metrics: Metrics) -> None:
    """Of a relay without its client, and of neither."""
    scrape = Scrape(metrics)
    end = {"client": "none", "code": "none", "outcome": "rejected"}
    for relay, operation in product(["anthropic", "openai"], OPERATIONS):
        labels = {"relay": relay, "operation": operation}
        assert scrape.value("relay_requests_total", **end, **labels) == 0
    assert scrape.value("relay_requests_total", relay="none", operation="other", **end) == 0


def test_nothing_else_is_there_from_the_start(metrics: Metrics) -> None:
    """Label sets are closed: the product of what is known, and no more."""
    count = 2 * 2 * len(OPERATIONS) * len(ENDS) + 2 * len(OPERATIONS) + 1
    assert len(Scrape(metrics).labels("relay_requests_total")) == count


def test_every_reason_has_its_counter_from_the_start() -> None:
    """Even before any relay is known."""
    scrape = Scrape(Metrics(CollectorRegistry()))
    assert {labels["reason"] for labels in scrape.labels("relay_rejections_total")} == {*REASONS}
    assert scrape.total("relay_rejections_total") == 0


def test_histograms_and_gauges_have_their_children_from_the_start(metrics: Metrics) -> None:
    """For each relay, operation and class of outcome."""
    scrape = Scrape(metrics)
    for relay, operation, kind in product(["anthropic", "openai"], OPERATIONS, ["ok", "error"]):
        labels = {"relay": relay, "operation": operation, "outcome_class": kind}
        assert scrape.value("relay_request_duration_seconds_count", **labels) == 0
    for relay in ("anthropic", "openai"):
        assert scrape.value("relay_time_to_first_byte_seconds_count", relay=relay) == 0
        assert scrape.value("relay_requests_in_flight", relay=relay) == 0


def test_no_client_is_a_client_of_that_name() -> None:
    """Without declared clients, calls are counted under none."""
    metrics = Metrics(CollectorRegistry())
    metrics.prepare(["anthropic"], ["none"])
    labels = {"relay": "anthropic", "client": "none", "operation": "messages"}
    assert Scrape(metrics).value("relay_requests_total", code="200", outcome="ok", **labels) == 0


def test_reload_adds_children_and_keeps_counts(metrics: Metrics) -> None:
    """A counter never falls."""
    exchange = call(metrics)
    exchange.answered(200)
    exchange.succeeded()
    metrics.observe(exchange)
    metrics.prepare(["anthropic", "new"], ["agent"])
    scrape = Scrape(metrics)
    labels = {"client": "agent", "operation": "messages", "code": "200", "outcome": "ok"}
    assert scrape.value("relay_requests_total", relay="anthropic", **labels) == 1
    assert scrape.value("relay_requests_total", relay="new", **labels) == 0


# Buckets and names


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        (
            "relay_request_duration_seconds",
            {"relay": "anthropic", "operation": "messages", "outcome_class": "ok"},
            DURATION,
        ),
        ("relay_time_to_first_byte_seconds", {"relay": "anthropic"}, FIRST_BYTE),
    ],
)
def test_buckets_are_those_of_the_dashboards(
    metrics: Metrics, name: str, labels: dict[str, str], expected: list[float]
) -> None:
    """Alerts ask for these very bounds."""
    bounds = [float(bound) for bound in Scrape(metrics).buckets(name, **labels)]
    assert bounds == [*expected, float("inf")]


def test_only_documented_names_are_exposed(metrics: Metrics) -> None:
    """Nothing of the process or of Python, and no time of creation."""
    metrics.show([RelayState("anthropic", "claude", ready=True, up=True)])
    assert set(Scrape(metrics).families) == {
        "relay_requests",
        "relay_requests_in_flight",
        "relay_request_duration_seconds",
        "relay_time_to_first_byte_seconds",
        "relay_rejections",
        "relay_credential_ready",
        "relay_upstream_up",
        "relay_build_info",
    }


def test_build_info_names_the_version(metrics: Metrics) -> None:
    """So that a dashboard shows an upgrade."""
    assert Scrape(metrics).value("relay_build_info", version=__version__) == 1


def test_every_metric_has_help_and_the_right_type(metrics: Metrics) -> None:
    """As promtool wants it."""
    families = Scrape(metrics).families
    assert all(family.documentation for family in families.values())
    assert families["relay_requests"].type == "counter"
    assert families["relay_rejections"].type == "counter"
    assert families["relay_requests_in_flight"].type == "gauge"
    assert families["relay_request_duration_seconds"].type == "histogram"


# One call, one observation


def test_good_call_is_observed_once(metrics: Metrics) -> None:
    """In each metric that it concerns."""
    exchange = call(metrics, seconds=0.3)
    assert Scrape(metrics).value("relay_requests_in_flight", relay="anthropic") == 1
    exchange.answered(200)
    exchange.first_byte = 0.2
    exchange.succeeded()
    metrics.observe(exchange)
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
    ("client_abort", "none", "ok"),
    ("rejected", "none", "error"),
]


@pytest.mark.parametrize(("outcome", "code", "kind"), ENDINGS)
def test_each_outcome_is_observed_once(
    metrics: Metrics, outcome: str, code: str, kind: str
) -> None:
    """Counter, duration and first byte, under the right labels."""
    exchange = call(metrics)
    exchange.outcome = outcome
    if code != "none":
        exchange.answered(int(code))
    metrics.observe(exchange)
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
    exchange = call(metrics, known=known)
    exchange.failed(error())
    metrics.observe(exchange)
    scrape = Scrape(metrics)
    labels = {"relay": "anthropic", "client": "agent", "operation": "messages"}
    if not known:
        labels = {"relay": "none", "client": "none", "operation": "other"}
    assert scrape.value("relay_requests_total", code="none", outcome="rejected", **labels) == 1
    assert scrape.total("relay_requests_total") == 1
    assert scrape.value("relay_rejections_total", reason=reason) == 1
    assert scrape.total("relay_rejections_total") == 1
    assert scrape.total("relay_request_duration_seconds_count") == (1 if known else 0)


def test_missing_credential_is_no_rejection(metrics: Metrics) -> None:
    """It is the relay's own trouble."""
    exchange = call(metrics)
    exchange.failed(errors.CredentialMissing())
    metrics.observe(exchange)
    scrape = Scrape(metrics)
    assert scrape.total("relay_rejections_total") == 0
    labels = {"relay": "anthropic", "client": "agent", "operation": "messages"}
    value = scrape.value("relay_requests_total", code="none", outcome="internal_error", **labels)
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
    exchange = Exchange()
    exchange.failed(error)
    assert (exchange.outcome, exchange.status, exchange.code) == (outcome, status, None)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_keeps_the_upstreams_code(status: int) -> None:
    """The agent was told something else."""
    exchange = Exchange()
    exchange.failed(errors.UpstreamRedirected(status))
    assert (exchange.status, exchange.code) == (502, status)


@pytest.mark.parametrize("error", [errors.UpstreamTruncated(), errors.UpstreamStalled()])
def test_failure_within_an_answer_keeps_its_status(error: errors.RelayError) -> None:
    """The head had been passed on already."""
    exchange = Exchange()
    exchange.answered(200)
    exchange.failed(error)
    assert (exchange.status, exchange.code, exchange.outcome) == (200, 200, error.outcome)


def test_agents_fault_within_an_answer_is_no_refusal() -> None:
    """It was relayed already: the agent has left, in a way."""
    exchange = Exchange()
    exchange.answered(200)
    exchange.failed(errors.RequestStalled())
    assert (exchange.outcome, exchange.rejection) == ("client_abort", None)
    assert (exchange.status, exchange.code) == (200, 200)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "ok"), (304, "ok"), (399, "ok"), (400, "upstream_error"), (529, "upstream_error")],
)
def test_answer_passed_on_to_its_end_is_judged_by_its_status(status: int, outcome: str) -> None:
    """An error of the upstream is one, however well it was passed on."""
    exchange = Exchange()
    exchange.answered(status)
    exchange.succeeded()
    assert exchange.outcome == outcome


def test_exchange_times_run_until_it_is_finished() -> None:
    """And stand still afterwards."""
    assert Exchange().time_to_first_byte is None
    exchange = Exchange()
    exchange.answered(200)
    assert exchange.time_to_first_byte is not None
    assert 0 <= exchange.time_to_first_byte <= exchange.duration
    exchange.finish()
    assert exchange.duration == exchange.duration


# Gauges


def test_gauges_show_the_relays_there_are(metrics: Metrics) -> None:
    """Those that are gone, or that nobody knows of yet, are absent."""
    metrics.show(
        [
            RelayState("anthropic", "claude", ready=True, up=True),
            RelayState("openai", "openai", ready=False, up=False),
            RelayState("new", "anthropic", ready=True, up=None),
        ]
    )
    scrape = Scrape(metrics)
    assert scrape.value("relay_credential_ready", relay="anthropic", grant="claude") == 1
    assert scrape.value("relay_credential_ready", relay="openai", grant="openai") == 0
    assert scrape.value("relay_upstream_up", relay="anthropic") == 1
    assert scrape.value("relay_upstream_up", relay="openai") == 0
    assert scrape.value("relay_upstream_up", relay="new") is None
    metrics.show([RelayState("new", "anthropic", ready=True, up=True)])
    scrape = Scrape(metrics)
    assert scrape.labels("relay_upstream_up") == [{"relay": "new"}]
    assert scrape.labels("relay_credential_ready") == [{"relay": "new", "grant": "anthropic"}]


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
    one.observe(Exchange(outcome="rejected", rejection="token"))
    assert Scrape(one).total("relay_rejections_total") == 1
    assert Scrape(other).total("relay_rejections_total") == 0
