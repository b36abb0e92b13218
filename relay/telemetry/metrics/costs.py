"""What calls may have cost: an estimate by list prices, and notional under a subscription."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from relay.errors import Api
from relay.telemetry.call import CallRecord
from relay.telemetry.metrics.families import Families
from relay.telemetry.usage import Usage


class Pricing(Protocol):
    """Knows what tokens cost."""

    def cost(
        self, api: Api, model: str, tokens: Mapping[str, int], *, web_searches: int = 0
    ) -> float | None:
        """Return US dollars, or None for a model without a price."""


class CostCounters:
    """The metrics of costs, which are there only where costs are configured."""

    def __init__(self, families: Families) -> None:
        labels = ("relay", "client", "model")
        self.pricing: Pricing | None = None
        self._cost = families.counter(
            "relay_estimated_cost_usd_total",
            "Estimated cost by list prices, in US dollars.",
            *labels,
        )
        self._unpriced = families.counter(
            "relay_unpriced_requests_total",
            "Calls with usage whose model has no known price.",
            *labels,
        )

    def take(self, record: CallRecord, usage: Usage, label: str) -> None:
        """Count a call's cost, if it used any tokens."""
        if self.pricing is None or not usage.tokens:
            return
        model = usage.model or label
        searches = usage.server_tool_requests.get("web_search", 0)
        cost = self.pricing.cost(record.api, model, usage.tokens, web_searches=searches)
        labels = (record.relay, record.client, label)
        if cost is None:
            self._unpriced[labels].value += 1
        else:
            self._cost[labels].value += cost
