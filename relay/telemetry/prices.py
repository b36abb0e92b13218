"""What a call would cost by the price list: an estimate in US dollars, never a bill.

The list is the one that comes with the package genai-prices, imported only where prices are
made; nothing is ever fetched. The relay's token types are disjoint, while
the package counts the cache within the input, and its lifetimes within what was written: so
totals are handed over, and the package takes them apart again.

A service other than the standard one costs a multiple, by what the answer says of its speed,
tier and place. The estimate knows no discounts, and a subscription is not billed by tokens at
all. Long prompts are billed as the list says. Knows nothing of metrics.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from relay.config.limits import MICRO
from relay.errors import Api
from relay.telemetry.factors import Factors
from relay.telemetry.said import Said
from relay.telemetry.usage import CACHE_WRITES, INPUT_TYPES

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices, Usage

    Price = Decimal | TieredPrices | None

Overrides = Mapping[str, Mapping[str, float]]
"""By model, dollars per million tokens by type."""

_CACHE_TYPES: Final = ("cache_read", *CACHE_WRITES)
# Prices by type, as the package names them. What nobody knows the lifetime of was most likely
# written for five minutes, the default of the API; so the list has it.
_PRICE_KEYS: Final = {
    "input": "input_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write_5m": "cache_write_5m_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "cache_write_unknown": "cache_write_mtok",
    "output": "output_mtok",
}
# Where a type that has no price of its own finds one.
_NEXT_BEST: Final = {
    "cache_read": "input",
    "cache_write_5m": "cache_write_unknown",
    "cache_write_1h": "cache_write_unknown",
    "cache_write_unknown": "input",
}
# The cache's prices in proportion to the input's, for models that are not in the list:
# https://platform.claude.com/docs/en/build-with-claude/prompt-caching#pricing. OpenAI's differ
# from model to model; there the cache costs what the input does.
_PROPORTIONS: Final[Mapping[Api, Mapping[str, Decimal]]] = {
    "anthropic": {
        "cache_read": Decimal("0.1"),
        "cache_write_5m": Decimal("1.25"),
        "cache_write_1h": Decimal(2),
        "cache_write_unknown": Decimal("1.25"),
    },
    "openai": dict.fromkeys(_CACHE_TYPES, Decimal(1)),
}
_DATE: Final = re.compile(r"[-@]20\d\d(?:\d{4}|-\d\d-\d\d)$")
# Models of either API; a process seldom sees ten. More only cost another search of the list.
_REMEMBERED_MODELS: Final = 256

log = logging.getLogger("relay")


class _Rates:
    """Prices in force. For most calls they come to one rate per token of each type.

    To take a call's usage apart, the package needs twenty times what all its samples cost. But
    with no more input than the first tier begins at, a token costs what
    it costs alone: so the package is asked once for each type, and for a search. Rates are whole
    numbers of the smallest unit that is in any of them, which are exact and quickly added.
    """

    def __init__(self, prices: ModelPrice) -> None:
        self._prices = prices
        self._first_tier = min(map(_first_tier, vars(prices).values()), default=math.inf)
        self._per_call = self._exactly({})
        self._per_search = self._exactly({}, 1) - self._per_call
        per_token = {
            kind: self._exactly({kind: 1}) - self._per_call
            for kind in _PRICE_KEYS
            if _covers(prices, {kind: 1})
        }
        self._units: int = 10 ** max(map(_decimals, (self._per_call, *per_token.values())))
        """To a dollar."""
        self._units_per_call = int(self._per_call * self._units)
        self._units_per_token = {kind: int(rate * self._units) for kind, rate in per_token.items()}

    def cost(
        self, tokens: Mapping[str, int], web_searches: int, factor: Decimal | None
    ) -> float | None:
        """Return the estimate; None where a direction that has tokens has no price.

        The factor, if there is one, is that of tokens alone.
        """
        units = self._short(tokens)
        if units is not None and factor is None and not web_searches:
            return units / self._units
        if any(count and kind not in self._units_per_token for kind, count in tokens.items()):
            return None
        total = self._exactly(tokens) if units is None else Decimal(units) / self._units
        if factor is not None:
            total *= factor
        return float(total + self._per_search * web_searches)

    def micro(self, tokens: Mapping[str, int]) -> int | None:
        """Return micro-dollars, where it needs no more than the rates; else None."""
        units = self._short(tokens)
        return None if units is None else round(units / self._units * MICRO)

    def _short(self, tokens: Mapping[str, int]) -> int | None:
        """Return what it costs in units; None where a type has no price, or another one."""
        units, per_token = self._units_per_call, self._units_per_token
        for kind, count in tokens.items():
            if kind in per_token:
                units += per_token[kind] * count
            elif count:
                return None
        if self._first_tier == math.inf:
            return units
        is_short = sum(tokens.values()) - tokens.get("output", 0) <= self._first_tier
        return units if is_short else None

    def _exactly(self, tokens: Mapping[str, int], web_searches: int = 0) -> Decimal:
        price: Decimal = self._prices.calc_price(_usage(tokens, web_searches))["total_price"]
        return price


class _Model:
    """What is known of a model's prices."""

    def __init__(
        self,
        listed: ModelInfo | None,
        override: Mapping[str, Decimal],
        proportions: Mapping[str, Decimal],
    ) -> None:
        self._listed = listed
        self._override = override
        self._proportions = proportions
        self._changes = listed is not None and isinstance(listed.prices, list)
        """Whether the list knows days on which they become others."""
        self._latest = self._listed_now()
        self._rates = self._rates_of(self._latest)

    def rates(self) -> _Rates | None:
        """Return those of now, if there are any."""
        if self._changes and (listed := self._listed_now()) is not self._latest:
            self._latest, self._rates = listed, self._rates_of(listed)
        return self._rates

    def _listed_now(self) -> ModelPrice | None:
        return self._listed.get_prices(datetime.now(UTC)) if self._listed else None

    def _rates_of(self, listed: ModelPrice | None) -> _Rates | None:
        prices = _merge(listed, self._override, self._proportions) if self._override else listed
        return None if prices is None else _Rates(prices)


class Prices:
    """The package's list, and the overrides of a configuration.

    An override is by the model's name as answers state it, with or without its date. What it
    leaves out is the list's, but the cache's prices follow an ``input`` that is given, in the
    list's proportion; for a model that is not listed, in that of the API's vendor, and
    ``cache_write_unknown`` follows ``cache_write_5m``.
    """

    def __init__(
        self,
        overrides: Overrides | None = None,
        factors: Mapping[str, float] | None = None,
        unknown: Mapping[str, float] | None = None,
    ) -> None:
        """Import the list: 50 ms and 6 MiB beside the rest of the relay.

        ``unknown`` are the prices, for limits, of a model that has none.
        """
        self._providers = _load_providers()
        self._factors = Factors(factors or {})
        prices = {kind: Decimal(str(dollars)) for kind, dollars in (unknown or {}).items()}
        self._unknown = {api: _Model(None, prices, _PROPORTIONS[api]) for api in _PROPORTIONS}
        self._overrides = {
            model: {kind: Decimal(str(dollars)) for kind, dollars in prices.items()}
            for model, prices in (overrides or {}).items()
        }
        self._said = Said(_REMEMBERED_MODELS)
        self._find = lru_cache(_REMEMBERED_MODELS)(self._search)

    def cost(
        self,
        api: Api,
        model: str,
        tokens: Mapping[str, int],
        *,
        web_searches: int = 0,
        tier: str | None = None,
    ) -> float | None:
        """Return the estimate for tokens by type, in dollars; None where there is no price.

        Searches that the API made are added where the list has a price for them. ``tier`` is
        what the answer says of the service, if it is not the standard one.
        """
        rates = self._find(api, model).rates()
        if rates is None:
            return None
        return rates.cost(tokens, web_searches, None if tier is None else self._factors.of(tier))

    def micro(self, api: Api, model: str, tokens: Mapping[str, int]) -> int | None:
        """Return the same in whole micro-dollars, where that is quickly done; else None."""
        rates = self._find(api, model).rates()
        return None if rates is None else rates.micro(tokens)

    def unknown_cost(
        self,
        api: Api,
        tokens: Mapping[str, int],
        *,
        model: str | None = None,
        tier: str | None = None,
    ) -> float:
        """Return what limits count for a model without a price, or one that was not named."""
        if model is not None:
            self._warn_of(model)
        rates = self._unknown[api].rates()
        factor = None if tier is None else self._factors.of(tier)
        return 0.0 if rates is None else rates.cost(tokens, 0, factor) or 0.0

    def _warn_of(self, model: str) -> None:
        """Say once of a model that it has no price."""
        if self._said.is_news(model):
            log.warning(
                "costs: nobody knows what the model %s costs; limits count it at costs.unknown, "
                "unless costs.%s says what it costs",
                model,
                model,
            )

    def _search(self, api: Api, model: str) -> _Model:
        override = self._overrides.get(model) or self._overrides.get(_DATE.sub("", model)) or {}
        # Not calc_price(): it remembers every name that it was ever asked for.
        return _Model(self._providers[api].find_model(model), override, _PROPORTIONS[api])


def _load_providers() -> Mapping[Api, Provider]:
    from genai_prices.data import providers  # noqa: PLC0415  # takes memory: only where wanted

    by_id = {provider.id: provider for provider in providers}
    return {"anthropic": by_id["anthropic"], "openai": by_id["openai"]}


def _merge(
    listed: ModelPrice | None, override: Mapping[str, Decimal], proportions: Mapping[str, Decimal]
) -> ModelPrice:
    """Return an override's prices, with what it leaves out."""
    from genai_prices.types import ModelPrice  # noqa: PLC0415  # takes memory: only where wanted

    known = {kind: _listed_price(listed, kind) for kind in _PRICE_KEYS}
    if listed is not None:
        proportions = {kind: _proportion(known[kind], known["input"]) for kind in _CACHE_TYPES}
    given: dict[str, Price] = {**known, **override}
    if (price := override.get("input")) is not None:
        followers = {kind: price * proportions[kind] for kind in _CACHE_TYPES}
        given = {**given, **followers, **override}
    if "cache_write_5m" in override and "cache_write_unknown" not in override:
        given["cache_write_unknown"] = override["cache_write_5m"]
    if given["input"] is None:  # then the package takes none for the cache either
        given = {"output": given["output"]}
    prices = {_PRICE_KEYS[kind]: price for kind, price in given.items()}
    searches = listed.web_searches_kcount if listed is not None else None
    return ModelPrice(**prices, web_searches_kcount=searches)


def _listed_price(listed: ModelPrice | None, kind: str | None) -> Price:
    """Return a type's price, or the next best one."""
    while listed is not None and kind is not None:
        price: Price = getattr(listed, _PRICE_KEYS[kind])
        if price is not None:
            return price
        kind = _NEXT_BEST.get(kind)
    return None


def _proportion(price: Price, to: Price) -> Decimal:
    whole = _base(to)
    return _base(price) / whole if whole else Decimal(1)


def _base(price: Price) -> Decimal:
    """Return a price for short prompts."""
    if price is None or isinstance(price, Decimal):
        return price or Decimal(0)
    return price.base


def _decimals(price: Decimal) -> int:
    """Return how many decimals a price has."""
    exponent = price.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _first_tier(price: Price) -> float:
    """Return the input tokens above which a price is another one."""
    if price is None or isinstance(price, Decimal):
        return math.inf
    return min((tier.start for tier in price.tiers), default=math.inf)


def _covers(prices: ModelPrice, tokens: Mapping[str, int]) -> bool:
    """Whether there is a price for each direction that has tokens."""
    has_input = any(tokens.get(kind) for kind in INPUT_TYPES)
    has_output = bool(tokens.get("output"))
    return (prices.input_mtok is not None or not has_input) and (
        prices.output_mtok is not None or not has_output
    )


def _usage(tokens: Mapping[str, int], web_searches: int) -> Usage:
    """Return totals, as the package wants them: each includes what is stated beside it."""
    from genai_prices import Usage  # noqa: PLC0415  # takes memory: only where wanted

    written = [tokens.get(kind, 0) for kind in CACHE_WRITES]
    return Usage(
        input_tokens=sum(tokens.get(kind, 0) for kind in INPUT_TYPES),
        cache_read_tokens=tokens.get("cache_read", 0),
        cache_write_tokens=sum(written),
        cache_write_5m_tokens=written[0],
        cache_write_1h_tokens=written[1],
        output_tokens=tokens.get("output", 0),
        web_searches=web_searches,
    )
