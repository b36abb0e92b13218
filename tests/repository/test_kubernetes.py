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
    pod = pod_of(only("Deployment", "relay"))
    relay = container(pod, "relay")
    assert endpoint["port"] in [port["name"] for port in relay["ports"]]
    assert ports_of(pod)[endpoint["port"]] == load(CONFIG).admin[0].port
    assert_selected(monitor["spec"]["selector"], pod)
    assert pod["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "relay"
    assert monitor["metadata"]["namespace"] == only("Deployment", "relay")["metadata"]["namespace"]


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
    assert_covers_both_ways(spec)
    assert "ingress" not in spec
    (rule,) = spec["egress"]
    (peer,) = rule["to"]
    relay = only("Deployment", "relay")
    assert peer["namespaceSelector"] == named(relay["metadata"]["namespace"])
    assert_selected(peer["podSelector"], pod_of(relay))
    assert rule["ports"] == [{"protocol": "TCP", "port": load(CONFIG).listen[0].port}]
    for each in (job(), job("doctor.yaml")):
        assert each["metadata"]["namespace"] == policy["metadata"]["namespace"]
        assert pod_of(each)["spec"]["dnsPolicy"] == "None"


def named(namespace: str) -> Manifest:
    """Return the selector of one namespace."""
    return {"matchLabels": {"kubernetes.io/metadata.name": namespace}}


def assert_covers_both_ways(spec: Manifest) -> None:
    """See that what a policy does not allow is refused, in and out."""
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}


def policy_of(name: str) -> Manifest:
    """Return what the policy says of the Pods of a Deployment of that name, and of no others."""
    spec: Manifest = only("NetworkPolicy", name)["spec"]
    assert_selected(spec["podSelector"], pod_of(only("Deployment", name)))
    assert_covers_both_ways(spec)
    return spec


def assert_is_pod_of(peers: list[Manifest], name: str) -> None:
    """See that a rule names the Pods of one Deployment of the policy's own namespace."""
    (peer,) = peers
    assert set(peer) == {"podSelector"}
    assert_selected(peer["podSelector"], pod_of(only("Deployment", name)))


def test_headroom_reaches_the_return_address_alone() -> None:
    """In by its port from the relay, out to one port of the relay's; no name server, no API."""
    spec = policy_of("headroom")
    settings = load(CONFIG)
    (hop,) = settings.relays[0].hops
    (calls,) = spec["ingress"]
    assert_is_pod_of(calls["from"], "relay")
    assert calls["ports"] == [{"protocol": "TCP", "port": hop.upstream.port}]
    (back,) = spec["egress"]
    assert_is_pod_of(back["to"], "relay")
    assert back["ports"] == [{"protocol": "TCP", "port": settings.returns[0].port}]
    assert pod_of(only("Deployment", "headroom"))["spec"]["dnsPolicy"] == "None"


def test_whatever_else_is_in_the_relays_namespace_reaches_nothing() -> None:
    """A policy for all of its Pods that allows nothing, for policies add up."""
    policy = only("NetworkPolicy", "nothing")
    assert policy["metadata"]["namespace"] == only("Deployment", "relay")["metadata"]["namespace"]
    assert policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_relay_is_called_by_agents_headroom_and_prometheus() -> None:
    """Each by its own port, and nobody else by any."""
    calls, returns, scrapes = policy_of("relay")["ingress"]
    settings = load(CONFIG)
    assert_is_pod_of(returns["from"], "headroom")
    assert returns["ports"] == [{"protocol": "TCP", "port": settings.returns[0].port}]
    assert calls["from"] == [{"namespaceSelector": named(job()["metadata"]["namespace"])}]
    assert calls["ports"] == [{"protocol": "TCP", "port": settings.listen[0].port}]
    (prometheus,) = scrapes["from"]
    assert prometheus["namespaceSelector"] == named("monitoring")
    assert prometheus["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}
    assert scrapes["ports"] == [{"protocol": "TCP", "port": settings.admin[0].port}]


def test_relays_pod_reaches_headroom_names_and_the_internets_tls_alone() -> None:
    """No other Pod, no node, no cloud's metadata: whatever is private is left out."""
    headroom, names, internet = policy_of("relay")["egress"]
    assert_is_pod_of(headroom["to"], "headroom")
    (hop,) = load(CONFIG).relays[0].hops
    assert headroom["ports"] == [{"protocol": "TCP", "port": hop.upstream.port}]
    assert {port["port"] for port in names["ports"]} == {53}
    assert internet["ports"] == [{"protocol": "TCP", "port": 443}]
    blocks = [peer["ipBlock"] for peer in internet["to"]]
    left_out = [ipaddress.ip_network(each) for block in blocks for each in block["except"]]
    for address in ("10.96.0.1", "100.100.1.1", "169.254.169.254", "172.31.0.2", "192.168.1.1"):
        assert any(ipaddress.ip_address(address) in each for each in left_out)
    assert any(ipaddress.ip_address("fd00:ec2::254") in each for each in left_out)


SERVICES: Final = [("relay", "relay"), ("relay-returns", "relay"), ("headroom", "headroom")]


@pytest.mark.parametrize(("name", "deployment"), SERVICES)
def test_service_ends_at_its_deployments_pods(name: str, deployment: str) -> None:
    """At a port that has the same number; the admin port has none."""
    pod = pod_of(only("Deployment", deployment))
    service = only("Service", name)["spec"]
    assert_selected({"matchLabels": service["selector"]}, pod)
    (port,) = service["ports"]
    assert ports_of(pod)[port["targetPort"]] == port["port"] != load(CONFIG).admin[0].port
    assert_selected(only("Deployment", deployment)["spec"]["selector"], pod)


def test_relay_and_headroom_find_each_other() -> None:
    """One by a Service's name, the other by its address: the relay's own for this hop."""
    settings = load(CONFIG)
    (relay,) = settings.relays
    (hop,) = relay.hops
    assert hop.upstream.host == only("Service", "headroom")["metadata"]["name"]
    assert hop.upstream.port == only("Service", "headroom")["spec"]["ports"][0]["port"]
    pod = pod_of(only("Deployment", "headroom"))
    variables = {each["name"]: each["value"] for each in container(pod, "headroom")["env"]}
    service = only("Service", "relay-returns")["metadata"]["name"].upper().replace("-", "_")
    (port,) = only("Service", "relay-returns")["spec"]["ports"]
    back = f"http://$({service}_SERVICE_HOST):{port['port']}/{relay.name}/{hop.name}"
    assert variables["ANTHROPIC_TARGET_API_URL"] == back
    assert variables["HEADROOM_ALLOWED_BASE_URLS"] == "$(ANTHROPIC_TARGET_API_URL)"
    assert pod["spec"]["enableServiceLinks"] is True
    assert variables["HEADROOM_PORT"] == str(hop.upstream.port), "else that of the links"
    assert settings.returns[0].port == port["port"]


def test_legs_come_back_to_the_relay_that_has_the_call() -> None:
    """There is one at a time, and it is found also while it lets its last calls finish."""
    deployment = only("Deployment", "relay")
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert only("Service", "relay-returns")["spec"]["publishNotReadyAddresses"] is True


def test_images_are_those_that_the_kustomization_renames() -> None:
    """And the relay's has the name that compose.yaml builds."""
    (plan,) = yaml.safe_load_all((KUBERNETES / "kustomization.yaml").read_text())
    pods = [pod_of(only("Deployment", name)) for name in ("relay", "headroom")]
    used = {each["image"] for pod in pods for each in containers(pod)}
    assert used == {each["name"] for each in plan["images"]}
    assert used == {"agent-relay", "agent-relay-headroom"}
    compose = (PROJECT / "compose.yaml").read_text()
    assert "image: ${RELAY_IMAGE:-agent-relay}\n" in compose
