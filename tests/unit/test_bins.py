"""Bins: counted as Prometheus counts, and merged without loss."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.bins import OVERHEAD_BOUNDS, Bins

BOUNDS = (0.1, 0.5, 2.0)
VALUES = st.lists(st.floats(min_value=0, max_value=10))


def bins_of(values: list[float]) -> Bins:
    """Return bins that have seen these values."""
    bins = Bins(BOUNDS)
    for value in values:
        bins.observe(value)
    return bins


def test_new_bins_are_empty() -> None:
    """All bounds are there, with nothing at or below them."""
    bins = Bins(BOUNDS)
    assert bins.cumulative() == [("0.1", 0), ("0.5", 0), ("2.0", 0), ("+Inf", 0)]
    assert bins.total == 0


@pytest.mark.parametrize(
    ("value", "counts"),
    [
        (0.0, [1, 0, 0, 0]),
        (-0.001, [1, 0, 0, 0]),
        (0.0999, [1, 0, 0, 0]),
        (0.1, [1, 0, 0, 0]),
        (0.1001, [0, 1, 0, 0]),
        (0.5, [0, 1, 0, 0]),
        (2.0, [0, 0, 1, 0]),
        (2.0001, [0, 0, 0, 1]),
        (1e9, [0, 0, 0, 1]),
    ],
)
def test_bound_belongs_to_its_bucket(value: float, counts: list[int]) -> None:
    """``le`` means at or below."""
    assert bins_of([value]).counts == counts


@given(VALUES)
def test_counts_are_cumulative(values: list[float]) -> None:
    """At each bound, all values up to it; at the last one, all of them."""
    bins = bins_of(values)
    expected: list[tuple[str, float]] = [
        (str(bound), sum(value <= bound for value in values)) for bound in BOUNDS
    ]
    assert bins.cumulative() == [*expected, ("+Inf", len(values))]
    assert bins.total == pytest.approx(sum(values))


@given(VALUES, VALUES)
def test_merged_bins_hold_the_values_of_both(one: list[float], other: list[float]) -> None:
    """And what was merged in stays as it was."""
    merged, added = bins_of(one), bins_of(other)
    before = list(added.counts)
    merged.merge(added)
    assert merged.counts == bins_of(one + other).counts
    assert merged.total == pytest.approx(sum(one) + sum(other))
    added.observe(0.3)
    assert merged.counts == bins_of(one + other).counts
    assert sum(added.counts) == sum(before) + 1


def test_bins_of_other_bounds_are_not_merged() -> None:
    """That would count values at bounds they are not below."""
    with pytest.raises(ValueError, match="shorter"):
        Bins(BOUNDS).merge(Bins(BOUNDS[:2]))


def test_bounds_of_the_overhead_go_up() -> None:
    """Looking up a bucket relies on it."""
    assert list(OVERHEAD_BOUNDS) == sorted(set(OVERHEAD_BOUNDS))
