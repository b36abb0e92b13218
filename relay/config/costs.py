"""Settles what ``costs`` says: prices of models, multiples for services, one for the unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from relay.config.schema import Costs, Price
from relay.config.settings import DEFAULT_UNKNOWN
from relay.config.validation import Checker
from relay.config.yaml_document import Data

_OWN_KEYS: Final = frozenset(Costs.model_fields)


@dataclass(frozen=True, slots=True)
class CostSettings:
    """What ``costs`` comes to; its fields are those of ``Settings``."""

    prices: Mapping[str, Mapping[str, float]] | None = None
    factors: Mapping[str, float] = field(default_factory=dict)
    unknown: Mapping[str, float] = field(default_factory=lambda: DEFAULT_UNKNOWN)


def read_costs(checker: Checker, data: Data) -> CostSettings:
    """Return the costs: true for the known prices, or a mapping of others."""
    if not data and not isinstance(data, dict):
        return CostSettings()
    if data is True:
        return CostSettings({})
    section = checker.mapping(("costs",), data)
    own = {key: value for key, value in section.items() if key in _OWN_KEYS}
    costs = checker.model(("costs",), Costs, own) or Costs()
    unknown = DEFAULT_UNKNOWN if costs.unknown is None else _dollars(costs.unknown)
    prices = {}
    for model, item in section.items():
        price = None if model in _OWN_KEYS else checker.model(("costs", model), Price, item)
        if price is not None:
            prices[model] = _dollars(price)
    return CostSettings(prices, costs.factors, unknown)


def _dollars(price: Price) -> dict[str, float]:
    return price.model_dump(exclude_none=True)
