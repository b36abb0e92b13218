"""A histogram's counts that are cheap to fill: for each call, and for each piece of a stream.

A value costs a search among the bounds and two additions to plain numbers, and neither a lock
nor a look-up of labels. What a scrape shows is made of them when it is asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import Final

OVERHEAD_BOUNDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01),
    *(0.025, 0.05, 0.1, 0.25, 1.0),
)
"""Seconds: the buckets of ``relay_overhead_seconds``."""

Example = tuple[str, float, float]
"""What a value was measured of, the value, and when: seconds since the epoch."""


class Histogram:
    """Counts by bucket, and their sum."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Add one value; a bucket's bound belongs to it, as Prometheus has it."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Return pairs of an upper bound and how many are at or below it."""
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(bounds, accumulate(self.counts), strict=True))


class ExemplarHistogram(Histogram):
    """Histogram of which each keeps the latest value that has a name, as its example."""

    __slots__ = ("examples",)

    def __init__(self, bounds: tuple[float, ...]) -> None:
        super().__init__(bounds)
        self.examples: dict[int, Example] = {}

    def observe_example(self, name: str, value: float, moment: float) -> None:
        """Add one value, and keep it."""
        index = bisect_left(self._bounds, value)
        self.counts[index] += 1
        self.total += value
        self.examples[index] = (name, value, moment)
