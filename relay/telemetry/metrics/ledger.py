"""What metrics say of the ledger: how many calls it lacks."""

from __future__ import annotations

from collections.abc import Callable

from relay.telemetry.metrics.families import Families


class LedgerCounter:
    """The metric of the ledger, which is there only where one is configured."""

    def __init__(self, families: Families, dropped: Callable[[], int]) -> None:
        self._dropped = dropped
        self._counter = families.counter(
            "relay_ledger_dropped_total", "Calls that could not be written to the ledger."
        )[()]

    def show(self) -> None:
        """Take the count as it is now."""
        self._counter.value = self._dropped()
