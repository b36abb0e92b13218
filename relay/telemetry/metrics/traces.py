"""What metrics say of traces: how many spans no collector took."""

from __future__ import annotations

from collections.abc import Callable

from relay.telemetry.metrics.families import Families


class TraceCounter:
    """The metric of traces, which is there only where there are any."""

    def __init__(self, families: Families, dropped: Callable[[], int]) -> None:
        self._dropped = dropped
        self._counter = families.counter(
            "relay_trace_spans_dropped_total", "Spans that the collector did not take in time."
        )[()]

    def show(self) -> None:
        """Take the count as it is now."""
        self._counter.value = self._dropped()
