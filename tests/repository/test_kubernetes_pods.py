"""examples/kubernetes: what is in the Pods, and a relay that runs as the relay's Pod has it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from relay.cli import main
from relay.config import FileSource, load
from tests.harness.kubelet import Volume
from tests.harness.messages import OK, request
from tests.harness.relay import relay_process
from tests.harness.secrets import KEY, OTHER_TOKEN, TOKEN
from tests.harness.upstream import Upstream
from tests.repository.manifests import (
    KUBERNETES,
    Manifest,
    container,
    containers,
    job,
    only,
    pod_of,
    ports_of,
)

CONFIG: Final = KUBERNETES / "agent.yaml"
README: Final = (KUBERNETES / "README.md").read_text()
NEW_KEY: Final = "sk-ant-api03-r0T4tEd8Qm2Lx7Vt1RcY5dWk9Zp3Hs6Nf-Bj4GgAA"


@pytest.fixture(params=["relay", "job.yaml", "doctor.yaml"])
def pod(request: pytest.FixtureRequest) -> Manifest:
    """The relay's Pod, and those in an agent's place."""
    return pod_of(only("Deployment") if request.param == "relay" else job(request.param))


def test_every_container_is_hardened(pod: Manifest) -> None:
    """Not root, no capability and none to gain, nothing to write to but what is mounted."""
    security = pod["spec"]["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["spec"]["automountServiceAccountToken"] is False
    for each in containers(pod):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(each["resources"]["limits"]) == {"memory"}
        assert set(each["resources"]["requests"]) == {"cpu", "memory"}
    for host in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        assert host not in pod["spec"]


def test_credential_is_mounted_by_the_relays_container_alone() -> None:
    """As a folder that the kubelet swaps; Headroom has no part in it."""
    pod = pod_of(only("Deployment"))
    volume = next(each for each in pod["spec"]["volumes"] if "projected" in each)
    assert mounted_secrets(volume) == {"anthropic-api-key", "relay-token"}
    assert volume["projected"]["defaultMode"] == 0o440
    holders = [
        each["name"]
        for each in containers(pod)
        if volume["name"] in [mount["name"] for mount in each["volumeMounts"]]
    ]
    assert holders == ["relay"]
    for each in containers(pod):
        assert not each.get("envFrom")
        assert "secretKeyRef" not in str(each.get("env"))
        assert all("subPath" not in mount for mount in each["volumeMounts"])
    assert pod["spec"]["securityContext"]["fsGroup"] == pod["spec"]["securityContext"]["runAsGroup"]


def mounted_secrets(volume: Manifest) -> set[str]:
    """Return the names of the Secrets in a projected volume."""
    return {source["secret"]["name"] for source in volume["projected"]["sources"]}


@pytest.mark.parametrize("file", ["job.yaml", "doctor.yaml"])
def test_agents_pod_has_its_token_and_no_other_secret(file: str) -> None:
    """In a namespace where the credential is not, so that nobody could mount it there."""
    agent = job(file)
    assert agent["metadata"]["namespace"] != only("Deployment")["metadata"]["namespace"]
    (each,) = containers(pod_of(agent))
    assert each["envFrom"] == [{"secretRef": {"name": "relay-agent"}}]
    volumes = pod_of(agent)["spec"].get("volumes", [])
    assert all("emptyDir" in volume for volume in volumes)
    assert "env" not in each


def test_configuration_fits_the_pod(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Right by `relay check`; its files are the Secrets' keys, its upstream is on loopback."""
    for name in ("ANTHROPIC_API_KEY", "RELAY_LISTEN", "RELAY_ADMIN", "RELAY_SECRETS"):
        monkeypatch.delenv(name, raising=False)
    assert main(["check", "--config", str(CONFIG)]) == 0
    assert "warning" not in capsys.readouterr().out
    settings = load(CONFIG)
    relay = container(pod_of(only("Deployment")), "relay")
    mounts = {each["mountPath"]: each for each in relay["volumeMounts"]}
    assert set(mounts) == {"/etc/relay", "/run/secrets"}
    sources = [*settings.grants[0].sources, *settings.clients[0].sources]
    files = {Path(each.file) for each in sources if isinstance(each, FileSource)}
    assert files == {Path("/run/secrets/anthropic_api_key"), Path("/run/secrets/relay_token")}
    for file in files:
        assert f"--from-file={file.name}=/dev/stdin" in README
    assert {each.host for each in (*settings.listen, *settings.admin)} == {"0.0.0.0"}
    assert settings.relays[0].upstream.host == "localhost"
    assert set(ports_of(pod_of(only("Deployment"))).values()) == {8484, 9484}


def test_config_map_is_the_file_and_a_change_rolls_the_relay() -> None:
    """Generated, so that its name changes with it; mounted where the relay looks."""
    made = only("ConfigMap")
    assert made["data"] == {"agent.yaml": CONFIG.read_text()}
    volumes = pod_of(only("Deployment"))["spec"]["volumes"]
    assert {"name": "config", "configMap": {"name": made["metadata"]["name"]}} in volumes


def test_headroom_outlives_the_relays_last_call() -> None:
    """A sidecar, stopped after the relay; and the Pod's grace covers the sleep and the drain."""
    pod = pod_of(only("Deployment"))
    assert [each["name"] for each in pod["spec"]["initContainers"]] == ["headroom"]
    headroom = container(pod, "headroom")
    assert headroom["restartPolicy"] == "Always"
    assert "startupProbe" in headroom
    relay = container(pod, "relay")
    pause = relay["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pause > 0
    assert pause + load(CONFIG).drain + 10 < pod["spec"]["terminationGracePeriodSeconds"]


def test_headroom_is_asked_on_its_own_loopback() -> None:
    """Not by httpGet: that comes from outside of the Pod, where it must not be reached."""
    pod = pod_of(only("Deployment"))
    headroom = container(pod, "headroom")
    assert "ports" not in headroom
    port = load(CONFIG).relays[0].upstream.port
    for probe in ("startupProbe", "livenessProbe"):
        assert f"//127.0.0.1:{port}/livez" in " ".join(headroom[probe]["exec"]["command"])


def in_place(upstream: Upstream, secrets: Path) -> str:
    """Return the configuration with this test's upstream and folder in it."""
    text = CONFIG.read_text().replace("localhost:8787", f"localhost:{upstream.port}")
    return text.replace("/run/secrets", str(secrets))


async def test_probes_and_a_rotated_secret_on_a_relay_with_this_configuration(
    upstream: Upstream, tmp_path: Path
) -> None:
    """The probes' pages are there; a swapped Secret is used by the next call, without a restart."""
    secrets = Volume(tmp_path / "secrets", {"anthropic_api_key": KEY, "relay_token": TOKEN})
    config = tmp_path / "config"
    config.mkdir()
    environment = {
        "RELAY_LISTEN": "0.0.0.0:0",
        "RELAY_ADMIN": "0.0.0.0:0",
        "RELAY_SECRETS": str(secrets.folder),
    }
    probes = container(pod_of(only("Deployment")), "relay")
    live, ready = (probes[name]["httpGet"] for name in ("livenessProbe", "readinessProbe"))
    assert {live["port"], ready["port"]} == {"admin"}
    upstream.answer_with(OK)
    text = in_place(upstream, secrets.folder)
    async with relay_process(config, text, environment) as relay:
        assert (await relay.page(live["path"])).status == 200
        assert (await relay.page(ready["path"])).status == 200
        assert (await relay.ask(request(token=TOKEN))).status == 200

        secrets.swap({"anthropic_api_key": NEW_KEY, "relay_token": OTHER_TOKEN})
        assert (await relay.ask(request(token=TOKEN))).status == 401
        assert (await relay.ask(request(token=OTHER_TOKEN))).status == 200
        keys = [each.values("x-api-key") for each in upstream.requests]
        assert keys == [[KEY.encode()], [NEW_KEY.encode()]]

        (secrets.folder / "anthropic_api_key").unlink()
        assert (await relay.page(live["path"])).status == 200
        assert (await relay.page(ready["path"])).status == 503
