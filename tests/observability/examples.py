"""What the examples and the docs hold, read as data: rules, tests of rules, panels, PromQL."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

import yaml

from tests.e2e.stack import PROJECT

PROMETHEUS: Final = PROJECT / "examples" / "prometheus"
GRAFANA: Final = PROJECT / "examples" / "grafana"
METRICS_PAGE: Final = PROJECT / "docs" / "metrics.md"

# What Grafana puts in, as for a dashboard that was just opened. The interval is the least of
# the data source (four scrapes of 5 s).
_GRAFANA_VARIABLES: Final = {
    "$__rate_interval": "20s",
    "$__range": "6h",
    "$relay": ".*",
    "$client": ".*",
}
Json = dict[str, object]


@dataclass(frozen=True)
class Rule:
    """A rule of a rules file."""

    name: str
    expression: str
    alerts: bool
    data: Json


@dataclass(frozen=True)
class Query:
    """A query of a panel, a variable or an annotation, with Grafana's variables put in."""

    title: str
    expression: str


def rules() -> list[Rule]:
    """Return every rule of the examples."""
    found = []
    for path in sorted((PROMETHEUS / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for data in group["rules"]:
                name = data.get("alert") or data["record"]
                found.append(Rule(name, data["expr"], "alert" in data, data))
    return found


def rule_tests() -> list[Json]:
    """Return every test group of the tests of the rules."""
    files = sorted((PROMETHEUS / "tests").glob("*.yml"))
    return [test for path in files for test in yaml.safe_load(path.read_text())["tests"]]


def dashboard() -> Json:
    """Return the dashboard."""
    data = json.loads((GRAFANA / "dashboard.json").read_text())
    assert isinstance(data, dict)
    return data


def panels() -> list[Json]:
    """Return the dashboard's panels, without the rows between them."""
    found = dashboard()["panels"]
    assert isinstance(found, list)
    return [panel for panel in found if panel["type"] != "row"]


def panel_queries() -> list[Query]:
    """Return every query of every panel."""
    found = []
    for panel in panels():
        targets = panel["targets"]
        assert isinstance(targets, list)
        for target in targets:
            title = f"{panel['id']} {panel['title']} {target['refId']}"
            found.append(Query(title, with_variables(target["expr"])))
    return found


def with_variables(expression: str) -> str:
    """Put in what Grafana would; a variable that it does not know of stays, and fails."""
    for name, value in _GRAFANA_VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def documented_queries() -> list[str]:
    """Return the PromQL examples of the page about the metrics."""
    return re.findall(r"```promql\n(.*?)```", METRICS_PAGE.read_text(), re.DOTALL)


def metric_names(text: str) -> set[str]:
    """Return the relay's metric names in a text; not those that rules record."""
    names = re.findall(r"(?<![\w:/.-])relay_[a-z0-9_]+\b(?![:\w-])", text)
    return set(names)
