"""Prices that a test makes up, and that remember what they were asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from relay.errors import Api
from relay.telemetry.prices import Prices
from tests.harness.model_answers import MESSAGE_TOKENS

_SEARCHES: Final = 2
MESSAGE_DOLLARS: Final = sum(MESSAGE_TOKENS.values()) / 100 + _SEARCHES
"""What the recorded message comes to."""


class Asked(NamedTuple):
    """What was to be priced."""

    model: str
    tokens: Mapping[str, int]
    web_searches: int = _SEARCHES
    tier: str | None = None
    api: Api = "anthropic"


class MadeUpPrices(Prices):
    """A cent for each token, two in fast mode, a dollar for each search."""

    def __init__(self, *unpriced: str) -> None:
        """Begin; ``unpriced`` are the models without a price."""
        super().__init__()
        self._unpriced = unpriced
        self.asked: list[Asked] = []

    def cost(
        self,
        api: Api,
        model: str,
        tokens: Mapping[str, int],
        *,
        web_searches: int = 0,
        tier: str | None = None,
    ) -> float | None:
        """Return dollars, or None for a model without a price."""
        self.asked.append(Asked(model, tokens, web_searches, tier, api))
        cents = sum(tokens.values()) * (2 if tier == "fast" else 1)
        return None if model in self._unpriced else cents / 100 + web_searches
