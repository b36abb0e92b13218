"""The dashboard: every query finds something, and the files are what Grafana provisions."""

from __future__ import annotations

import itertools
import math
import re
from typing import Final

import pytest
import yaml

from tests.observability.catalogue import METRICS, SERIES
from tests.observability.examples import (
    GRAFANA,
    Query,
    dashboard,
    metric_names,
    panel_queries,
    panels,
    rules,
)
from tests.observability.prometheus import Prometheus

QUERIES: Final = panel_queries()
RECORDED: Final = {rule.name for rule in rules() if not rule.alerts}
WIDTH: Final = 24  # of Grafana's grid


def named(query: Query) -> str:
    """Return where a query is, for the tests' names."""
    return query.title


@pytest.mark.parametrize("query", QUERIES, ids=named)
def test_every_panel_shows_something(query: Query, prometheus: Prometheus) -> None:
    """Its query parses, and finds numbers in a real Prometheus with real samples."""
    assert any(math.isfinite(value) for _, value in prometheus.query(query.expression))


@pytest.mark.parametrize("query", QUERIES, ids=named)
def test_every_panel_reads_what_there_is(query: Query) -> None:
    """No metric is named in a query that is neither exposed nor recorded."""
    assert metric_names(query.expression) <= SERIES
    recorded = set(re.findall(r"\brelay(?:_[a-z_]+)?:[a-z0-9_:]+", query.expression))
    assert recorded <= RECORDED


def test_every_metric_is_on_the_dashboard() -> None:
    """Each metric is read by some panel, itself or through a recording rule."""
    shown = " ".join(query.expression for query in QUERIES)
    assert [metric.name for metric in METRICS if metric.name not in shown] == []


def test_the_alerts_annotation_parses(prometheus: Prometheus) -> None:
    """Alerts that fire are marked; the query is right even while none does."""
    annotations = dashboard()["annotations"]
    assert isinstance(annotations, dict)
    (mark,) = [entry["expr"] for entry in annotations["list"] if "expr" in entry]
    firing = 'alertstate="firing"'
    assert firing in mark
    prometheus.query(mark)
    assert prometheus.query(mark.replace(firing, 'alertstate=~"pending|firing"'))


def test_it_is_templated_on_data_source_relay_and_client(prometheus: Prometheus) -> None:
    """The variables are there, their values come from Prometheus, and every panel uses them."""
    templating = dashboard()["templating"]
    assert isinstance(templating, dict)
    variables = {entry["name"]: entry for entry in templating["list"]}
    assert list(variables) == ["datasource", "relay", "client"]
    for name in ("relay", "client"):
        match = re.fullmatch(r"label_values\((\w+), (\w+)\)", variables[name]["query"]["query"])
        assert match
        assert prometheus.query(f'{match[1]}{{{match[2]}!=""}}')
    for panel in panels():
        targets = panel["targets"]
        assert isinstance(targets, list)
        used = [panel["datasource"], *(target["datasource"] for target in targets)]
        assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in used)


def test_panels_that_can_be_filtered_are() -> None:
    """A metric with a relay or a client label is never read without its variable."""
    for query, metric in itertools.product(QUERIES, METRICS):
        for selector in re.findall(rf"{metric.name}(?:_bucket)?\b(\{{.*?\}})?", query.expression):
            for label in {"relay", "client"} & set(metric.labels):
                assert f'{label}=~".*"' in selector, f"{query.title}: {metric.name}"


def test_the_panels_stand_side_by_side() -> None:
    """Ids are unique, and no two panels lie on each other or stand out of the grid."""
    everything = dashboard()["panels"]
    assert isinstance(everything, list)
    assert len({panel["id"] for panel in everything}) == len(everything)
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = set(itertools.product(columns, range(place["y"], place["y"] + place["h"])))
        assert place["x"] + place["w"] <= WIDTH
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_panel_explains_itself() -> None:
    """Each has a title, a description and a unit."""
    for panel in panels():
        assert panel["title"]
        assert str(panel["description"]).endswith("."), panel["title"]
        config = panel["fieldConfig"]
        assert isinstance(config, dict)
        assert "unit" in config["defaults"] or panel["type"] == "state-timeline", panel["title"]


def test_it_is_provisioned() -> None:
    """Grafana finds the data source and the dashboard by the files beside it."""
    folder = GRAFANA / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["uid"], source["isDefault"]) == (
        "prometheus",
        "prometheus",
        True,
    )
    assert source["url"] == "${PROMETHEUS_URL}"
    (provider,) = yaml.safe_load((folder / "dashboards/relay.yml").read_text())["providers"]
    assert provider["type"] == "file"
    # Grafana takes every .json below the folder for a dashboard.
    assert provider["options"]["path"] == "/etc/grafana/relay"
    assert [path.name for path in GRAFANA.rglob("*.json")] == ["dashboard.json"]
