"""The Pods of examples/kubernetes, their containers run by Docker as the manifests have them.

Headroom is the real one, the API at the end is a stand-in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.pod import Pod, docker, network
from tests.e2e.stack import PROJECT, Agent, Report, Stack, eventually
from tests.e2e.test_streaming import MESSAGES, standin
from tests.harness.kubelet import Volume
from tests.harness.secrets import KEY, TOKEN
from tests.repository.manifests import (
    KUBERNETES,
    Manifest,
    container,
    documents,
    only,
    pod_of,
    ports_of,
)

NETWORK: Final = "relay-e2e-kubernetes"
SERVICE: Final = "relay.relay.svc.cluster.local:8484"
NEW_KEY: Final = "sk-ant-api03-r0T4tEd8Qm2Lx7Vt1RcY5dWk9Zp3Hs6Nf-Bj4GgAA"
HOP_TOKEN: Final = {"headroom_proxy_token": "the-token-that-headroom-wants-to-see"}
IMAGES: Final = {
    "agent-relay": "agent-relay-under-test",
    "agent-relay-headroom": "agent-relay-under-test-headroom",
}
API: Final = "relay-e2e-kubernetes-api"
API_IMAGE: Final = "agent-relay-under-test-demo-headroom"
PROMPT: Final = {"model": "claude-sonnet-4-5", "max_tokens": 9, "stream": True}
STREAM: Final = json.dumps(PROMPT | {"messages": [{"role": "user", "content": "Hello?"}]})
RECORDS: Final = """
import sys, urllib.request
page = "http://127.0.0.1:8787/standin/requests?" + sys.argv[1]
sys.stdout.write(urllib.request.urlopen(page).read().decode())
"""


@dataclass(frozen=True)
class Pods:
    """The two Pods, and the relay's Secrets."""

    relay: Pod
    headroom: Pod
    secrets: Volume


def secrets(key: str) -> dict[str, str]:
    """Return the files of the relay's Secrets."""
    return {"anthropic_api_key": key, "relay_token": TOKEN} | HOP_TOKEN


def mounted(manifest: Manifest, folder: Path, files: dict[str, str]) -> Volume:
    """Return a Pod's Secrets, as the kubelet mounts them."""
    (projected,) = (
        each["projected"] for each in manifest["spec"]["volumes"] if "projected" in each
    )
    group = manifest["spec"]["securityContext"]["fsGroup"]
    return Volume(folder, files, projected["defaultMode"], group)


@contextmanager
def running_api() -> Iterator[None]:
    """Have a stand-in for the API on the network for the length of the context."""
    run = ["run", "--detach", "--name", API, "--network", NETWORK, "--network-alias", "api"]
    docker(*run, API_IMAGE, "--host", "0.0.0.0")
    try:
        yield
    finally:
        docker("rm", "--force", API)


def relay_pod(folder: Path) -> tuple[Pod, Volume]:
    """Return the relay's Pod, with the stand-in where its chain ends, and its Secrets."""
    text = (KUBERNETES / "agent.yaml").read_text()
    text = text.replace("claude:\n", "claude:\n  base_url: http://api:8787\n")
    config = Volume(folder / "config", {"agent.yaml": text})
    manifest = pod_of(only("Deployment", "relay"))
    volume = mounted(manifest, folder / "secrets", secrets(KEY))
    folders = {"config": config.folder, "secrets": volume.folder}
    return Pod("relay-e2e-pod", manifest, IMAGES, folders), volume


def headroom_pod(folder: Path, relay: Pod) -> Pod:
    """Return Headroom's Pod, with the relay's address as that of the Service."""
    manifest = pod_of(only("Deployment", "headroom"))
    volume = mounted(manifest, folder / "hop", HOP_TOKEN)
    links = {"RELAY_RETURNS_SERVICE_HOST": relay.address_on(NETWORK)}
    return Pod("relay-e2e-pod", manifest, IMAGES, {"secrets": volume.folder}, links)


@pytest.fixture
def pods(stack: Stack, tmp_path: Path) -> Iterator[Pods]:
    """Both Pods; the stack is there for its images."""
    image = IMAGES["agent-relay-headroom"]
    docker("build", "--quiet", "--tag", image, str(PROJECT / "examples/headroom"))
    relay, volume = relay_pod(tmp_path)
    with network(NETWORK), running_api():
        try:
            relay.start(container(relay.manifest, "relay"), NETWORK)
            headroom = headroom_pod(tmp_path, relay)
            try:
                headroom.start(container(headroom.manifest, "headroom"), NETWORK)
                yield Pods(relay, headroom, volume)
            finally:
                headroom.remove()
        finally:
            relay.remove()


@pytest.fixture
def agent(stack: Stack, pods: Pods) -> Iterator[Agent]:
    """A container on the Pods' network, once the probes say that both are up."""
    with Agent(stack, network=NETWORK) as running:
        ready = container(pods.relay.manifest, "relay")["readinessProbe"]["httpGet"]
        eventually(
            lambda: get(running, pods.relay, ready["path"]).status == 200 or None, "readiness"
        )
        up = container(pods.headroom.manifest, "headroom")["startupProbe"]["httpGet"]
        where = {"host": "headroom", "port": ports_of(pods.headroom.manifest)[up["port"]]}
        order = {"method": "GET", "token": None, "body": ""} | where
        eventually(lambda: running.call(up["path"], **order).status == 200 or None, "Headroom")
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


def records(state: str, count: int) -> list[dict[str, object]]:
    """Return the calls that the API has received, once so many are in that state."""
    query = f"state={state}&count={count}&timeout=20"
    found = json.loads(docker("exec", API, "python", "-c", RECORDS, query))
    assert isinstance(found, list)
    return found


def test_pods_serve_agents_and_the_kubelet_as_the_manifests_have_it(
    agent: Agent, pods: Pods
) -> None:
    """Probes by the Pod's address, calls by the Service's name; the API alone sees the key."""
    pod = pods.relay
    relay = container(pod.manifest, "relay")
    for probe in ("livenessProbe", "readinessProbe"):
        assert get(agent, pod, relay[probe]["httpGet"]["path"]).status == 200
    (monitor,) = documents(KUBERNETES / "monitoring" / "podmonitor.yaml")
    metrics = monitor["spec"]["podMetricsEndpoints"][0]["path"]
    assert "relay_build_info" in get(agent, pod, metrics).text
    assert get(agent, pod, "/metrics", Host="relay.relay.svc.cluster.local:9484").status == 421

    report = agent.call(MESSAGES, **order(pod))
    assert report.status == 200, report.text
    assert "message_stop" in report.text
    (record,) = records("done", 1)
    assert ["x-api-key", KEY] in record["headers"]  # type: ignore[operator]  # JSON
    passed = 'relay_hop_calls_total{hop="headroom",outcome="passed",relay="anthropic"} 1.0'
    assert passed in get(agent, pod, metrics).text
    assert KEY not in docker("inspect", pods.headroom.id_of("headroom"))
    without_its_token = {"host": "headroom", "port": 8787, "token": None, "body": STREAM}
    assert agent.call("/v1/messages", **without_its_token).status == 401


def test_rotated_secret_is_used_by_the_next_call(agent: Agent, pods: Pods) -> None:
    """Swapped as the kubelet does, seen through the mount, without a restart."""
    assert agent.call(MESSAGES, **order(pods.relay)).status == 200
    pods.secrets.swap(secrets(NEW_KEY))
    assert agent.call(MESSAGES, **order(pods.relay)).status == 200
    found = [each["headers"] for each in records("done", 2)]
    keys = [value for headers in found for name, value in headers if name.lower() == "x-api-key"]  # type: ignore[attr-defined]  # JSON
    assert keys == [KEY, NEW_KEY]


def test_a_call_outlives_the_pods_end(agent: Agent, pods: Pods) -> None:
    """The relay is told to stop: its call ends whole, through Headroom, then it does."""
    pod = pods.relay
    mode = standin("slow", events=20, gap=0.1)
    call = agent.begin(MESSAGES, **order(pod, mode=mode))
    records("answering", 1)
    grace = pod.manifest["spec"]["terminationGracePeriodSeconds"]
    docker("stop", "--time", str(grace), pod.id_of("relay"))
    report = call.report()
    assert report.status == 200
    assert "message_stop" in report.text
    assert report.error is None
    state = docker("inspect", "--format", "{{.State.ExitCode}}", pod.id_of("relay")).strip()
    assert state == "0"
