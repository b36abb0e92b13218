"""What a call used and cost, by what the answers to it stated."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay.telemetry.call import CallRecord
from relay.telemetry.hops import ChainRecord
from relay.telemetry.ledger.bill import Bill, bill_of
from relay.telemetry.prices import Prices
from relay.telemetry.usage import TOKEN_TYPES
from tests.harness.messages import response_head
from tests.harness.model_answers import (
    CHAT_EVENTS,
    JSON,
    MESSAGE_JSON,
    MESSAGE_STREAM,
    MESSAGE_TOKENS,
    MODEL,
    STREAM,
    Recording,
    message_body,
)

# Of claude-opus-4-8, in dollars a million: input 5, read 0.5, written 6.25 and 10, output 25.
COST = 25 * 5 + 7 * 0.5 + (4 + 2) * 6.25 + 6 * 10 + 9 * 25
SEARCHES = 2 * 10_000
"""In micro-dollars, as everything here."""


@pytest.fixture(scope="module")
def prices() -> Prices:
    """The list, and the price of what is not in it."""
    return Prices(unknown={"input": 15, "output": 75})


def call(
    *pieces: bytes,
    status: int = 200,
    content_type: str = JSON,
    outcome: str = "ok",
    **changes: object,
) -> CallRecord:
    """Return a call that is over, with this answer."""
    record = CallRecord(method="POST", operation="messages", sent_at=1.0)
    for name, value in changes.items():
        setattr(record, name, value)
    record.answered(response_head(status, ("content-type", content_type)))
    assert record.meter is not None
    for piece in pieces:
        record.meter.feed(piece, 100.0)
    if outcome != "client_abort":
        record.succeeded()
    record.finish()
    return record


def recorded(recording: Recording) -> CallRecord:
    """Return a call with this answer."""
    return call(*recording.pieces, content_type=recording.content_type)


def unanswered(**changes: object) -> CallRecord:
    """Return a call that is over, without an answer."""
    record = CallRecord(method="POST", operation="messages")
    for name, value in changes.items():
        setattr(record, name, value)
    record.finish()
    return record


@pytest.mark.parametrize("recording", [MESSAGE_JSON, MESSAGE_STREAM])
def test_what_is_stated_is_billed(prices: Prices, recording: Recording) -> None:
    """Each type at its own price, and the searches."""
    bill = bill_of(recorded(recording), prices)
    assert bill.model == MODEL
    assert bill.tokens == {**MESSAGE_TOKENS, "reasoning": 3}
    assert bill.cost == round(COST + SEARCHES)
    assert bill.estimate == 0


def test_what_a_whole_statement_does_not_name_there_was_none_of(prices: Prices) -> None:
    """It is known: 0."""
    body = {"type": "message", "content": [], "stop_reason": "end_turn", "model": MODEL}
    usage = {"input_tokens": 1, "output_tokens": 2}
    bill = bill_of(call(json.dumps(body | {"usage": usage}).encode()), prices)
    assert bill.tokens == {**dict.fromkeys(TOKEN_TYPES, 0), "input": 1, "output": 2, "reasoning": 0}


def test_the_service_counts(prices: Prices) -> None:
    """Its name, and its multiple: of tokens, and not of searches."""
    body = json.loads(message_body())
    body["usage"] |= {"speed": "fast", "service_tier": "standard"}
    bill = bill_of(call(json.dumps(body).encode()), prices)
    assert bill.tier == "fast"
    assert bill.cost == round(2 * COST + SEARCHES)
    body["usage"] |= {"inference_geo": "us"}
    bill = bill_of(call(json.dumps(body).encode()), prices)
    assert bill.tier == "fast+us"
    assert bill.cost == round(2.2 * COST + SEARCHES)


def test_of_a_call_that_was_left_what_was_stated_is_billed(prices: Prices) -> None:
    """What was not stated is not known."""
    left = call(*MESSAGE_STREAM.pieces[:4], content_type=STREAM, outcome="client_abort")
    bill = bill_of(left, prices)
    assert bill.cost == round(COST - 8 * 25)
    assert bill.tokens == {**MESSAGE_TOKENS, "output": 1, "reasoning": None}


@pytest.mark.parametrize("pieces", [CHAT_EVENTS, CHAT_EVENTS[:1]])
def test_nobody_knows_what_a_call_cost_that_stated_nothing(
    prices: Prices, pieces: tuple[bytes, ...]
) -> None:
    """A chat's stream that was not asked for its usage, for example."""
    record = call(*pieces, content_type=STREAM, operation="chat_completions", api="openai")
    bill = bill_of(record, prices)
    assert bill.cost is None
    assert not any(bill.tokens.values())
    assert bill.estimate == 0


@pytest.mark.parametrize("status", [400, 429, 529])
def test_an_error_costs_nothing(prices: Prices, status: int) -> None:
    """Its tokens are not known, for nobody states any."""
    bill = bill_of(call(b'{"error":{"type":"x"}}', status=status), prices)
    assert bill == Bill(None, None, dict.fromkeys((*TOKEN_TYPES, "reasoning")), 0, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "count_tokens"},
        {"operation": "models", "method": "GET"},
        {"operation": "responses", "method": "GET"},
        {"is_billed": False},
    ],
)
def test_what_is_free_costs_nothing(prices: Prices, changes: dict[str, Any]) -> None:
    """Whatever its answer holds."""
    assert bill_of(call(b'{"input_tokens":5}', **changes), prices).cost == 0


@pytest.mark.parametrize(
    ("changes", "cost"),
    [
        ({"outcome": "rejected", "rejection": "path"}, 0),
        ({"outcome": "no_credential"}, 0),
        ({"outcome": "connect_error"}, 0),
        ({"outcome": "client_abort"}, 0),
        ({"outcome": "client_abort", "sent_at": 1.0}, None),
        ({"outcome": "timeout", "sent_at": 1.0}, None),
        ({"outcome": "rejected", "rejection": "too_large", "sent_at": 1.0}, 0),
    ],
)
def test_without_an_answer_it_depends_on_what_was_sent(
    prices: Prices, changes: dict[str, object], cost: int | None
) -> None:
    """What did not go out was not billed."""
    assert bill_of(unanswered(**changes), prices).cost == cost


def test_a_model_without_a_price_has_none(prices: Prices) -> None:
    """Its tokens are known all the same, and limits count them at the price of the unknown."""
    bill = bill_of(call(message_body("house")), prices)
    assert bill.cost is None
    assert bill.tokens["output"] == 9
    assert bill.estimate == round(25 * 15 + 7 * 1.5 + 6 * 18.75 + 6 * 30 + 9 * 75)


# Through LLM proxies


def chained(*attempts: CallRecord) -> CallRecord:
    """Return a call whose last leg had these attempts; what its hop answered is none of it."""
    record = call(message_body("what a hop says"))
    record.chain = ChainRecord(attempts=list(attempts))
    return record


def test_what_came_from_the_last_leg_is_billed(prices: Prices) -> None:
    """And not what a hop made of it."""
    assert bill_of(chained(recorded(MESSAGE_JSON)), prices) == bill_of(
        recorded(MESSAGE_JSON), prices
    )


def test_a_call_that_a_hop_answered_costs_nothing(prices: Prices) -> None:
    """From its cache, for example."""
    bill = bill_of(chained(), prices)
    assert (bill.cost, bill.model) == (0, None)


def test_attempts_add_up(prices: Prices) -> None:
    """Of errors there is nothing to add."""
    refused = call(b"{}", status=529)
    bill = bill_of(chained(recorded(MESSAGE_JSON), refused, recorded(MESSAGE_STREAM)), prices)
    assert bill.cost == 2 * round(COST + SEARCHES)
    assert bill.tokens == {
        kind: 2 * count for kind, count in (MESSAGE_TOKENS | {"reasoning": 3}).items()
    }
    assert bill.model == MODEL


def test_what_is_known_of_some_attempts_is_kept(prices: Prices) -> None:
    """Where another's usage is not known; but there is no sum with a price that nobody knows."""
    whole, left = recorded(MESSAGE_JSON), unanswered(outcome="client_abort", sent_at=1.0)
    assert bill_of(chained(left, whole), prices).cost == round(COST + SEARCHES)
    assert bill_of(chained(whole, call(message_body("house"))), prices).cost is None
