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
    exchange = CallRecord(method="POST", path=path, relay="anthropic", operation="messages")
    exchange.client = "agent"
    return exchange


def answer(exchange: CallRecord, *pieces: bytes) -> None:
    """Have a call answered so far."""
    head = response_head(200, ("content-type", STREAM), ("request-id", "req_1"))
    exchange.answered(head)
    assert exchange.meter is not None
    for piece in pieces:
        exchange.meter.feed(piece, exchange.started + 1)


def shown(history: RecentCalls, which: str) -> list[dict[str, object]]:
    """Return the calls in flight, or the recent ones, as they come out of JSON."""
    calls = json.loads(json.dumps(history.describe()))[which]
    assert isinstance(calls, list)
    return calls


def test_nothing_has_happened_yet() -> None:
    """An empty history has its time."""
    before = time.time()
    described = RecentCalls().describe()
    assert (described["in_flight"], described["recent"]) == ([], [])
    assert isinstance(described["time"], float)
    assert before - 1 <= described["time"] <= time.time() + 1


def test_call_in_flight_shows_what_is_known_by_now() -> None:
    """It has an age instead of a duration, and no outcome yet."""
    history = RecentCalls()
    exchange = call()
    history.begin(exchange)
    (fields,) = shown(history, "in_flight")
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
    answer(exchange, message_start())
    (fields,) = shown(history, "in_flight")
    assert fields["model"] == MODEL
    assert fields["tokens"] == MESSAGE_TOKENS | {"output": 1}
    assert (fields["status"], fields["request_id"]) == (200, "req_1")
    assert shown(history, "recent") == []


def test_call_that_is_over_is_a_recent_one() -> None:
    """With all that its line in the log says, and when it ended."""
    history = RecentCalls()
    exchange = call()
    history.begin(exchange)
    answer(exchange, *message_events())
    exchange.succeeded()
    exchange.finish()
    before = time.time()
    history.end(exchange)
    assert shown(history, "in_flight") == []
    (fields,) = shown(history, "recent")
    assert fields["tokens"] == MESSAGE_TOKENS
    assert fields["outcome"] == "ok"
    assert isinstance(fields["duration"], float)
    assert "age" not in fields
    finished = fields["finished"]
    assert isinstance(finished, float)
    assert before - 1 <= finished <= time.time() + 1


def test_refused_call_is_a_recent_one_too() -> None:
    """Though nobody knew its relay, and it was never in flight."""
    history = RecentCalls()
    history.end(CallRecord(outcome="rejected", rejection="relay"))
    (fields,) = shown(history, "recent")
    assert (fields["outcome"], fields["reason"]) == ("rejected", "relay")
    assert "relay" not in fields


def test_calls_that_are_alike_are_told_apart() -> None:
    """The end of one is not the end of another."""
    history = RecentCalls()
    one, other = call(), call()
    history.begin(one)
    history.begin(other)
    assert len(shown(history, "in_flight")) == 2
    other.request_bytes = 7
    history.end(other)
    (fields,) = shown(history, "in_flight")
    assert fields["request_bytes"] == 0


@pytest.mark.parametrize("count", [RECENT - 1, RECENT, RECENT + 50])
def test_last_hundred_are_kept_in_order(count: int) -> None:
    """Older ones are forgotten: a history does not grow."""
    assert RECENT == 100
    history = RecentCalls()
    for number in range(count):
        exchange = call(f"/relay/anthropic/{number}")
        history.begin(exchange)
        exchange.finish()
        history.end(exchange)
    paths = [fields["path"] for fields in shown(history, "recent")]
    assert paths == [f"/relay/anthropic/{number}" for number in range(count)][-100:]
    assert shown(history, "in_flight") == []


def test_recent_call_is_kept_without_its_meter() -> None:
    """A hundred answers' pieces would be a lot to keep; what the meter read is still shown."""
    history = RecentCalls()
    exchange = call()
    history.begin(exchange)
    answer(exchange, *message_events())
    exchange.finish()
    assert exchange.meter is not None
    meter = weakref.ref(exchange.meter)
    history.end(exchange)
    assert meter() is None
    (fields,) = shown(history, "recent")
    assert (fields["model"], fields["tokens"]) == (MODEL, MESSAGE_TOKENS)
