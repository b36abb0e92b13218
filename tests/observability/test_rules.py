"""The rules: valid, tested, and of use on real samples."""

from __future__ import annotations

import math

import pytest
from prometheus_client import generate_latest

from tests.e2e.stack import eventually
from tests.observability.catalogue import SERIES
from tests.observability.examples import PROMETHEUS, Json, Rule, metric_names, rule_tests, rules
from tests.observability.exposition import Relay
from tests.observability.prometheus import Prometheus, promtool

RULES = rules()
ALERTS = [rule for rule in RULES if rule.alerts]
RECORDS = [rule for rule in RULES if not rule.alerts]


def named(rule: Rule) -> str:
    """Return a rule's name, for the tests' names."""
    return rule.name


def alert_tests(name: str) -> list[tuple[Json, Json]]:
    """Return the checks of an alert, each with the test that it is part of."""
    found = []
    for test in rule_tests():
        checks = test.get("alert_rule_test", [])
        assert isinstance(checks, list)
        found += [(test, check) for check in checks if check["alertname"] == name]
    return found


def test_promtool_finds_the_rules_right() -> None:
    """`promtool check rules` has nothing to say."""
    files = [f"rules/{path.name}" for path in sorted((PROMETHEUS / "rules").glob("*.yml"))]
    verdict = promtool("check", "rules", "--lint=all", "--lint-fatal", *files)
    assert verdict.status == 0, verdict.text


@pytest.mark.parametrize("config", ["prometheus.yml", "prometheus-bridge.yml"])
def test_promtool_finds_the_configurations_right(config: str) -> None:
    """`promtool check config` finds each valid, and both rules files with it."""
    verdict = promtool("check", "config", "--lint=all", "--lint-fatal", config)
    assert verdict.status == 0, verdict.text
    assert "2 rule files found" in verdict.text


@pytest.mark.parametrize("tests", sorted(path.name for path in (PROMETHEUS / "tests").iterdir()))
def test_the_rules_pass_their_own_tests(tests: str) -> None:
    """`promtool test rules` passes."""
    verdict = promtool("test", "rules", f"tests/{tests}")
    assert verdict.status == 0, verdict.text
    assert "SUCCESS" in verdict.text


def test_promtool_finds_the_made_up_metrics_right() -> None:
    """`promtool check metrics` has nothing to say of the samples that these tests use."""
    verdict = promtool(
        "check", "metrics", stdin=generate_latest(Relay(troubled=True).registry).decode()
    )
    assert verdict.status == 0, verdict.text
    assert not verdict.text


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_every_alert_is_tested_both_ways(alert: Rule) -> None:
    """A test has it fire, another one keeps it silent on data, a third without any."""
    checks = alert_tests(alert.name)
    with_data = [check for test, check in checks if test["input_series"]]
    without = [check for test, check in checks if not test["input_series"]]
    assert any(check["exp_alerts"] for check in with_data)
    assert any(not check["exp_alerts"] for check in with_data)
    assert without
    assert any(check["exp_alerts"] for check in without) == (alert.name == "RelayAbsent")


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_every_alert_says_how_long_how_bad_and_what_to_do(alert: Rule) -> None:
    """Each has `for`, a severity, a summary and a description."""
    assert set(alert.data) == {"alert", "expr", "for", "labels", "annotations"}
    labels, annotations = alert.data["labels"], alert.data["annotations"]
    assert isinstance(labels, dict)
    assert labels["severity"] in {"critical", "warning"}
    assert isinstance(annotations, dict)
    assert set(annotations) == {"summary", "description"}
    assert len(annotations["description"]) > 100


@pytest.mark.parametrize("rule", RULES, ids=named)
def test_every_rule_reads_what_there_is(rule: Rule) -> None:
    """No metric is named in a rule that a relay does not expose."""
    assert metric_names(rule.expression) <= SERIES


@pytest.mark.parametrize("rule", RECORDS, ids=named)
def test_every_recording_rule_records(rule: Rule, prometheus: Prometheus) -> None:
    """Its expression has a number for the relay that is well, and the series is there."""
    well = prometheus.instance("well")
    for expression in (rule.expression, rule.name):
        # A ratio of failures among none is nothing: these relays all have calls.
        found = [
            value for labels, value in prometheus.query(expression) if labels["instance"] == well
        ]
        assert found
        assert all(map(math.isfinite, found))


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_every_alert_is_raised_by_trouble_and_by_nothing_else(
    alert: Rule, prometheus: Prometheus
) -> None:
    """Its condition holds for a target in trouble, and not for the relay that is well."""
    cause = {"RelayDown": "dead", "RelayAbsent": "stranger"}.get(alert.name, "troubled")

    def only_the_cause() -> bool:
        found = {labels["instance"] for labels, _ in prometheus.query(alert.expression)}
        return found == {prometheus.instance(cause)}

    # A scrape may be late on a busy machine, and a target is down until the next one.
    eventually(lambda: only_the_cause() or None, f"{alert.name} on {cause} alone")


def test_prometheus_evaluates_every_rule(prometheus: Prometheus) -> None:
    """No rule fails when Prometheus runs it."""
    states = {rule["name"]: rule["health"] for rule in prometheus.rules()}
    assert states == {rule.name: "ok" for rule in RULES}
