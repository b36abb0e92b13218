"""The page about the metrics: complete, and its examples work."""

from __future__ import annotations

from typing import Final

import pytest

from tests.observability.catalogue import METRICS, SERIES, Metric
from tests.observability.examples import METRICS_PAGE, documented_queries, metric_names, rules
from tests.observability.prometheus import Prometheus

PAGE: Final = METRICS_PAGE.read_text()


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_explained(metric: Metric) -> None:
    """It has a heading, and is read by at least one example of PromQL."""
    assert any(f"`{metric.name}`" in line for line in PAGE.splitlines() if line.startswith("### "))
    read = set().union(*(metric_names(query) for query in documented_queries()))
    assert read & set(metric.series)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_label_is_explained(metric: Metric) -> None:
    """Below its heading, each of its labels is named."""
    section = next(
        part for part in PAGE.split("\n### ") if f"`{metric.name}`" in part.splitlines()[0]
    )
    assert [label for label in metric.labels if f"`{label}`" not in section] == []


def test_nothing_is_explained_that_there_is_not() -> None:
    """Every metric on the page is exposed."""
    assert metric_names(PAGE) - SERIES - {metric.name for metric in METRICS} == set()


@pytest.mark.parametrize("query", documented_queries())
def test_every_example_works(query: str, prometheus: Prometheus) -> None:
    """It finds something in a real Prometheus with real samples."""
    assert prometheus.query(query)


def test_every_alert_is_on_the_page() -> None:
    """The table of the alerts has each of them."""
    alerts = [rule.name for rule in rules() if rule.alerts]
    assert [name for name in alerts if f"`{name}`" not in PAGE] == []
