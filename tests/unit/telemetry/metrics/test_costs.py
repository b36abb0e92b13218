"""What calls cost, where prices are configured."""

import json
from collections.abc import Mapping

from relay.telemetry.metrics import Metrics
from tests.harness.model_answers import MESSAGE_TOKENS, MODEL, message_body, message_events
from tests.unit.telemetry.metrics.scrapes import (
    DOCUMENT,
    EVENT_STREAM,
    MODELS,
    Scrape,
    answered_call,
    everything,
)
from tests.unit.telemetry.metrics.test_catalogue import CATALOGUE, COSTS, check_catalogue


class ListPrice:
    """Knows the price of one model."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, int]]] = []
        self.searches: list[int] = []
        self.tiers: list[str | None] = []

    def cost(
        self,
        api: str,
        model: str,
        tokens: Mapping[str, int],
        *,
        web_searches: int = 0,
        tier: str | None = None,
    ) -> float | None:
        """Return a quarter of a dollar."""
        self.searches.append(web_searches)
        self.tiers.append(tier)
        self.asked.append((api, model, dict(tokens)))
        return 0.25 if model == MODEL else None


def test_costs_are_exposed_only_where_they_are_configured() -> None:
    """Their names, too; and once they are there they do not go away."""
    metrics = everything()
    metrics.price(None)
    check_catalogue(metrics, CATALOGUE)
    metrics.price(ListPrice())
    answered_call(metrics, [message_body()], DOCUMENT)
    answered_call(metrics, [message_body("unheard-of")], DOCUMENT)
    check_catalogue(metrics, CATALOGUE | COSTS)
    metrics.price(None)
    check_catalogue(metrics, CATALOGUE | COSTS)


def test_costs_are_counted_by_model(metrics: Metrics) -> None:
    """What has no price is counted as such; what used nothing has no costs at all."""
    prices = ListPrice()
    metrics.price(prices)
    answered_call(metrics, message_events(), EVENT_STREAM)
    answered_call(metrics, [message_body("unheard-of")], DOCUMENT)
    answered_call(metrics, [b"{}"], DOCUMENT)
    metrics.price(None)
    answered_call(metrics, message_events(), EVENT_STREAM)
    scrape = Scrape(metrics)
    labels = {"relay": "anthropic", "client": "agent"}
    assert scrape.value("relay_estimated_cost_usd_total", model=MODEL, **labels) == 0.25
    assert scrape.value("relay_unpriced_requests_total", model="unheard-of", **labels) == 1
    assert scrape.total("relay_estimated_cost_usd_total") == 0.25
    assert scrape.total("relay_unpriced_requests_total") == 1
    assert prices.asked == [
        ("anthropic", MODEL, MESSAGE_TOKENS),
        ("anthropic", "unheard-of", MESSAGE_TOKENS),
    ]


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
    prices = ListPrice()
    metrics.price(prices)
    answered_call(metrics, [with_steps(COMPACTION, COMPACTION, ADVICE, ADVICE)], DOCUMENT)
    assert prices.asked == [
        ("anthropic", MODEL, MESSAGE_TOKENS),
        *[("anthropic", MODEL, {"input": 180_000})] * 2,
        *[("anthropic", "wise", {"output": 600})] * 2,
    ]
    assert prices.searches == [2, 0, 0, 0, 0]
    scrape = Scrape(metrics)
    labels = {"relay": "anthropic", "client": "agent"}
    assert scrape.value("relay_estimated_cost_usd_total", model=MODEL, **labels) == 0.75
    assert scrape.value("relay_unpriced_requests_total", model="wise", **labels) == 1


def test_costs_of_models_over_the_limit_are_told_together(metrics: Metrics) -> None:
    """Their prices are their own, their label is not."""
    for number in range(MODELS):
        answered_call(metrics, [message_body(f"model-{number}")], DOCUMENT)
    metrics.price(ListPrice())
    answered_call(metrics, [message_body()], DOCUMENT)
    scrape = Scrape(metrics)
    labels = {"relay": "anthropic", "client": "agent", "model": "other"}
    assert scrape.value("relay_estimated_cost_usd_total", **labels) == 0.25
