"""examples/kubernetes: valid by Kubernetes' own schemas; and who reaches whom, as promised."""

from __future__ import annotations

import ipaddress
import re
import subprocess
from pathlib import Path
from typing import Final

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.prometheus_operator import v1 as monitoring
from pydantic import BaseModel

from relay.config import load
from tests.repository.manifests import (
    KUBERNETES,
    PROJECT,
    Manifest,
    container,
    containers,
    job,
    only,
    pod_of,
    ports_of,
    render,
)

OLDEST: Final = "1.30"
"""The first that has sidecars and a preStop's sleep without being asked to."""
LATEST: Final = kubernetes_validate.latest_version().removesuffix(".0")
CONFIG: Final = KUBERNETES / "agent.yaml"
README: Final = (KUBERNETES / "README.md").read_text()


@pytest.mark.parametrize("version", [OLDEST, LATEST])
def test_manifests_are_valid_by_the_schemas_of(version: str) -> None:
    """Strictly: a field that Kubernetes does not know is none that it would drop in silence."""
    for manifest in [*render(KUBERNETES), job(), job("doctor.yaml")]:
        assert kubernetes_validate.validate(manifest, version, strict=True) == version


def test_pod_monitor_has_only_fields_that_the_operator_knows() -> None:
    """What is unknown is lost on the way through the model; and the job's name is the alerts'."""
    (monitor,) = render(KUBERNETES / "monitoring")
    assert through(monitoring.PodMonitor, monitor) == monitor
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    pod = pod_of(only("Deployment"))
    relay = container(pod, "relay")
    assert endpoint["port"] in [port["name"] for port in relay["ports"]]
    assert ports_of(pod)[endpoint["port"]] == load(CONFIG).admin[0].port
    assert_selected(monitor["spec"]["selector"], pod)
    assert pod["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "relay"
    assert monitor["metadata"]["namespace"] == only("Deployment")["metadata"]["namespace"]


def test_rules_become_prometheus_rules_by_the_command_in_the_readme(tmp_path: Path) -> None:
    """Not written twice: the command makes them from examples/prometheus, whole."""
    command = re.search(r"```sh\n(for rules in .*?)```", README, re.DOTALL)
    assert command
    fake = tmp_path / "kubectl"
    fake.write_text('#!/bin/sh\n[ "$*" = "apply -f -" ] && exec cat\n')
    fake.chmod(0o755)
    made = subprocess.run(
        ["bash", "-euc", command[1]],
        cwd=PROJECT,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rules = [each for each in yaml.safe_load_all(made) if each]
    files = sorted((PROJECT / "examples" / "prometheus" / "rules").glob("*.yml"))
    assert [rule["metadata"]["name"] for rule in rules] == [f"relay-{file.stem}" for file in files]
    for rule, file in zip(rules, files, strict=True):
        assert rule["spec"] == yaml.safe_load(file.read_text())
        assert through(monitoring.PrometheusRule, rule) == rule


def through(model: type[BaseModel], manifest: Manifest) -> Manifest:
    """Return what the model of a custom resource keeps of a manifest."""
    return model.model_validate(manifest).model_dump(mode="json", by_alias=True, exclude_unset=True)


def assert_selected(selector: Manifest, pod: Manifest) -> None:
    """See that a selector selects by labels, and these Pods."""
    labels = selector["matchLabels"]
    assert set(selector) == {"matchLabels"}
    assert labels.items() <= pod["metadata"]["labels"].items()


def test_both_namespaces_refuse_what_is_less_hardened() -> None:
    """The restricted standard, enforced, in the relay's namespace and in the agents'."""
    found = [each for each in render(KUBERNETES) if each["kind"] == "Namespace"]
    assert {each["metadata"]["name"] for each in found} == {"relay", "relay-agents"}
    for each in found:
        assert each["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_agents_reach_the_relay_and_nothing_else() -> None:
    """Every Pod of their namespace, out to one port of the relay's Pods; no name server."""
    policy = only("NetworkPolicy", "only-the-relay")
    assert policy["metadata"]["namespace"] == job()["metadata"]["namespace"]
    spec = policy["spec"]
    assert spec["podSelector"] == {}
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in spec
    (rule,) = spec["egress"]
    (peer,) = rule["to"]
    relay = only("Deployment")
    assert peer["namespaceSelector"] == named(relay["metadata"]["namespace"])
    assert_selected(peer["podSelector"], pod_of(relay))
    assert rule["ports"] == [{"protocol": "TCP", "port": load(CONFIG).listen[0].port}]
    for each in (job(), job("doctor.yaml")):
        assert each["metadata"]["namespace"] == policy["metadata"]["namespace"]
        assert pod_of(each)["spec"]["dnsPolicy"] == "None"


def named(namespace: str) -> Manifest:
    """Return the selector of one namespace."""
    return {"matchLabels": {"kubernetes.io/metadata.name": namespace}}


def test_relay_takes_calls_from_agents_and_scrapes_from_prometheus() -> None:
    """Each by its own port, and nobody else by any."""
    spec = only("NetworkPolicy", "relay")["spec"]
    assert spec["podSelector"] == {}
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    calls, scrapes = spec["ingress"]
    settings = load(CONFIG)
    assert calls["from"] == [{"namespaceSelector": named(job()["metadata"]["namespace"])}]
    assert calls["ports"] == [{"protocol": "TCP", "port": settings.listen[0].port}]
    (prometheus,) = scrapes["from"]
    assert prometheus["namespaceSelector"] == named("monitoring")
    assert prometheus["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}
    assert scrapes["ports"] == [{"protocol": "TCP", "port": settings.admin[0].port}]


def test_relays_pod_reaches_names_and_the_internets_tls_alone() -> None:
    """No other Pod, no node, no cloud's metadata: whatever is private is left out."""
    names, internet = only("NetworkPolicy", "relay")["spec"]["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    assert internet["ports"] == [{"protocol": "TCP", "port": 443}]
    blocks = [peer["ipBlock"] for peer in internet["to"]]
    left_out = [ipaddress.ip_network(each) for block in blocks for each in block["except"]]
    for address in ("10.96.0.1", "100.100.1.1", "169.254.169.254", "172.31.0.2", "192.168.1.1"):
        assert any(ipaddress.ip_address(address) in each for each in left_out)
    assert any(ipaddress.ip_address("fd00:ec2::254") in each for each in left_out)


def test_service_and_budget_are_the_relays() -> None:
    """The Service ends at the port for calls; the admin port has none."""
    pod = pod_of(only("Deployment"))
    service = only("Service")["spec"]
    assert service["selector"].items() <= pod["metadata"]["labels"].items()
    (port,) = service["ports"]
    assert ports_of(pod)[port["targetPort"]] == port["port"] == load(CONFIG).listen[0].port
    assert_selected(only("PodDisruptionBudget")["spec"]["selector"], pod)
    assert_selected(only("Deployment")["spec"]["selector"], pod)
    for spread in pod["spec"]["topologySpreadConstraints"]:
        assert_selected(spread["labelSelector"], pod)
    assert only("Deployment")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_images_are_those_that_the_kustomization_renames() -> None:
    """And the relay's has the name that compose.yaml builds."""
    (plan,) = yaml.safe_load_all((KUBERNETES / "kustomization.yaml").read_text())
    used = {each["image"] for each in containers(pod_of(only("Deployment")))}
    assert used == {each["name"] for each in plan["images"]}
    assert used == {"agent-relay", "agent-relay-headroom"}
    compose = (PROJECT / "compose.yaml").read_text()
    assert "image: ${RELAY_IMAGE:-agent-relay}\n" in compose
