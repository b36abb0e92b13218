"""What tokens cost by prices that have been found; which those are for a model is in ``prices``.

The relay's token types are disjoint, while the package genai-prices counts the cache within the
input, and its lifetimes within what was written: so totals are handed over, and the package takes
them apart again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from relay.config.limits import MICRO
from relay.telemetry.usage import CACHE_WRITES, INPUT_TYPES

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, TieredPrices, Usage

    ListPrice = Decimal | TieredPrices | None

# Prices by type, as the package names them. What nobody knows the lifetime of was most likely
# written for five minutes, the default of the API; so the list has it.
PRICE_KEYS: Final = {
    "input": "input_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write_5m": "cache_write_5m_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "cache_write_unknown": "cache_write_mtok",
    "output": "output_mtok",
}


class Rates:
    """Prices in force. For most calls they come to one rate per token of each type.

    To take a call's usage apart, the package needs twenty times what all its samples cost. But
    with no more input than the first tier begins at, a token costs what it costs alone: so the
    package is asked once for each type, and for a search. Rates are whole numbers of the smallest
    unit that is in any of them, which are exact and quickly added.
    """

    def __init__(self, prices: ModelPrice) -> None:
        self._prices = prices
        self._first_tier = min(map(_first_tier, vars(prices).values()), default=math.inf)
        self._per_call = self._exactly({})
        self._per_search = self._exactly({}, 1) - self._per_call
        per_token = {
            kind: self._exactly({kind: 1}) - self._per_call
            for kind in PRICE_KEYS
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


def _decimals(price: Decimal) -> int:
    """Return how many decimals a price has."""
    exponent = price.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _first_tier(price: ListPrice) -> float:
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
