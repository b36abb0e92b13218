"""The relay's Pod of examples/kubernetes, its containers run by Docker as the manifest has them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.pod import Pod, docker, network
from tests.e2e.stack import Agent, Report, Stack, eventually
from tests.e2e.test_streaming import MESSAGES, STREAM, standin
from tests.harness.kubelet import Volume
from tests.harness.secrets import KEY, TOKEN
from tests.repository.manifests import KUBERNETES, container, documents, only, pod_of, ports_of

NETWORK: Final = "relay-e2e-kubernetes"
SERVICE: Final = "relay.relay.svc.cluster.local:8484"
NEW_KEY: Final = "sk-ant-api03-r0T4tEd8Qm2Lx7Vt1RcY5dWk9Zp3Hs6Nf-Bj4GgAA"
IMAGES: Final = {
    "agent-relay": "agent-relay-under-test",
    "agent-relay-headroom": "agent-relay-under-test-demo-headroom",
}
RECORDS: Final = """
import sys, urllib.request
page = "http://127.0.0.1:8787/standin/requests?" + sys.argv[2]
asked = urllib.request.Request(page, method=sys.argv[1])
sys.stdout.write(urllib.request.urlopen(asked).read().decode())
"""


def secrets(key: str) -> dict[str, str]:
    """Return the files of the relay's Secrets."""
    return {"anthropic_api_key": key, "relay_token": TOKEN}


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """The relay's Secrets, as the kubelet mounts them."""
    pod = pod_of(only("Deployment"))
    (projected,) = (each["projected"] for each in pod["spec"]["volumes"] if "projected" in each)
    group = pod["spec"]["securityContext"]["fsGroup"]
    return Volume(tmp_path / "secrets", secrets(KEY), projected["defaultMode"], group)


@pytest.fixture
def pod(stack: Stack, volume: Volume, tmp_path: Path) -> Iterator[Pod]:
    """The Pod, with the stand-in for Headroom as its sidecar; the stack is there for its images."""
    text = (KUBERNETES / "agent.yaml").read_text()
    config = Volume(tmp_path / "config", {"agent.yaml": text})
    manifest = pod_of(only("Deployment"))
    folders = {"config": config.folder, "secrets": volume.folder}
    with network(NETWORK):
        pod = Pod("relay-e2e-pod", manifest, IMAGES, folders)
        try:
            pod.start(container(manifest, "headroom"), NETWORK)
            eventually(lambda: alive(pod), "the sidecar's startup probe")
            pod.exec("headroom", "python", "-c", RECORDS, "DELETE", "")
            pod.start(container(manifest, "relay"), f"container:{pod.id_of('headroom')}")
            yield pod
        finally:
            pod.remove()


def alive(pod: Pod) -> bool | None:
    """Run the sidecar's probe; None while it fails."""
    probe = container(pod.manifest, "headroom")["startupProbe"]["exec"]["command"]
    command = ["docker", "exec", pod.id_of("headroom"), *probe]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0 or None


@pytest.fixture
def agent(stack: Stack, pod: Pod) -> Iterator[Agent]:
    """A container on the Pod's network."""
    with Agent(stack, network=NETWORK) as running:
        probe = container(pod.manifest, "relay")["readinessProbe"]["httpGet"]
        eventually(lambda: get(running, pod, probe["path"]).status == 200 or None, "readiness")
        yield running


def get(agent: Agent, pod: Pod, path: str, **headers: str) -> Report:
    """Ask for an admin page as the kubelet and Prometheus do: by the Pod's address."""
    port = ports_of(pod.manifest)["admin"]
    host = pod.address_on(NETWORK)
    order = {"host": host, "port": port, "method": "GET", "token": None, "body": ""}
    return agent.call(path, **order, headers=headers)


def order(pod: Pod, **changes: object) -> dict[str, object]:
    """Return an agent's call by the Service's name."""
    headers = {"Host": SERVICE, "Authorization": f"Bearer {TOKEN}"}
    mode = changes.pop("mode", {})
    assert isinstance(mode, dict)
    address = {"host": pod.address_on(NETWORK), "port": ports_of(pod.manifest)["calls"]}
    return {**address, "token": None, "headers": headers | mode, "body": STREAM, **changes}


def records(pod: Pod, state: str, count: int) -> list[dict[str, object]]:
    """Return the calls that the sidecar has received, once so many are in that state."""
    query = f"state={state}&count={count}&timeout=20"
    found = json.loads(pod.exec("headroom", "python", "-c", RECORDS, "GET", query))
    assert isinstance(found, list)
    return found


def test_pod_serves_agents_and_the_kubelet_as_the_manifest_has_it(agent: Agent, pod: Pod) -> None:
    """Probes by the Pod's address, calls by the Service's name; Headroom is on loopback alone."""
    relay = container(pod.manifest, "relay")
    for probe in ("livenessProbe", "readinessProbe"):
        assert get(agent, pod, relay[probe]["httpGet"]["path"]).status == 200
    (monitor,) = documents(KUBERNETES / "monitoring" / "podmonitor.yaml")
    page = get(agent, pod, monitor["spec"]["podMetricsEndpoints"][0]["path"])
    assert "relay_build_info" in page.text
    assert get(agent, pod, "/metrics", Host="relay.relay.svc.cluster.local:9484").status == 421

    report = agent.call(MESSAGES, **order(pod))
    assert report.status == 200
    assert "message_stop" in report.text
    (record,) = records(pod, "done", 1)
    assert ["x-api-key", KEY] in record["headers"]  # type: ignore[operator]  # JSON
    outside = {"host": pod.address_on(NETWORK), "port": 8787, "connect_only": True}
    assert not agent.call("", **outside).connected


def test_rotated_secret_is_used_by_the_next_call(agent: Agent, pod: Pod, volume: Volume) -> None:
    """Swapped as the kubelet does, seen through the mount, without a restart."""
    assert agent.call(MESSAGES, **order(pod)).status == 200
    volume.swap(secrets(NEW_KEY))
    assert agent.call(MESSAGES, **order(pod)).status == 200
    found = [each["headers"] for each in records(pod, "done", 2)]
    keys = [value for headers in found for name, value in headers if name.lower() == "x-api-key"]  # type: ignore[attr-defined]  # JSON
    assert keys == [KEY, NEW_KEY]


def test_a_call_outlives_the_pods_end(agent: Agent, pod: Pod) -> None:
    """The relay is told to stop first: its call ends whole, then it does; then the sidecar goes."""
    mode = standin("slow", events=20, gap=0.1)
    call = agent.begin(MESSAGES, **order(pod, mode=mode))
    records(pod, "answering", 1)
    grace = pod.manifest["spec"]["terminationGracePeriodSeconds"]
    docker("stop", "--time", str(grace), pod.id_of("relay"))
    report = call.report()
    assert report.status == 200
    assert "message_stop" in report.text
    assert report.error is None
    state = docker("inspect", "--format", "{{.State.ExitCode}}", pod.id_of("relay")).strip()
    assert state == "0"
    assert alive(pod)
