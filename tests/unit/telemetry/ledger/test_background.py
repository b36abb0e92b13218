"""Responses that are yet to be billed: each once, and no more of them than may be."""

from __future__ import annotations

import json

import pytest

from relay.telemetry.call import CallRecord
from relay.telemetry.ledger import background
from relay.telemetry.ledger.background import AWAITED, Backgrounds
from relay.telemetry.ledger.bill import bill_attempt
from relay.telemetry.prices import Prices
from relay.telemetry.spending import Account
from tests.harness.ledger import a_row
from tests.harness.messages import response_head
from tests.harness.model_answers import GPT, JSON

USAGE = {"input_tokens": 1000, "output_tokens": 2000}
ACCOUNT = Account("agent", "agent", "s")


@pytest.fixture(scope="module")
def prices() -> Prices:
    """The list, and the price of what is not in it."""
    return Prices(unknown={"input": 15, "output": 75})


def call(prices: Prices, response_id: str, method: str = "POST", **members: object) -> CallRecord:
    """Return a call that was answered with a response."""
    record = CallRecord(method=method, operation="responses", api="openai", sent_at=1.0)
    record.background = response_id if method == "GET" else ""
    record.answered(response_head(200, ("content-type", JSON)))
    assert record.meter is not None
    body = {"id": response_id, "object": "response", "model": GPT, "output": []} | members
    record.meter.feed(json.dumps(body).encode(), 1.0)
    record.succeeded()
    record.finish()
    record.bill = bill_attempt(record, prices)
    return record


def test_it_is_billed_once_and_to_whoever_made_it(prices: Prices) -> None:
    """By the first answer that states its usage, and not by one that does not."""
    awaited, row = Backgrounds(), a_row(client="agent")
    awaited.expect(call(prices, "r", status="queued"), row, ACCOUNT)
    assert awaited.fill(call(prices, "r", "GET", status="in_progress"), prices) is None
    assert "r" in awaited
    filled = awaited.fill(call(prices, "r", "GET", status="completed", usage=USAGE), prices)
    assert filled is not None
    assert (filled.time, filled.account) == (row.time, ACCOUNT)
    assert (filled.row.input, filled.row.output, filled.row.calls) == (1000, 2000, 0)
    assert filled.change.tokens == 3000
    assert awaited.fill(call(prices, "r", "GET", usage=USAGE), prices) is None


def test_what_stated_its_usage_is_not_awaited(prices: Prices) -> None:
    """A response that was waited for."""
    awaited = Backgrounds()
    awaited.expect(call(prices, "r", usage=USAGE), a_row(), ACCOUNT)
    assert "r" not in awaited


def test_the_last_ten_thousand_are_awaited(prices: Prices, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes first."""
    assert AWAITED == 10_000
    monkeypatch.setattr(background, "AWAITED", 2)
    awaited = Backgrounds()
    for name in "abc":
        awaited.expect(call(prices, name, status="queued"), a_row(), ACCOUNT)
    assert [name in awaited for name in "abc"] == [False, True, True]
