"""Rounds: each case is measured with one peer after the other, and that several times.

Machines have good and bad seconds. What is compared stands side by side in time: a ratio is
that of two samples of one round, and the figure is the median over the rounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import median

Sample = dict[str, float]
"""What one round with one peer gave, by the name of the figure."""
Samples = dict[str, list[Sample]]
"""By peer; the rounds in their order."""


class Misbehaved(Exception):
    """A peer gave wrong answers: nothing that it does quickly counts."""


def middle(samples: Iterable[Sample], figure: str) -> float:
    """Return the median of a figure."""
    return median(sample[figure] for sample in samples)


def least(samples: Iterable[Sample], figure: str) -> float:
    """Return the least of a figure."""
    return min(sample[figure] for sample in samples)


def greatest(samples: Iterable[Sample], figure: str) -> float:
    """Return the greatest of a figure."""
    return max(sample[figure] for sample in samples)


def ratio(over: Iterable[Sample], under: Iterable[Sample], figure: str) -> float:
    """Return the median of the ratios of a figure, round by round."""
    return median(one[figure] / other[figure] for one, other in _pairs(over, under))


def added_ratio(
    over: Iterable[Sample], under: Iterable[Sample], without: Iterable[Sample], figure: str
) -> float:
    """Return the median of the ratios of what is added to a figure, round by round."""
    rounds = zip(over, under, without, strict=True)
    return median(
        (one[figure] - base[figure]) / (other[figure] - base[figure]) for one, other, base in rounds
    )


def _pairs(over: Iterable[Sample], under: Iterable[Sample]) -> Iterator[tuple[Sample, Sample]]:
    return zip(over, under, strict=True)
