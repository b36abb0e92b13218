"""A histogram's counts that are cheap to fill once for each piece of a stream.

One call adds to plain lists; when it is over, they are merged into what a scrape shows. So a
piece costs a comparison or two, and neither a lock nor a look-up of labels.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

OVERHEAD_BOUNDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01),
    *(0.025, 0.05, 0.1, 0.25, 1.0),
)
"""Seconds: the buckets of ``relay_overhead_seconds``."""


class Bins:
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

    def merge(self, other: Bins) -> None:
        """Add what other bins of the same bounds has."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def cumulative(self) -> list[tuple[str, float]]:
        """Return pairs of an upper bound and how many are at or below it."""
        pairs: list[tuple[str, float]] = []
        count = 0
        for bound, here in zip([*map(str, self._bounds), "+Inf"], self.counts, strict=True):
            count += here
            pairs.append((bound, count))
        return pairs
