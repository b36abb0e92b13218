"""What a scrape shows, and the calls that it tells of."""

import time
from collections.abc import Iterable
from dataclasses import replace

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from relay.errors import Api
from relay.telemetry.call import CallRecord
from relay.telemetry.metrics import HopState, Metrics, RelayState
from tests.harness.messages import response_head
from tests.harness.model_answers import JSON, STREAM, message_events

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


def call(metrics: Metrics, *, known: bool = True, seconds: float = 1.0) -> CallRecord:
    """Return a call that has begun, of a known relay or of none, and took so long."""
    record = CallRecord(method="POST", started=0.0)
    record.finished = seconds
    if known:
        record.relay, record.client, record.operation = "anthropic", "agent", "messages"
        metrics.begin(record)
    return record


NOW = 1_800_000_000.0


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


def relays_with(scrape: Scrape, name: str) -> set[str]:
    """Return the relays that there are samples of."""
    return {labels["relay"] for labels in scrape.labels(name)}
