"""What metrics say of what was lost on its way out: calls of the ledger, spans of traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from relay.telemetry.metrics.families import Families

Lossy = Literal["ledger", "trace_spans"]
_HELP: Final[dict[Lossy, str]] = {
    "ledger": "Calls that could not be written to the ledger.",
    "trace_spans": "Spans that the collector did not take in time.",
}


class DroppedCounter:
    """A counter that somebody else counts; it is there only where there is what could be lost."""

    def __init__(self, families: Families, what: Lossy, dropped: Callable[[], int]) -> None:
        self._dropped = dropped
        self._counter = families.counter(f"relay_{what}_dropped_total", _HELP[what])[()]

    def show(self) -> None:
        """Take the count as it is now."""
        self._counter.value = self._dropped()
