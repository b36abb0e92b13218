"""What a call would cost by the price list: an estimate in US dollars, never a bill.

The list is the one that comes with the package genai-prices, imported only where prices are
made; nothing is ever fetched. What prices come to per token is in ``rates``.

A service other than the standard one costs a multiple, by what the answer says of its speed,
tier and place. The estimate knows no discounts, and a subscription is not billed by tokens at
all. Long prompts are billed as the list says. Knows nothing of metrics.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from relay.errors import Api
from relay.telemetry.factors import Factors
from relay.telemetry.rates import PRICE_KEYS, Rates
from relay.telemetry.said import Said
from relay.telemetry.usage import CACHE_WRITES

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

    from relay.telemetry.rates import ListPrice

Overrides = Mapping[str, Mapping[str, float]]
"""By model, dollars per million tokens by type."""

_CACHE_TYPES: Final = ("cache_read", *CACHE_WRITES)
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

    def rates(self) -> Rates | None:
        """Return those of now, if there are any."""
        if self._changes and (listed := self._listed_now()) is not self._latest:
            self._latest, self._rates = listed, self._rates_of(listed)
        return self._rates

    def _listed_now(self) -> ModelPrice | None:
        return self._listed.get_prices(datetime.now(UTC)) if self._listed else None

    def _rates_of(self, listed: ModelPrice | None) -> Rates | None:
        prices = _merge(listed, self._override, self._proportions) if self._override else listed
        return None if prices is None else Rates(prices)


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

    known = {kind: _listed_price(listed, kind) for kind in PRICE_KEYS}
    if listed is not None:
        proportions = {kind: _proportion(known[kind], known["input"]) for kind in _CACHE_TYPES}
    given: dict[str, ListPrice] = {**known, **override}
    if (price := override.get("input")) is not None:
        followers = {kind: price * proportions[kind] for kind in _CACHE_TYPES}
        given = {**given, **followers, **override}
    if "cache_write_5m" in override and "cache_write_unknown" not in override:
        given["cache_write_unknown"] = override["cache_write_5m"]
    if given["input"] is None:  # then the package takes none for the cache either
        given = {"output": given["output"]}
    prices = {PRICE_KEYS[kind]: price for kind, price in given.items()}
    searches = listed.web_searches_kcount if listed is not None else None
    return ModelPrice(**prices, web_searches_kcount=searches)


def _listed_price(listed: ModelPrice | None, kind: str | None) -> ListPrice:
    """Return a type's price, or the next best one."""
    while listed is not None and kind is not None:
        price: ListPrice = getattr(listed, PRICE_KEYS[kind])
        if price is not None:
            return price
        kind = _NEXT_BEST.get(kind)
    return None


def _proportion(price: ListPrice, to: ListPrice) -> Decimal:
    whole = _base(to)
    return _base(price) / whole if whole else Decimal(1)


def _base(price: ListPrice) -> Decimal:
    """Return a price for short prompts."""
    if price is None or isinstance(price, Decimal):
        return price or Decimal(0)
    return price.base
