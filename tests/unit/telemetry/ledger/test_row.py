"""A call as a row: what is known of it, under the names that are promised."""

from __future__ import annotations

import pytest

from relay.telemetry.call import CallRecord
from relay.telemetry.hops import ChainRecord, HopRecord
from relay.telemetry.ledger.row import NAME_LIMIT, row_of
from relay.telemetry.prices import Prices
from tests.harness.messages import response_head
from tests.harness.model_answers import JSON, MESSAGE_TOKENS, MODEL, message_body


@pytest.fixture(scope="module")
def prices() -> Prices:
    """The list."""
    return Prices()


def a_call() -> CallRecord:
    """Return a call of which everything is known."""
    record = CallRecord(method="POST", operation="messages", path="/v1/messages/secret-folder")
    record.relay, record.client, record.grant = "anthropic", "agent", "claude"
    record.session_id, record.agent_id, record.parent_agent_id = "s", "a", "p"
    record.request_bytes, record.response_bytes = 12, 34
    record.answered(response_head(200, ("content-type", JSON), ("request-id", "req_1")))
    assert record.meter is not None
    record.meter.feed(message_body(), record.started + 1)
    record.succeeded()
    record.finish()
    record.finished, record.ended = record.started + 1.5, 1000.5
    return record


def test_a_row_holds_what_is_known(prices: Prices) -> None:
    """And nothing else: no path, no header, no content."""
    row = row_of(a_call(), prices)._asdict()
    assert row.pop("cost") > 0
    assert row == {
        **MESSAGE_TOKENS,
        "time": 1000.5,
        "relay": "anthropic",
        "client": "agent",
        "grant": "claude",
        "session_id": "s",
        "agent_id": "a",
        "parent_agent_id": "p",
        "operation": "messages",
        "model": MODEL,
        "status": 200,
        "outcome": "ok",
        "reason": None,
        "error_type": None,
        "duration": 1.5,
        "first_token": None,
        "reasoning": 3,
        "tier": None,
        "estimate": 0,
        "estimate_tokens": 0,
        "request_id": "req_1",
        "request_bytes": 12,
        "response_bytes": 34,
        "legs": None,
        "hops": None,
        "calls": 1,
    }


def test_what_is_not_known_is_null(prices: Prices) -> None:
    """Not an empty text, nor what stands for nobody in metrics."""
    row = row_of(CallRecord(), prices)
    known = {name for name, value in row._asdict().items() if value is not None}
    assert known == {
        *("time", "operation", "outcome", "duration", "request_bytes", "response_bytes"),
        *("cost", "estimate", "estimate_tokens", "calls"),
    }


def test_what_others_chose_is_cut(prices: Prices) -> None:
    """A model's name, or an id, may be as long as it likes."""
    record = a_call()
    record.session_id = record.agent_id = record.parent_agent_id = "x" * 500
    record.grant = record.client = record.relay = record.request_id = "y" * 500
    row = row_of(record, prices)
    texts = [value for value in row if isinstance(value, str)]
    assert max(map(len, texts)) == NAME_LIMIT == 128


def test_a_call_through_hops_says_how_it_went(prices: Prices) -> None:
    """How many attempts there were on the last leg."""
    record = a_call()
    record.chain = ChainRecord([HopRecord("headroom", "passed")], [a_call(), a_call()])
    row = row_of(record, prices)
    assert row.legs == 2
    assert row.output == 2 * MESSAGE_TOKENS["output"]


def test_tokens_without_a_price_are_estimated(prices: Prices) -> None:
    """At the price of the unknown, for limits; the cost is not known."""
    record = a_call()
    assert record.usage is not None
    record.usage = record.usage._replace(
        parts=tuple(part._replace(model="house") for part in record.usage.parts)
    )
    dear = Prices(unknown={"input": 15, "output": 75})
    row = row_of(record, dear)
    assert row.cost is None
    assert row.estimate > 0
