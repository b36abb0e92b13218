"""Calls as the page shows them, and what it costs to say so."""

from __future__ import annotations

import time

import pytest

from relay.admin.overview import as_json, legs_by_relay
from relay.admin.rows import TEXT_LIMIT, ended_row, running_row
from relay.telemetry.call import CallRecord
from relay.telemetry.usage import Meter
from tests.harness.model_answers import (
    MESSAGE_STREAM,
    MESSAGE_TOKENS,
    message_start,
    text_delta,
)

# Four times what is promised of it: here coverage looks on at each line.
SECONDS = 0.040


def streaming(pieces: int = 3, *, operation: str = "messages") -> CallRecord:
    """Return a call whose answer streams."""
    record = CallRecord(method="POST", path="/relay/anthropic/v1/messages", relay="anthropic")
    record.operation, record.client, record.session_id = operation, "agent", "s" * 36
    record.sent_at, record.first_byte = record.started + 0.001, record.started + 0.002
    record.status = record.code = 200
    record.meter = Meter(operation, 200, b"text/event-stream")
    for piece in MESSAGE_STREAM.pieces[:pieces]:
        record.meter.feed(piece, record.started + 0.003)
        record.response_bytes += len(piece)
    return record


def ended() -> CallRecord:
    """Return a call that is over."""
    record = streaming(len(MESSAGE_STREAM.pieces))
    record.succeeded()
    record.finish()
    return record


def test_what_was_read_from_the_cache_is_part_of_what_went_in() -> None:
    """Input as it was stated, cache included; and the key stays the same to the end."""
    record = ended()
    row = ended_row(record)
    assert row["input"] == sum(MESSAGE_TOKENS.values()) - MESSAGE_TOKENS["output"]
    assert (row["cache_read"], row["output"]) == (7, 9)
    assert row["key"] == running_row(record)["key"]


def test_output_is_estimated_until_it_is_stated() -> None:
    """By the size of the stream, where that is more than what was stated so far."""
    record = streaming()
    record.response_bytes = 35_000
    row = running_row(record)
    assert (row["output"], row["estimated"]) == (1_000, True)
    record.response_bytes = 0
    assert "estimated" not in running_row(record)


def test_where_the_text_is_counted_it_is_what_limits_count() -> None:
    """Four characters a token, whatever is around them."""
    record = streaming()
    record.meter = Meter("messages", 200, b"text/event-stream", sizes=True)
    record.meter.feed(message_start(), 0.0)
    for _ in range(100):
        record.meter.feed(text_delta("eight ch"), 0.0)
    row = running_row(record)
    assert (row["output"], row["estimated"]) == (200, True)


def test_what_does_not_stream_is_not_estimated() -> None:
    """A JSON answer comes at once, with its usage; other operations write no tokens."""
    record = streaming(operation="models")
    record.response_bytes = 35_000
    assert "estimated" not in running_row(record)
    waiting = CallRecord(operation="messages")
    assert (running_row(waiting)["output"], running_row(waiting)["input"]) == (0, None)


def test_the_silence_that_lasts_counts() -> None:
    """Since the last piece, or since the request went out where none has come."""
    record = streaming()
    now = time.perf_counter()
    record.meter = Meter("messages", 200, b"text/event-stream")
    record.meter.feed(b"event", now - 20)
    assert running_row(record)["silence"] == pytest.approx(20, abs=5)
    record.meter.feed(b"event", now)
    assert running_row(record)["silence"] == pytest.approx(20, abs=5)
    waiting = CallRecord(started=now - 40, sent_at=now - 30)
    assert running_row(waiting)["silence"] == pytest.approx(30, abs=5)


def test_long_names_are_cut() -> None:
    """So that a hundred of them are no megabyte a second."""
    record = CallRecord(path="/" + "x" * 10_000)
    assert running_row(record)["path"] == "/" + "x" * (TEXT_LIMIT - 1) + "…"


def test_a_hundred_of_each_hold_up_no_call() -> None:
    """In the thread's own time, for others may use the machine as well."""
    running, over = [streaming() for _ in range(100)], [ended() for _ in range(100)]
    took = []
    for _ in range(5):
        begun = time.thread_time()
        rows = [running_row(record) for record in running]
        recent = [ended_row(record) for record in over]
        text = as_json({"in_flight": rows, "ended": recent, "legs": legs_by_relay(over)})
        took.append(time.thread_time() - begun)
        assert text.startswith(b'{"in_flight":[{"')  # and not as json.dumps would write it
    assert min(took) < SECONDS


def test_a_lone_surrogate_is_written_as_an_escape() -> None:
    """UTF-8 has none, and one name must not take the page away."""
    assert as_json({"name": "\ud800"}) == b'{"name": "\\ud800"}'
