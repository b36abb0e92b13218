"""What calls may have cost: an estimate by list prices, and notional under a subscription."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from relay.telemetry.call import CallRecord
from relay.telemetry.metrics.families import Families
from relay.telemetry.usage import Usage

if TYPE_CHECKING:
    from relay.telemetry.prices import Prices


class CostCounters:
    """The metrics of costs, which are there only where costs are configured."""

    def __init__(self, families: Families) -> None:
        labels = ("relay", "client", "model")
        self.prices: Prices | None = None
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

    def take(self, record: CallRecord, usage: Usage, labels: Sequence[str]) -> None:
        """Count what a call cost, each part by itself: a long prompt's price is that part's alone.

        ``labels`` has the name of each part's model, as metrics show it.
        """
        if self.prices is None:
            return
        unpriced = set()
        searches = usage.server_tool_requests.get("web_search", 0)
        for part, label in zip(usage.parts, labels, strict=True):
            if not part.tokens:
                continue
            model = part.model or label
            cost = self.prices.cost(
                record.api, model, part.tokens, web_searches=searches, tier=usage.tier
            )
            searches = 0  # they are the answer's own
            key = (record.relay, record.client_label, label)
            if cost is None:
                unpriced.add(key)
            else:
                self._cost[key].value += cost
        for key in unpriced:
            self._unpriced[key].value += 1
