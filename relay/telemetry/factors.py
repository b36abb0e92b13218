"""What a service other than the standard one costs, as a multiple of the list's prices.

By what an answer says of its speed, tier and place; several multiply. What nobody knows takes
the highest multiple there is, so that no new word makes calls cheap, and the log says so once.

Source, read in August 2026: https://platform.claude.com/docs/en/about-claude/pricing (fast mode
of the current models, inference in the US, batches) and
https://developers.openai.com/api/docs/pricing (priority, flex, batches).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from relay.telemetry.said import Said

DEFAULT_FACTORS: Final[Mapping[str, float]] = {
    "fast": 2,
    "priority": 2,
    "flex": 0.5,
    "batch": 0.5,
    "us": 1.1,
}
# Combinations; an API has a handful of words for its services.
_REMEMBERED: Final = 64

log = logging.getLogger("relay")


class Factors:
    """Multiples by what an API calls its services: the known ones, and a configuration's."""

    def __init__(self, own: Mapping[str, float]) -> None:
        merged = {**DEFAULT_FACTORS, **own}
        self._factors = {name: Decimal(str(factor)) for name, factor in merged.items()}
        self._highest = max(Decimal(1), *self._factors.values())
        self._known: dict[str, Decimal] = {}
        self._said = Said(_REMEMBERED)

    def of(self, tier: str) -> Decimal:
        """Return the multiple for a tier, or for several that are joined with ``+``."""
        factor = self._known.get(tier)
        if factor is None:
            factor = Decimal(1)
            for name in tier.split("+"):
                factor *= self._one(name)
            if len(self._known) < _REMEMBERED:
                self._known[tier] = factor
        return factor

    def _one(self, name: str) -> Decimal:
        factor = self._factors.get(name)
        if factor is not None:
            return factor
        if self._said.is_news(name):
            log.warning(
                "costs: nobody knows what the service %s costs; it counts %s times, "
                "unless costs.factors.%s says otherwise",
                name,
                self._highest,
                name,
            )
        return self._highest
