"""Histogram: counted as Prometheus counts, with an example for each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.telemetry.histogram import OVERHEAD_BOUNDS, ExemplarHistogram, Histogram

BOUNDS = (0.1, 0.5, 2.0)
VALUES = st.lists(st.floats(min_value=0, max_value=10))


def histogram_of(values: list[float]) -> Histogram:
    """Return a histogram that has seen these values."""
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)
    return histogram


def test_new_bins_are_empty() -> None:
    """All bounds are there, with nothing at or below them."""
    histogram = Histogram(BOUNDS)
    assert histogram.cumulative() == [("0.1", 0), ("0.5", 0), ("2.0", 0), ("+Inf", 0)]
    assert histogram.total == 0


def test_bounds_are_written_as_the_library_writes_them() -> None:
    """A whole number is the same series, whoever wrote it down."""
    assert Histogram((1, 2.5)).cumulative() == [("1.0", 0), ("2.5", 0), ("+Inf", 0)]


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
    assert histogram_of([value]).counts == counts


@given(VALUES)
def test_counts_are_cumulative(values: list[float]) -> None:
    """At each bound, all values up to it; at the last one, all of them."""
    histogram = histogram_of(values)
    expected: list[tuple[str, float]] = [
        (str(bound), sum(value <= bound for value in values)) for bound in BOUNDS
    ]
    assert histogram.cumulative() == [*expected, ("+Inf", len(values))]
    assert histogram.total == pytest.approx(sum(values))


@given(st.lists(st.tuples(st.floats(min_value=0, max_value=3), st.text(max_size=1))))
def test_each_bucket_has_the_latest_value_with_a_name(values: list[tuple[float, str]]) -> None:
    """Values without one count, and leave the example of their bucket alone."""
    histogram = ExemplarHistogram(BOUNDS)
    expected: dict[int, tuple[str, float, float]] = {}
    for moment, (value, name) in enumerate(values):
        if name:
            histogram.observe_example(name, value, moment)
            expected[sum(bound < value for bound in BOUNDS)] = (name, value, moment)
        else:
            histogram.observe(value)
    assert histogram.examples == expected
    assert histogram.counts == histogram_of([value for value, _ in values]).counts
    assert histogram.total == pytest.approx(sum(value for value, _ in values))


def test_bounds_of_the_overhead_go_up() -> None:
    """Looking up a bucket relies on it."""
    assert list(OVERHEAD_BOUNDS) == sorted(set(OVERHEAD_BOUNDS))
