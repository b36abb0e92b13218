"""The cells that calls fill, and the library's families made of them at each scrape.

A family is a mapping from label values to a cell of plain numbers, which makes the cells that
are not there yet. Calls and scrapes run on one thread, the event loop's, and neither waits
while it holds a cell: so there are no locks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import product
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from relay.telemetry.call import ID_LIMIT
from relay.telemetry.histogram import ExemplarHistogram, Histogram

# Characters of the value: OpenMetrics counts the name of its label as well.
_EXEMPLAR_ROOM: Final = ID_LIMIT - len("request_id")


class Number:
    """The cell of a counter or a gauge."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


Labels = tuple[str, ...]
Numbers = defaultdict[Labels, Number]
Histograms = defaultdict[Labels, Histogram]
ExemplarHistograms = defaultdict[Labels, ExemplarHistogram]
_Cell = TypeVar("_Cell")
_Kind = type[CounterMetricFamily] | type[GaugeMetricFamily]


class Families:
    """Makes families on a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, *labels: str) -> Numbers:
        """Return a new counter's cells."""
        return self._numbers(CounterMetricFamily, name, text, labels)

    def gauge(self, name: str, text: str, *labels: str) -> Numbers:
        """Return a new gauge's cells."""
        return self._numbers(GaugeMetricFamily, name, text, labels)

    def _numbers(self, kind: _Kind, name: str, text: str, labels: Labels) -> Numbers:
        cells: Numbers = defaultdict(Number)
        self._registry.register(_NumberFamily(kind, name, text, labels, cells))
        return cells

    def histogram(
        self, name: str, text: str, bounds: tuple[float, ...], *labels: str
    ) -> Histograms:
        """Return a new histogram's cells."""
        cells: Histograms = defaultdict(partial(Histogram, bounds))
        self._registry.register(_HistogramFamily(name, text, labels, cells))
        return cells

    def histogram_with_exemplars(
        self, name: str, text: str, bounds: tuple[float, ...], *labels: str
    ) -> ExemplarHistograms:
        """Return a new histogram's cells, whose examples become exemplars."""
        cells: ExemplarHistograms = defaultdict(partial(ExemplarHistogram, bounds))
        self._registry.register(_HistogramFamily(name, text, labels, cells))
        return cells


def make_cells(cells: defaultdict[Labels, _Cell], *values: Iterable[str]) -> None:
    """Make the cells of all combinations of these label values, as far as they are not there."""
    for labels in product(*values):
        cells[labels]


class _NumberFamily(Collector):
    """A counter or a gauge."""

    def __init__(self, kind: _Kind, name: str, text: str, labels: Labels, cells: Numbers) -> None:
        self._kind = kind
        self._name = name
        self._text = text
        self._labels = labels
        self._cells = cells

    def describe(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield the family without samples, so that the registry knows its names."""
        yield self._kind(self._name, self._text, labels=self._labels)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield the family, for the registry."""
        for family in self.describe():
            for labels, cell in self._cells.items():
                family.add_metric(labels, cell.value)
            yield family


class _HistogramFamily(Collector):
    """A histogram."""

    def __init__(
        self, name: str, text: str, labels: Labels, cells: Histograms | ExemplarHistograms
    ) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._cells = cells

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Yield the family without samples, so that the registry knows its names."""
        yield HistogramMetricFamily(self._name, self._text, labels=self._labels)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the family, for the registry."""
        for family in self.describe():
            for labels, histogram in self._cells.items():
                family.add_metric(labels, _buckets(histogram), histogram.total)
            yield family


def _buckets(histogram: Histogram) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    """Return upper bounds, counts and exemplars as the library wants them."""
    buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = [*histogram.cumulative()]
    if isinstance(histogram, ExemplarHistogram):
        for index, (name, value, moment) in histogram.examples.items():
            labels = {"request_id": name[:_EXEMPLAR_ROOM]}
            buckets[index] = (*buckets[index][:2], Exemplar(labels, value, moment))
    return buckets
