"""What metrics say of limits: how much of each is used, and how often lines were reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from relay.telemetry.metrics.families import Families
from relay.telemetry.spending import Spending

Accounts = Callable[[], Iterable[tuple[str, str]]]


class SpendingMetrics:
    """The metrics of limits, which are there only where one is configured."""

    def __init__(self, families: Families, spending: Spending, accounts: Accounts) -> None:
        self._spending = spending
        self._accounts = accounts
        labels = ("client", "limit")
        self._used = families.gauge(
            "relay_limit_used_ratio",
            "Share of a limit that is used: of sessions and of a folder's clients, the highest.",
            *labels,
        )
        self._warn = families.gauge(
            "relay_limit_warn_ratio", "Share of a limit at which the log says so.", *labels
        )
        self._reached = families.counter(
            "relay_limit_reached_total",
            "Times that a limit was reached, once for each period or session.",
            *labels,
        )

    def show(self) -> None:
        """Set them as they are now."""
        self._used.clear()
        self._warn.clear()
        for label, limit in self._spending.limits.owned():
            self._used[label, limit.name].value = 0 if limit.amount else 1
            self._warn[label, limit.name].value = limit.warn
        for state in self._spending.states(self._accounts()):
            if state.limit.per is not None:
                used = self._used[state.client, state.limit.name]
                used.value = max(used.value, state.ratio)
        for (label, name), count in self._spending.reached.items():
            self._reached[label, name].value = count
