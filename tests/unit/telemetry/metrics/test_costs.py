"""What calls cost, where prices are configured."""

import json

import pytest

from relay.telemetry.metrics import Metrics
from tests.harness.model_answers import MESSAGE_TOKENS, MODEL, message_body, message_events
from tests.harness.prices import MESSAGE_DOLLARS, Asked, MadeUpPrices
from tests.unit.telemetry.metrics.scrapes import (
    DOCUMENT,
    EVENT_STREAM,
    MODELS,
    Scrape,
    answered_call,
    everything,
)
from tests.unit.telemetry.metrics.test_catalogue import CATALOGUE, COSTS, check_catalogue

UNPRICED = ("unheard-of", "wise")


def test_costs_are_exposed_only_where_they_are_configured() -> None:
    """Their names, too; and once they are there they do not go away."""
    metrics = everything()
    metrics.price(None)
    check_catalogue(metrics, CATALOGUE)
    metrics.price(MadeUpPrices(*UNPRICED))
    answered_call(metrics, [message_body()], DOCUMENT)
    answered_call(metrics, [message_body("unheard-of")], DOCUMENT)
    check_catalogue(metrics, CATALOGUE | COSTS)
    metrics.price(None)
    check_catalogue(metrics, CATALOGUE | COSTS)


def test_costs_are_counted_by_model(metrics: Metrics) -> None:
    """What has no price is counted as such; what used nothing has no costs at all."""
    prices = MadeUpPrices(*UNPRICED)
    metrics.price(prices)
    answered_call(metrics, message_events(), EVENT_STREAM)
    answered_call(metrics, [message_body("unheard-of")], DOCUMENT)
    answered_call(metrics, [b"{}"], DOCUMENT)
    metrics.price(None)
    answered_call(metrics, message_events(), EVENT_STREAM)
    scrape = Scrape(metrics)
    labels = {"relay": "anthropic", "client": "agent"}
    assert scrape.value("relay_estimated_cost_usd_total", model=MODEL, **labels) == MESSAGE_DOLLARS
    assert scrape.value("relay_unpriced_requests_total", model="unheard-of", **labels) == 1
    assert scrape.total("relay_estimated_cost_usd_total") == MESSAGE_DOLLARS
    assert scrape.total("relay_unpriced_requests_total") == 1
    assert prices.asked == [Asked(model, MESSAGE_TOKENS) for model in (MODEL, "unheard-of")]


def with_steps(*steps: dict[str, object]) -> bytes:
    """Return a message whose usage tells of these steps."""
    message = json.loads(message_body())
    message["usage"]["iterations"] = list(steps)
    return json.dumps(message).encode()


COMPACTION: dict[str, object] = {"type": "compaction", "input_tokens": 180_000}
ADVICE: dict[str, object] = {"type": "advisor_message", "model": "wise", "output_tokens": 600}


def test_what_the_api_ran_beside_an_answer_is_counted_by_its_model(metrics: Metrics) -> None:
    """A compaction is the model's own, advice another's."""
    answered_call(metrics, [with_steps(COMPACTION, ADVICE)], DOCUMENT)
    scrape = Scrape(metrics)
    labels = {"relay": "anthropic", "client": "agent"}
    fresh = scrape.value("relay_tokens_total", model=MODEL, type="input", **labels)
    assert fresh == MESSAGE_TOKENS["input"] + 180_000
    assert scrape.value("relay_tokens_total", model="wise", type="output", **labels) == 600
    assert scrape.total("relay_tokens_total") == sum(MESSAGE_TOKENS.values()) + 180_600


def test_costs_are_those_of_each_part(metrics: Metrics) -> None:
    """Together their prompts may be long, and none of them is; a call without a price is one."""
    prices = MadeUpPrices(*UNPRICED)
    metrics.price(prices)
    answered_call(metrics, [with_steps(COMPACTION, COMPACTION, ADVICE, ADVICE)], DOCUMENT)
    assert prices.asked == [
        Asked(MODEL, MESSAGE_TOKENS),
        *[Asked(MODEL, {"input": 180_000}, web_searches=0)] * 2,
        *[Asked("wise", {"output": 600}, web_searches=0)] * 2,
    ]
    scrape = Scrape(metrics)
    labels = {"relay": "anthropic", "client": "agent"}
    dollars = scrape.value("relay_estimated_cost_usd_total", model=MODEL, **labels)
    assert dollars == pytest.approx(MESSAGE_DOLLARS + 3_600)
    assert scrape.value("relay_unpriced_requests_total", model="wise", **labels) == 1


def test_costs_of_models_over_the_limit_are_told_together(metrics: Metrics) -> None:
    """Their prices are their own, their label is not."""
    for number in range(MODELS):
        answered_call(metrics, [message_body(f"model-{number}")], DOCUMENT)
    metrics.price(MadeUpPrices(*UNPRICED))
    answered_call(metrics, [message_body()], DOCUMENT)
    scrape = Scrape(metrics)
    labels = {"relay": "anthropic", "client": "agent", "model": "other"}
    assert scrape.value("relay_estimated_cost_usd_total", **labels) == MESSAGE_DOLLARS
