"""One call as it is measured: what it was, how it ended, and how long it took."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay import errors
from relay.http.grammar import Field
from relay.telemetry import call
from relay.telemetry.access_log import call_fields
from relay.telemetry.call import ID_LIMIT, CallRecord, first_value
from tests.harness.clock import SetClock
from tests.harness.messages import response_head
from tests.harness.model_answers import (
    JSON,
    MESSAGE_STOP,
    MESSAGE_TOKENS,
    MODEL,
    RESPONSES_JSON,
    STREAM,
    error_event,
    message_body,
    message_events,
    message_start,
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """The clock that calls look at."""
    clock = SetClock()
    monkeypatch.setattr(call, "time", clock)
    return clock


def answered(
    *pieces: bytes,
    status: int = 200,
    content_type: str = STREAM,
    method: str = "POST",
    is_endpoint: bool = True,
) -> CallRecord:
    """Return a call whose answer has come so far."""
    record = CallRecord(method=method, operation="messages", started=100.0)
    record.is_endpoint = is_endpoint
    record.answered(response_head(status, ("content-type", content_type)))
    assert record.meter is not None
    for piece in pieces:
        record.meter.feed(piece, 101.0)
    return record


# How it ended


def test_whole_stream_is_ok() -> None:
    """Its usage is known."""
    record = answered(*message_events())
    record.succeeded()
    record.finish()
    assert record.outcome == "ok"
    assert record.usage is not None
    assert record.usage.tokens == MESSAGE_TOKENS
    assert record.usage.missing is None


@pytest.mark.parametrize(
    ("pieces", "outcome", "missing"),
    [
        (message_events()[:-1], "ok", None),
        (message_events()[:-2], "truncated", "truncated"),
        (message_events()[:4], "truncated", "truncated"),
        ((), "upstream_error", "truncated"),
        ((b"<html></html>",), "upstream_error", "truncated"),
        ((b'{"status":"ok"}',), "upstream_error", "absent"),
        ((b'{"error":{"type":"api_error"}}',), "upstream_error", "absent"),
        ((message_start(), error_event("overloaded_error")), "stream_error", "truncated"),
        ((*message_events(), error_event("api_error")), "stream_error", None),
    ],
)
def test_stream_that_ended_cleanly_is_judged_by_its_events(
    pieces: tuple[bytes, ...], outcome: str, missing: str | None
) -> None:
    """HTTP says nothing of whether a message is whole."""
    record = answered(*pieces)
    record.succeeded()
    record.finish()
    assert (record.outcome, record.code) == (outcome, 200)
    assert record.usage is not None
    assert record.usage.missing == missing


@pytest.mark.parametrize(
    ("pieces", "outcome", "missing"),
    [
        (message_events()[:4], "client_abort", "client_abort"),
        (message_events()[:-1], "client_abort", None),
        (message_events(), "ok", None),
        ((message_start(), error_event("overloaded_error")), "stream_error", "truncated"),
    ],
)
def test_agent_that_left_is_judged_by_what_it_left(
    pieces: tuple[bytes, ...], outcome: str, missing: str | None
) -> None:
    """Behind the end it is no abort, and behind an error it is the error's doing."""
    record = answered(*pieces)
    record.finish()
    assert record.outcome == outcome
    assert record.usage is not None
    assert record.usage.missing == missing


@pytest.mark.parametrize(
    "error", [errors.UpstreamTruncated(), errors.UpstreamStalled(), errors.RelayFault()]
)
@pytest.mark.parametrize("count", [0, 4, len(message_events())])
def test_failure_of_the_connection_stays_one(error: errors.RelayError, count: int) -> None:
    """Whatever the events say."""
    record = answered(*message_events()[:count])
    record.failed(error)
    record.finish()
    assert (record.outcome, record.code) == (error.outcome, 200)


@pytest.mark.parametrize("status", [400, 429, 529])
def test_refusal_stays_one(status: int) -> None:
    """It is not taken for a stream that lacks its end."""
    record = answered(error_event("overloaded_error"), status=status)
    record.succeeded()
    record.finish()
    assert record.outcome == "upstream_error"
    assert record.usage is not None
    assert (record.usage.error_type, record.usage.error_where) == (
        "overloaded_error",
        "http",
    )
    assert record.usage.missing is None


def test_call_without_an_answer_has_no_reading() -> None:
    """It is over all the same."""
    record = CallRecord()
    record.finish()
    assert (record.outcome, record.usage, record.code) == ("client_abort", None, None)
    assert record.time_to_first_byte is None
    assert record.time_to_first_token is None
    assert record.request_overhead is None


@pytest.mark.parametrize("error", [errors.UpstreamTruncated(), errors.UpstreamStalled(), None])
def test_only_a_whole_answer_can_be_unusable(error: errors.RelayError | None) -> None:
    """Of one that breaks off, or that the agent leaves, nobody knows what it would have been."""
    exchange = answered(content_type=JSON)
    if error is not None:
        exchange.failed(error)
    exchange.finish()
    assert exchange.outcome == (error.outcome if error else "client_abort")


def test_what_is_below_an_endpoint_is_metered_and_not_judged() -> None:
    """Its answers are its own."""
    exchange = answered(b'{"usage":{"input_tokens":7}}', content_type=JSON, is_endpoint=False)
    exchange.succeeded()
    exchange.finish()
    assert exchange.usage is not None
    assert (exchange.outcome, exchange.usage.tokens) == ("ok", {"input": 7})
    exchange = answered(b'{"status":"ok"}', content_type=JSON, is_endpoint=False)
    exchange.succeeded()
    exchange.finish()
    assert exchange.usage is not None
    assert (exchange.outcome, exchange.usage.missing) == ("ok", "absent")


def test_what_is_free_is_not_metered() -> None:
    """Whatever it states, and nothing is missing."""
    exchange = CallRecord(method="POST", operation="messages", is_endpoint=False, is_billed=False)
    exchange.answered(response_head(200, ("content-type", JSON)))
    assert exchange.meter is not None
    exchange.meter.feed(b'{"usage":{"input_tokens":7}}', 1.0)
    exchange.succeeded()
    exchange.finish()
    assert exchange.usage is not None
    assert (exchange.usage.tokens, exchange.usage.missing) == ({}, None)


# Whether it is metered


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_only_what_is_made_is_metered(method: str) -> None:
    """A response that is fetched again was counted when it was made."""
    record = CallRecord(method=method, operation="responses")
    record.answered(response_head(200, ("content-type", JSON)))
    assert record.meter is not None
    record.meter.feed(RESPONSES_JSON.body, 1.0)
    record.succeeded()
    record.finish()
    assert record.outcome == "ok"
    assert record.usage is not None
    assert (record.usage.tokens, record.usage.missing) == ({}, None)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_errors_are_read_whatever_was_asked(method: str) -> None:
    """Their type is told of every call."""
    body = b'{"type":"error","error":{"type":"not_found_error","message":"x"}}'
    record = answered(body, status=404, content_type=JSON, method=method)
    record.succeeded()
    record.finish()
    assert record.usage is not None
    assert record.usage.error_type == "not_found_error"


def test_codings_on_several_lines_are_one_list() -> None:
    """Undone from the last to the first; here there is no decoder for one of them."""
    record = CallRecord(method="POST", operation="messages")
    lines = [("content-encoding", "gzip"), ("content-encoding", "compress")]
    record.answered(response_head(200, ("content-type", JSON), *lines))
    record.succeeded()
    record.finish()
    assert record.usage is not None
    assert record.usage.missing == "encoding"


# Times


def test_times_are_seconds_from_the_start(clock: SetClock) -> None:
    """Until now while it runs, and to its end afterwards."""
    record = CallRecord(method="POST", operation="messages", started=100.0)
    clock.now = 101.5
    assert record.duration == 1.5
    record.waited, record.sent_at = 0.25, 100.75
    assert record.request_overhead == 0.5
    record.answered(response_head(200, ("content-type", STREAM)))
    assert record.time_to_first_byte == 1.5
    assert record.meter is not None
    start, ping, *rest = message_events()
    record.meter.feed(start + ping, 102.0)
    record.meter.feed(b"".join(rest), 103.0)
    assert "first_token" not in call_fields(record)  # not before the meter was read
    record.succeeded()
    clock.now = 104.5
    record.finish()
    clock.now = 200.0
    assert record.duration == 4.5
    assert record.time_to_first_token == 3.0
    assert record.usage is not None
    assert record.usage.max_gap == 1.5


def test_answer_that_is_no_stream_has_no_first_token(clock: SetClock) -> None:
    """Nor a silence within."""
    record = answered(message_body(), content_type=JSON)
    record.succeeded()
    record.finish()
    assert record.time_to_first_token is None
    assert record.usage is not None
    assert record.usage.max_gap is None


def test_what_is_known_shows_while_it_runs() -> None:
    """The model and the input's tokens come with the first event."""
    record = answered(message_start())
    assert record.meter is not None
    assert record.meter.model == MODEL
    assert record.meter.tokens == MESSAGE_TOKENS | {"output": 1}
    record.meter.feed(b"".join(message_events()[1:-1]), 102.0)
    assert record.meter.tokens == MESSAGE_TOKENS
    record.meter.feed(MESSAGE_STOP, 103.0)
    record.succeeded()
    record.finish()
    assert record.outcome == "ok"


# Identifiers


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([("request-id", "req_1")], "req_1"),
        ([("x-request-id", "req_2")], "req_2"),
        ([("x-request-id", "req_2"), ("Request-Id", "req_1")], "req_1"),
        ([("request-id", "req_1"), ("request-id", "req_3")], "req_1"),
        ([("request-id", ""), ("x-request-id", "req_2")], "req_2"),
        ([], ""),
    ],
)
def test_request_id_is_the_upstreams(fields: list[tuple[str, str]], expected: str) -> None:
    """By the name that either API gives it."""
    record = CallRecord(method="POST")
    record.answered(response_head(200, *fields))
    assert record.request_id == expected


@pytest.mark.parametrize(
    "value", ["", "a b", "a\tb", "caf\xe9", 'a"b', "a\\b", "\x7f", "x outcome=ok"]
)
def test_what_is_no_identifier_is_left_out(value: str) -> None:
    """It must neither forge a field of a log line nor need quoting in an exemplar."""
    field = Field(b"request-id", b"request-id", value.encode("latin-1"))
    head = replace(response_head(), fields=(field,))
    assert first_value(head, b"request-id") == ""


@pytest.mark.parametrize("length", [1, ID_LIMIT, ID_LIMIT + 1, 8_000])
def test_identifier_is_cut_to_its_limit(length: int) -> None:
    """128 characters are enough to find a call again."""
    assert ID_LIMIT == 128
    head = response_head(200, ("request-id", "r" * length))
    assert first_value(head, b"request-id") == "r" * min(length, 128)
