"""What answers used and how long they took, by closed sets of labels."""

import pytest

from relay import errors
from relay.telemetry.call import CallRecord
from relay.telemetry.metrics import Metrics
from tests.harness.clock import SetClock
from tests.harness.messages import response_head
from tests.harness.model_answers import (
    MESSAGE_TOKENS,
    MODEL,
    error_event,
    message_body,
    message_events,
    message_start,
)
from tests.unit.telemetry.metrics.scrapes import (
    DOCUMENT,
    EVENT_STREAM,
    MODELS,
    Scrape,
    answered_call,
    call,
    openmetrics_of,
)

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


def test_times_of_a_stream_are_those_of_its_events(metrics: Metrics, clock: SetClock) -> None:
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
