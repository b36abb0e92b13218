"""A Prometheus histogram made of bins that calls have filled."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from relay.bins import Bins


class BinsHistogram(Collector):
    """One histogram, with bins for each set of labels."""

    def __init__(
        self,
        name: str,
        text: str,
        labels: tuple[str, ...],
        bounds: tuple[float, ...],
        registry: CollectorRegistry,
    ) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._bounds = bounds
        self._bins: dict[tuple[str, ...], Bins] = {}
        registry.register(self)

    def labels(self, *values: str) -> Bins:
        """Return the bins of these labels."""
        return self._bins.setdefault(values, Bins(self._bounds))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the family, for the registry."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for values, bins in self._bins.items():
            family.add_metric(values, bins.cumulative(), bins.total)
        yield family
