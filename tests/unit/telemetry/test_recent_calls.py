"""The calls in flight and the last hundred: what is shown of them, and what is not."""

from __future__ import annotations

import json
import time
import weakref

import pytest

from relay.telemetry.call import CallRecord
from relay.telemetry.recent_calls import RECENT, RecentCalls
from tests.harness.messages import response_head
from tests.harness.model_answers import MESSAGE_TOKENS, MODEL, STREAM, message_events, message_start


def call(path: str = "/relay/anthropic/v1/messages") -> CallRecord:
    """Return a call that has begun."""
    record = CallRecord(method="POST", path=path, relay="anthropic", operation="messages")
    record.client = "agent"
    return record


def answer(record: CallRecord, *pieces: bytes) -> None:
    """Have a call answered so far."""
    head = response_head(200, ("content-type", STREAM), ("request-id", "req_1"))
    record.answered(head)
    assert record.meter is not None
    for piece in pieces:
        record.meter.feed(piece, record.started + 1)


def shown(recent: RecentCalls, which: str) -> list[dict[str, object]]:
    """Return the calls in flight, or the recent ones, as they come out of JSON."""
    calls = json.loads(json.dumps(recent.describe()))[which]
    assert isinstance(calls, list)
    return calls


def test_nothing_has_happened_yet() -> None:
    """An empty record has its time."""
    before = time.time()
    described = RecentCalls().describe()
    assert (described["in_flight"], described["recent"]) == ([], [])
    assert isinstance(described["time"], float)
    assert before - 1 <= described["time"] <= time.time() + 1


def test_call_in_flight_shows_what_is_known_by_now() -> None:
    """It has an age instead of a duration, and no outcome yet."""
    recent = RecentCalls()
    record = call()
    recent.begin(record)
    (fields,) = shown(recent, "in_flight")
    assert isinstance(fields.pop("age"), float)
    assert fields == {
        "relay": "anthropic",
        "client": "agent",
        "method": "POST",
        "path": "/relay/anthropic/v1/messages",
        "operation": "messages",
        "request_bytes": 0,
        "response_bytes": 0,
    }
    answer(record, message_start())
    (fields,) = shown(recent, "in_flight")
    assert fields["model"] == MODEL
    assert fields["tokens"] == MESSAGE_TOKENS | {"output": 1}
    assert (fields["status"], fields["request_id"]) == (200, "req_1")
    assert shown(recent, "recent") == []


def test_call_that_is_over_is_a_recent_one() -> None:
    """With all that its line in the log says, and when it ended."""
    recent = RecentCalls()
    record = call()
    recent.begin(record)
    answer(record, *message_events())
    record.succeeded()
    record.finish()
    before = time.time()
    recent.end(record)
    assert shown(recent, "in_flight") == []
    (fields,) = shown(recent, "recent")
    assert fields["tokens"] == MESSAGE_TOKENS
    assert fields["outcome"] == "ok"
    assert isinstance(fields["duration"], float)
    assert "age" not in fields
    finished = fields["finished"]
    assert isinstance(finished, float)
    assert before - 1 <= finished <= time.time() + 1


def test_refused_call_is_a_recent_one_too() -> None:
    """Though nobody knew its relay, and it was never in flight."""
    recent = RecentCalls()
    recent.end(CallRecord(outcome="rejected", rejection="relay"))
    (fields,) = shown(recent, "recent")
    assert (fields["outcome"], fields["reason"]) == ("rejected", "relay")
    assert "relay" not in fields


def test_calls_that_are_alike_are_told_apart() -> None:
    """The end of one is not the end of another."""
    recent = RecentCalls()
    one, other = call(), call()
    recent.begin(one)
    recent.begin(other)
    assert len(shown(recent, "in_flight")) == 2
    other.request_bytes = 7
    recent.end(other)
    (fields,) = shown(recent, "in_flight")
    assert fields["request_bytes"] == 0


@pytest.mark.parametrize("count", [RECENT - 1, RECENT, RECENT + 50])
def test_last_hundred_are_kept_in_order(count: int) -> None:
    """Older ones are forgotten: what is kept does not grow."""
    assert RECENT == 100
    recent = RecentCalls()
    for number in range(count):
        record = call(f"/relay/anthropic/{number}")
        recent.begin(record)
        record.finish()
        recent.end(record)
    paths = [fields["path"] for fields in shown(recent, "recent")]
    assert paths == [f"/relay/anthropic/{number}" for number in range(count)][-100:]
    assert shown(recent, "in_flight") == []


def test_recent_call_is_kept_without_its_meter() -> None:
    """A hundred answers' pieces would be a lot to keep; what the meter read is still shown."""
    recent = RecentCalls()
    record = call()
    recent.begin(record)
    answer(record, *message_events())
    record.finish()
    assert record.meter is not None
    meter = weakref.ref(record.meter)
    recent.end(record)
    assert meter() is None
    (fields,) = shown(recent, "recent")
    assert (fields["model"], fields["tokens"]) == (MODEL, MESSAGE_TOKENS)
