"""examples/kubernetes: what is in the Pods, and a relay that runs as the relay's Pod has it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from relay.cli import main
from relay.config import FileSource, load
from tests.harness.hop import running_hop
from tests.harness.kubelet import Volume
from tests.harness.messages import OK, request
from tests.harness.relay import relay_process
from tests.harness.secrets import KEY, OTHER_TOKEN, TOKEN
from tests.harness.upstream import Upstream
from tests.headroom import Headroom
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


@pytest.fixture(params=["relay", "headroom", "job.yaml", "doctor.yaml"])
def pod(request: pytest.FixtureRequest) -> Manifest:
    """The relay's Pod, Headroom's, and those in an agent's place."""
    name = request.param
    return pod_of(job(name) if name.endswith(".yaml") else only("Deployment", name))


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


SECRETS: Final = {
    "relay": {"anthropic-api-key", "relay-token", "headroom-proxy-token"},
    "headroom": {"headroom-proxy-token"},
}


@pytest.mark.parametrize("name", SECRETS)
def test_credential_is_mounted_by_the_relay_alone(name: str) -> None:
    """As a folder that the kubelet swaps; Headroom has what it asks its callers for, no more."""
    pod = pod_of(only("Deployment", name))
    volume = next(each for each in pod["spec"]["volumes"] if "projected" in each)
    assert mounted_secrets(volume) == SECRETS[name]
    assert volume["projected"]["defaultMode"] == 0o440
    (each,) = containers(pod)
    assert {"name": volume["name"], "mountPath": "/run/secrets", "readOnly": True} in (
        each["volumeMounts"]
    )
    assert not each.get("envFrom")
    assert "secretKeyRef" not in str(each.get("env"))
    assert all("subPath" not in mount for mount in each["volumeMounts"])
    assert all("secret" not in volume for volume in pod["spec"]["volumes"])
    assert pod["spec"]["securityContext"]["fsGroup"] == pod["spec"]["securityContext"]["runAsGroup"]


def mounted_secrets(volume: Manifest) -> set[str]:
    """Return the names of the Secrets in a projected volume."""
    return {source["secret"]["name"] for source in volume["projected"]["sources"]}


@pytest.mark.parametrize("file", ["job.yaml", "doctor.yaml"])
def test_agents_pod_has_its_token_and_no_other_secret(file: str) -> None:
    """In a namespace where the credential is not, so that nobody could mount it there."""
    agent = job(file)
    assert agent["metadata"]["namespace"] != only("Deployment", "relay")["metadata"]["namespace"]
    (each,) = containers(pod_of(agent))
    assert each["envFrom"] == [{"secretRef": {"name": "relay-agent"}}]
    volumes = pod_of(agent)["spec"].get("volumes", [])
    assert all("emptyDir" in volume for volume in volumes)
    assert "env" not in each


def test_configuration_fits_the_pod(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Right by `relay check`; its files are the Secrets' keys."""
    listeners = ("RELAY_LISTEN", "RELAY_ADMIN", "RELAY_RETURNS")
    for name in ("ANTHROPIC_API_KEY", "RELAY_SECRETS", *listeners):
        monkeypatch.delenv(name, raising=False)
    assert main(["check", "--config", str(CONFIG)]) == 0
    # Prometheus and the kubelet come from the network; its policies say who may not.
    (warning,) = re.findall(r"^warning .*", capsys.readouterr().out, re.MULTILINE)
    assert "admin: shows metrics and calls to whoever reaches 0.0.0.0:9484" in warning
    settings = load(CONFIG)
    relay = container(pod_of(only("Deployment", "relay")), "relay")
    mounts = {each["mountPath"]: each for each in relay["volumeMounts"]}
    assert set(mounts) == {"/etc/relay", "/run/secrets"}
    (header,) = settings.relays[0].hops[0].headers
    sources = [*settings.grants[0].sources, *settings.clients[0].sources, *header.sources]
    files = {Path(each.file) for each in sources if isinstance(each, FileSource)}
    secrets = ("anthropic_api_key", "relay_token", "headroom_proxy_token")
    assert files == {Path("/run/secrets", name) for name in secrets}
    for name in secrets:
        secret = name.replace("_", "-")
        assert f"create secret generic {secret} --from-file={name}=/dev/stdin" in README
    addresses = (*settings.listen, *settings.returns, *settings.admin)
    assert {each.host for each in addresses} == {"0.0.0.0"}
    assert str(settings.relays[0].upstream) == "https://api.anthropic.com"
    ports = {each.port for each in addresses}
    assert set(ports_of(pod_of(only("Deployment", "relay"))).values()) == ports


def test_config_map_is_the_file_and_a_change_rolls_the_relay() -> None:
    """Generated, so that its name changes with it; mounted where the relay looks."""
    made = only("ConfigMap")
    assert made["data"] == {"agent.yaml": CONFIG.read_text()}
    volumes = pod_of(only("Deployment", "relay"))["spec"]["volumes"]
    assert {"name": "config", "configMap": {"name": made["metadata"]["name"]}} in volumes


@pytest.mark.parametrize("name", ["relay", "headroom"])
def test_pod_that_goes_has_time_for_its_last_calls(name: str) -> None:
    """Headroom as well as the relay: they go through it."""
    pod = pod_of(only("Deployment", name))
    assert load(CONFIG).drain + 10 < pod["spec"]["terminationGracePeriodSeconds"]


def test_headroom_is_asked_for_a_page_that_wants_nothing() -> None:
    """No token, as /livez; and not the relay, as its /readyz: neither would be ready first."""
    headroom = container(pod_of(only("Deployment", "headroom")), "headroom")
    for probe in ("startupProbe", "livenessProbe"):
        assert headroom[probe]["httpGet"] == {"path": "/livez", "port": "calls"}
    assert "readinessProbe" not in headroom


def in_place(hop: Headroom, api: Upstream, secrets: Path) -> str:
    """Return the configuration with what this test has in the places of Headroom and the API."""
    text = CONFIG.read_text().replace("headroom:8787", f"localhost:{hop.port}")
    text = text.replace("claude:\n", f"claude:\n  base_url: http://localhost:{api.port}\n")
    return text.replace("/run/secrets", str(secrets))


async def test_probes_and_a_rotated_secret_on_a_relay_with_this_configuration(
    upstream: Upstream, tmp_path: Path
) -> None:
    """The probes' pages are there; a swapped Secret is used by the next call, without a restart."""
    token = {"headroom_proxy_token": "the-token-that-headroom-wants"}
    secrets = Volume(tmp_path / "secrets", {"anthropic_api_key": KEY, "relay_token": TOKEN} | token)
    config = tmp_path / "config"
    config.mkdir()
    listeners = ("RELAY_LISTEN", "RELAY_RETURNS", "RELAY_ADMIN")
    environment = dict.fromkeys(listeners, "0.0.0.0:0") | {"RELAY_SECRETS": str(secrets.folder)}
    probes = container(pod_of(only("Deployment", "relay")), "relay")
    live, ready = (probes[name]["httpGet"] for name in ("livenessProbe", "readinessProbe"))
    assert {live["port"], ready["port"]} == {"admin"}
    upstream.answer_with(OK)
    async with running_hop() as hop:
        text = in_place(hop, upstream, secrets.folder)
        async with relay_process(config, text, environment) as relay:
            await relay.find_return_port()
            await hop.aim(f"http://127.0.0.1:{relay.return_port}/anthropic/headroom")
            assert (await relay.page(live["path"])).status == 200
            assert (await relay.page(ready["path"])).status == 200
            assert (await relay.ask(request(token=TOKEN))).status == 200

            secrets.swap({"anthropic_api_key": NEW_KEY, "relay_token": OTHER_TOKEN} | token)
            assert (await relay.ask(request(token=TOKEN))).status == 401
            assert (await relay.ask(request(token=OTHER_TOKEN))).status == 200
            keys = [each.values("x-api-key") for each in upstream.requests]
            assert keys == [[KEY.encode()], [NEW_KEY.encode()]]
            assert NEW_KEY not in str([each.headers for each in hop.record.exchanges])

            (secrets.folder / "anthropic_api_key").unlink()
            assert (await relay.page(live["path"])).status == 200
            assert (await relay.page(ready["path"])).status == 503
