"""Rounds: each case is measured with one peer after the other, and that several times.

Machines have good and bad seconds. What is compared stands side by side in time: a ratio is
that of two samples of one round, and the figure is the median over the rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Protocol

from tests.bench.field import Way

Sample = dict[str, float]
"""What one round with one peer gave, by the name of the figure."""
Samples = dict[str, list[Sample]]
"""By peer; the rounds in their order."""


class Misbehaved(Exception):
    """A peer gave wrong answers: nothing that it does quickly counts."""


class Case(Protocol):
    """A thing to measure."""

    name: str

    def measure(self, way: Way) -> Sample:
        """Run one round with one peer.

        Raises:
            Misbehaved: An answer was wrong.
        """


def interleaved(
    case: Case, ways: Sequence[Way], rounds: int, tell: Callable[[str], None]
) -> Samples:
    """Measure a case, a round with each peer after a round with each peer."""
    samples: Samples = {way.name: [] for way in ways}
    for number in range(rounds):
        for way in ways:
            tell(f"{case.name}, round {number + 1} of {rounds}: {way.name}")
            samples[way.name].append(case.measure(way))
    return samples


def middle(samples: Iterable[Sample], figure: str) -> float:
    """Return the median of a figure."""
    return median(sample[figure] for sample in samples)


def spread(samples: Sequence[Sample], figure: str) -> tuple[float, float]:
    """Return the least and the greatest of a figure."""
    values = [sample[figure] for sample in samples]
    return min(values), max(values)


def ratio(over: Iterable[Sample], under: Iterable[Sample], figure: str) -> float:
    """Return the median of the ratios of a figure, round by round."""
    pairs = zip(over, under, strict=True)
    return median(one[figure] / other[figure] for one, other in pairs)
