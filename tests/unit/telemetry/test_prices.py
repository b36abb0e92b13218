"""Estimated costs: each token type at its own price, as computed by hand."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Api
from relay.telemetry import prices as prices_module
from relay.telemetry import rates
from relay.telemetry.prices import Prices
from relay.telemetry.usage import TOKEN_TYPES

MILLION = 1_000_000
# Dollars per million tokens, from the vendors' pages.
OPUS_4_5 = {
    "input": 5.0,
    "cache_read": 0.5,
    "cache_write_5m": 6.25,
    "cache_write_1h": 10.0,
    "cache_write_unknown": 6.25,
    "output": 25.0,
}
GPT_4O = {"input": 2.5, "cache_read": 1.25, "output": 10.0}
UNLISTED = "house-model"


@pytest.fixture(scope="module")
def prices() -> Prices:
    """The list as it comes."""
    return Prices()


def each(api: Api, model: str, prices: Prices) -> dict[str, float | None]:
    """Return what a million tokens of each type cost."""
    return {kind: prices.cost(api, model, {kind: MILLION}) for kind in TOKEN_TYPES}


def test_a_call_costs_the_sum_of_its_types(prices: Prices) -> None:
    """No type is counted within another: the tokens are disjoint."""
    tokens = {
        "input": 12,  #                   $0.000060
        "cache_read": 41_234,  #          $0.020617
        "cache_write_5m": 1_000,  #       $0.006250
        "cache_write_1h": 2_000,  #       $0.020000
        "cache_write_unknown": 300,  #    $0.001875
        "output": 789,  #                 $0.019725
    }
    assert prices.cost("anthropic", "claude-opus-4-5-20251101", tokens) == 0.068527


@pytest.mark.parametrize("kind", TOKEN_TYPES)
def test_each_type_has_its_own_price(prices: Prices, kind: str) -> None:
    """A type alone costs what its price says, without the totals it is a part of."""
    assert prices.cost("anthropic", "claude-opus-4-5", {kind: MILLION}) == OPUS_4_5[kind]


@pytest.mark.parametrize("kind", GPT_4O)
def test_openai_has_prices_of_its_own(prices: Prices, kind: str) -> None:
    """The cache's share is not part of the input."""
    assert prices.cost("openai", "gpt-4o-2024-08-06", {kind: MILLION}) == GPT_4O[kind]


def test_a_type_without_a_price_costs_the_next_best(prices: Prices) -> None:
    """The list has none for what gpt-4o writes to its cache: that costs as input does."""
    assert prices.cost("openai", "gpt-4o", {"cache_write_unknown": MILLION}) == 2.5


def test_long_prompts_cost_more_with_all_that_is_in_the_cache(prices: Prices) -> None:
    """The limit of 200,000 is one of all input together, and then every token is dearer."""
    short = {"input": 100_000, "cache_read": 100_000, "output": 1_000}
    long = {**short, "cache_read": 100_001}
    assert prices.cost("anthropic", "claude-sonnet-4-5", short) == 0.345
    assert prices.cost("anthropic", "claude-sonnet-4-5", long) == 0.6825006


@given(
    st.sampled_from(["claude-sonnet-4-5", "claude-opus-4-5", "claude-3-haiku-20240307"]),
    st.dictionaries(st.sampled_from(TOKEN_TYPES), st.sampled_from([0, 1, 7, 99_999, 200_000])),
    st.sampled_from([0, 0, 3]),
)
def test_every_estimate_is_the_packages_own(
    prices: Prices, model: str, tokens: dict[str, int], searches: int
) -> None:
    """To the last digit, though it is asked for most of them only once."""
    listed = prices_module._load_providers()["anthropic"].find_model(model)
    assert listed is not None
    exact = listed.get_prices(datetime.now(UTC)).calc_price(rates._usage(tokens, searches))
    estimate = prices.cost("anthropic", model, tokens, web_searches=searches)
    assert estimate == float(exact["total_price"])


def test_web_searches_are_added(prices: Prices) -> None:
    """They cost $10 per thousand."""
    cost = prices.cost("anthropic", "claude-opus-4-5", {"output": 1_000}, web_searches=3)
    assert cost == 0.055


def test_web_searches_without_a_price_cost_nothing() -> None:
    """The tokens beside them do."""
    prices = Prices({UNLISTED: {"input": 1, "output": 2}})
    assert prices.cost("anthropic", UNLISTED, {"input": MILLION}, web_searches=3) == 1


@pytest.mark.parametrize(
    "model",
    [
        "claude-opus-4-5",
        "claude-opus-4-5-20251101",
        "claude-opus-4-5@20251101",
        "Claude-Opus-4-5",
    ],
)
def test_a_model_is_known_by_its_names(prices: Prices, model: str) -> None:
    """With and without its date, as the API and other clouds write it."""
    assert prices.cost("anthropic", model, {"input": MILLION}) == 5


@pytest.mark.parametrize(
    ("api", "model"),
    [
        ("anthropic", "claude-99"),
        ("anthropic", "gpt-4o"),
        ("openai", "claude-opus-4-5"),
        ("openai", "whisper-1"),
        ("openai", ""),
    ],
)
def test_an_unknown_model_is_unpriced(prices: Prices, api: Api, model: str) -> None:
    """So are one of another vendor, and one that is not billed by tokens."""
    assert prices.cost(api, model, {"input": 1}) is None


def test_a_direction_without_a_price_is_unpriced(prices: Prices) -> None:
    """An embedding has no output; were there any, half a price would be wrong."""
    assert prices.cost("openai", "text-embedding-3-small", {"input": MILLION}) == 0.02
    assert prices.cost("openai", "text-embedding-3-small", {"input": 1, "output": 1}) is None


def test_nothing_costs_nothing(prices: Prices) -> None:
    """A known model's call without tokens."""
    assert prices.cost("anthropic", "claude-opus-4-5", {}) == 0


def test_prices_change_on_their_day(prices: Prices, monkeypatch: pytest.MonkeyPatch) -> None:
    """The price of o3 fell on 10 June 2025; a relay that runs on takes the new one."""
    monkeypatch.setattr(
        prices_module, "datetime", Mock(now=lambda _: datetime(2025, 6, 9, tzinfo=UTC))
    )
    assert prices.cost("openai", "o3", {"input": MILLION}) == 10
    monkeypatch.setattr(
        prices_module, "datetime", Mock(now=lambda _: datetime(2025, 6, 10, tzinfo=UTC))
    )
    assert prices.cost("openai", "o3", {"input": MILLION}) == 2


# Overrides

FULL = dict(zip(TOKEN_TYPES, (1.5, 0.1, 2, 3, 2.5, 7), strict=True))


@pytest.mark.parametrize("model", ["claude-opus-4-5", UNLISTED])
def test_an_override_replaces_the_list(model: str) -> None:
    """Every type that it states, whether or not the model is listed."""
    assert each("anthropic", model, Prices({model: FULL})) == FULL


@pytest.mark.parametrize(
    ("api", "override", "expected"),
    [
        (
            "anthropic",
            {"input": 1, "output": 4},
            {
                "input": 1,
                "cache_read": 0.1,
                "cache_write_5m": 1.25,
                "cache_write_1h": 2,
                "cache_write_unknown": 1.25,
                "output": 4,
            },
        ),
        ("openai", {"input": 1, "output": 4}, {**dict.fromkeys(TOKEN_TYPES, 1), "output": 4}),
        ("anthropic", {"output": 4}, {**dict.fromkeys(TOKEN_TYPES), "output": 4}),
        ("anthropic", {"cache_read": 4}, dict.fromkeys(TOKEN_TYPES)),
    ],
)
def test_an_unlisted_model_gets_its_vendors_proportions(
    api: Api, override: Mapping[str, float], expected: Mapping[str, float | None]
) -> None:
    """Without a price of the input there is none of the cache, and so no estimate."""
    assert each(api, UNLISTED, Prices({UNLISTED: override})) == expected


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ({"output": 20}, {"output": 20}),
        ({"cache_read": 0.4}, {"cache_read": 0.4}),
        ({"cache_write_5m": 7}, {"cache_write_5m": 7, "cache_write_unknown": 7}),
        ({"cache_write_unknown": 7}, {"cache_write_unknown": 7}),
        (
            {"input": 4, "cache_write_1h": 9},
            {
                "input": 4,
                "cache_read": 0.4,
                "cache_write_5m": 5,
                "cache_write_1h": 9,
                "cache_write_unknown": 5,
            },
        ),
        ({"input": 0}, {**dict.fromkeys(TOKEN_TYPES, 0), "output": 25}),
    ],
)
def test_what_an_override_leaves_out_is_the_lists(
    override: Mapping[str, float], changed: Mapping[str, float]
) -> None:
    """But the cache follows the input."""
    model = "claude-opus-4-5"
    assert each("anthropic", model, Prices({model: override})) == {**OPUS_4_5, **changed}


def test_what_an_override_leaves_out_keeps_its_tiers() -> None:
    """A flat input, and an output that is dearer after long prompts; searches stay, too."""
    prices = Prices({"claude-sonnet-4-5": {"input": 1}})
    tokens = {"cache_read": MILLION, "output": MILLION}
    cost = prices.cost("anthropic", "claude-sonnet-4-5", tokens, web_searches=1)
    assert cost == 22.61  # 0.1 + 22.5 + 0.01


@pytest.mark.parametrize(
    "model",
    ["claude-opus-4-5", "claude-opus-4-5-20251101", "claude-opus-4-5@20251101"],
)
def test_an_override_is_found_without_the_date(model: str) -> None:
    """Answers state the date where requests did not."""
    prices = Prices({"claude-opus-4-5": {"input": 1}})
    assert prices.cost("anthropic", model, {"input": MILLION}) == 1


def test_an_override_with_a_date_is_for_that_one_alone() -> None:
    """It wins over one without."""
    prices = Prices({"gpt-4o": {"input": 1}, "gpt-4o-2024-08-06": {"input": 2}})
    assert prices.cost("openai", "gpt-4o-2024-08-06", {"input": MILLION}) == 2
    assert prices.cost("openai", "gpt-4o-2024-11-20", {"input": MILLION}) == 1


# The package


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is the one that was installed."""

    def refuse(*_: object) -> None:
        pytest.fail("connected")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert Prices().cost("anthropic", "claude-opus-4-5", {"input": 1}) == 0.000005
    assert not get_snapshot().from_auto_update


def test_ten_thousand_models_are_not_remembered() -> None:
    """Their names are the upstream's choice: neither here nor in the package do they pile up."""
    prices = Prices()
    for number in range(10_000):
        assert prices.cost("anthropic", f"model-{number}", {"input": 1}) is None
    assert prices._find.cache_info().currsize == prices_module._REMEMBERED_MODELS
    assert not get_snapshot()._provider_cache
    assert not get_snapshot()._lookup_cache
