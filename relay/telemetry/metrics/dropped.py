"""What metrics say of what was lost on its way out: calls of the ledger, spans of traces."""

from __future__ import annotations

from collections.abc import Callable

from relay.telemetry.metrics.families import Families


class DroppedCounter:
    """A counter that somebody else counts; it is there only where there is what could be lost."""

    def __init__(
        self, families: Families, name: str, text: str, dropped: Callable[[], int]
    ) -> None:
        self._dropped = dropped
        self._counter = families.counter(name, text)[()]

    def show(self) -> None:
        """Take the count as it is now."""
        self._counter.value = self._dropped()
