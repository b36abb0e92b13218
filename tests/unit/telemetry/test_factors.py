"""What services other than the standard one cost, as multiples."""

from __future__ import annotations

from decimal import Decimal

import pytest

from relay.telemetry.factors import Factors
from relay.telemetry.prices import Prices

MILLION = {"input": 1_000_000}
OPUS = "claude-opus-4-5"


@pytest.mark.parametrize(
    ("tier", "factor"),
    [("fast", "2"), ("flex", "0.5"), ("batch", "0.5"), ("priority", "2"), ("us", "1.1")],
)
def test_each_service_has_its_multiple(tier: str, factor: str) -> None:
    """As the vendors' pages have it."""
    assert Factors({}).of(tier) == Decimal(factor)


def test_several_multiply() -> None:
    """An answer may be fast and in a place of its own."""
    assert Factors({}).of("fast+us") == Decimal("2.2")


def test_ones_own_are_merged_over_them() -> None:
    """What is left out stays."""
    factors = Factors({"fast": 6, "house": 3})
    assert [factors.of(tier) for tier in ("fast", "house", "flex")] == [6, 3, Decimal("0.5")]


def test_what_nobody_knows_takes_the_highest(caplog: pytest.LogCaptureFixture) -> None:
    """With a warning once, that names the key to set."""
    factors = Factors({"fast": 6})
    assert [factors.of(tier) for tier in ("turbo", "turbo+us", "turbo")] == [6, Decimal("6.6"), 6]
    (warning,) = caplog.messages
    assert "turbo" in warning
    assert "costs.factors.turbo" in warning


def test_what_nobody_knows_costs_the_list_price_at_least() -> None:
    """Also where all multiples are discounts."""
    own = {"fast": 0.5, "priority": 0.5, "us": 0.5}
    assert Factors(own).of("turbo") == 1


def test_a_call_costs_its_services_multiple() -> None:
    """Of its tokens: a search costs what it costs."""
    prices = Prices()
    assert prices.cost("anthropic", OPUS, MILLION) == 5
    assert prices.cost("anthropic", OPUS, MILLION, tier="fast") == 10
    plain = prices.cost("anthropic", OPUS, {}, web_searches=2)
    assert plain == prices.cost("anthropic", OPUS, {}, web_searches=2, tier="fast") != 0


def test_a_model_without_a_price_has_one_for_limits() -> None:
    """Its cache's prices follow, and its service counts; zero is a price."""
    prices = Prices(unknown={"input": 15, "output": 75})
    assert prices.cost("anthropic", "house", MILLION) is None
    assert prices.unknown_cost("anthropic", MILLION) == 15
    assert prices.unknown_cost("anthropic", {"cache_read": 1_000_000}) == 1.5
    assert prices.unknown_cost("openai", {"output": 1_000_000}, tier="flex") == 37.5
    assert Prices(unknown={"input": 0, "output": 0}).unknown_cost("openai", MILLION) == 0
