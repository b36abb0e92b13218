"""What a call may have used that nobody stated: by its size, and never more than once."""

from __future__ import annotations

from typing import Any

import pytest

from relay.telemetry.call import CallRecord
from relay.telemetry.ledger.bill import bill_attempt
from relay.telemetry.ledger.size import MOST_INPUT, by_size
from relay.telemetry.prices import Prices
from tests.harness.messages import response_head
from tests.harness.model_answers import (
    BLOCK_START,
    JSON,
    MESSAGE_JSON,
    STREAM,
    message_start,
    text_delta,
)


@pytest.fixture(scope="module")
def prices() -> Prices:
    """The list, and the price of what is not in it."""
    return Prices(unknown={"input": 15, "output": 75})


def call(
    body: bytes | None, content_type: str = JSON, outcome: str = "client_abort", **changes: object
) -> CallRecord:
    """Return a call that is over, with as much of an answer."""
    record = CallRecord(method="POST", operation="messages", sent_at=1.0, request_bytes=4000)
    record.is_counted = True
    for name, value in changes.items():
        setattr(record, name, value)
    if body is not None:
        record.answered(response_head(200, ("content-type", content_type)))
        assert record.meter is not None
        record.meter.feed(body, 1.0)
    if outcome == "ok":
        record.succeeded()
    record.finish()
    return record


LEFT = message_start() + BLOCK_START + text_delta("x" * 400)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (call(None), {"input": 1000}),
        (call(None, request_bytes=10**9), {"input": MOST_INPUT}),
        (call(LEFT, STREAM), {"output": 99}),
        (call(message_start(), STREAM), {}),
        (call(b'{"id": "x", "content": []}', outcome="ok"), {"input": 1000, "output": 6}),
        (call(b"x" * 40, "text/plain", "ok", operation="other"), {"input": 1000, "output": 10}),
        (call(MESSAGE_JSON.body, outcome="ok"), {}),
        (call(b"{}", outcome="ok", operation="batches"), {}),
    ],
)
def test_what_is_not_stated_is_taken_by_size(record: CallRecord, expected: dict[str, int]) -> None:
    """Of what is stated nothing; of a batch nothing, for no answer tells of it."""
    assert by_size(record, had_cache=False) == expected
    cached = {"cache_read" if kind == "input" else kind: n for kind, n in expected.items()}
    assert by_size(record, had_cache=True) == cached


def test_it_has_the_price_of_the_model_that_is_known(prices: Prices) -> None:
    """And of one that is not, the price of the unknown; tokens of the cache are none of limits'."""
    assert bill_attempt(call(LEFT, STREAM), prices).estimate == 99 * 25
    bill = bill_attempt(call(None), prices)
    assert (bill.cost, bill.estimate, bill.estimate_tokens) == (None, 15_000, 1000)
    cached = bill_attempt(call(None), prices, had_cache=True)
    assert (cached.estimate, cached.estimate_tokens) == (1500, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "count_tokens"},
        {"method": "GET"},
        {"is_billed": False},
        {"outcome": "rejected"},
        {"sent_at": None},
    ],
)
def test_what_was_not_billed_is_not_taken_for_it(prices: Prices, changes: dict[str, Any]) -> None:
    """What is free, or did not go out."""
    record = CallRecord(method="POST", operation="messages", sent_at=1.0, request_bytes=4000)
    for name, value in changes.items():
        setattr(record, name, value)
    assert bill_attempt(record, prices).spent == (0, 0)


def test_limits_count_what_the_answer_says(prices: Prices) -> None:
    """Input, cache writes and output; what the cache had costs, and is no token of theirs."""
    bill = bill_attempt(call(MESSAGE_JSON.body, outcome="ok"), prices)
    assert bill.spent == (20_451, 46)
    assert bill.had_cache is True
    assert bill_attempt(call(None), prices).had_cache is None
