"""examples/swarm: who is on which network with whom, and what the relay's task makes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from relay.cli import main
from relay.config import FileSource, load
from tests.repository.manifests import SWARM, Manifest, stack

CONFIG: Final = SWARM / "agent.yaml"


def service(name: str) -> Manifest:
    """Return a service of the stack."""
    found: Manifest = stack()["services"][name]
    return found


def seconds(text: str) -> float:
    """Return a duration such as 330s."""
    return float(text.removesuffix("s"))


def test_agents_meet_the_relay_alone() -> None:
    """Their network has no way out, is encrypted, and of the stack only the relay is on it."""
    assert members("agents") == {"relay"}
    network = stack()["networks"]["agents"]
    assert network["internal"] is True
    assert network["attachable"] is True
    assert "encrypted" in network["driver_opts"]
    agents = stack("agents.yaml")
    assert agents["networks"] == {"relay": {"external": True, "name": "relay_agents"}}
    agent = agents["services"]["agent"]
    assert agent["networks"] == ["relay"]
    assert agent["dns"] == ["127.0.0.1"], "Docker asks the outside for names"
    assert (agent["cap_drop"], agent["read_only"]) == (["ALL"], True)


def members(network: str) -> set[str]:
    """Return which of the stack's services are on a network."""
    services = stack()["services"]
    return {name for name, each in services.items() if network in each["networks"]}


def test_credential_crosses_a_network_of_two() -> None:
    """Encrypted, without a way out, and nobody can attach a container to it."""
    assert members("headroom") == {"relay", "headroom"}
    network = stack()["networks"]["headroom"]
    assert network["internal"] is True
    assert "encrypted" in network["driver_opts"]
    assert "attachable" not in network
    assert all(each["driver"] == "overlay" for each in stack()["networks"].values())


def test_relay_has_no_way_to_the_internet() -> None:
    """Headroom has, and publishes no port; nor does the relay."""
    networks = stack()["networks"]
    assert all(networks[name].get("internal") for name in service("relay")["networks"])
    assert members("internet") == {"headroom"}
    assert not any("ports" in each for each in stack()["services"].values())


def test_only_the_relay_has_the_key() -> None:
    """As a file of its own user's; Headroom has no secret, an agent the token alone."""
    relay = service("relay")
    user, group = relay["user"].split(":")
    assert {each["source"] for each in relay["secrets"]} == {"anthropic_api_key", "relay_token"}
    for each in relay["secrets"]:
        assert (each["uid"], each["gid"], each["mode"]) == (user, group, 0o400)
    assert "secrets" not in service("headroom")
    (secret,) = stack("agents.yaml")["services"]["agent"]["secrets"]
    assert secret["source"] == "relay_token"
    assert set(stack("agents.yaml")["secrets"]) == {"relay_token"}
    assert all(each["external"] is True for each in stack()["secrets"].values())


@pytest.mark.parametrize("name", ["relay", "headroom"])
def test_service_is_hardened_and_replaced_without_a_gap(name: str) -> None:
    """No capability, no file to write; the new one first, and time for the old one's calls."""
    each = service(name)
    assert each["cap_drop"] == ["ALL"]
    assert each["read_only"] is True
    deploy = each["deploy"]
    assert set(deploy["resources"]["limits"]) == {"memory", "pids"}
    assert deploy["update_config"]["order"] == "start-first"
    assert deploy["endpoint_mode"] == "dnsrr"
    assert load(CONFIG).drain + 10 < seconds(each["stop_grace_period"])


def test_configuration_fits_the_stack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is right by `relay check`, leads to the other service, and asks for a token."""
    relay = service("relay")
    monkeypatch.setenv("RELAY_LISTEN", relay["environment"]["RELAY_LISTEN"])
    assert main(["check", "--config", str(CONFIG)]) == 0
    assert "warning" not in capsys.readouterr().out
    settings = load(CONFIG)
    upstream = settings.relays[0].upstream
    assert upstream.host in stack()["services"]
    assert f"--port={upstream.port}" in service("headroom")["command"]
    sources = [*settings.grants[0].sources, *settings.clients[0].sources]
    files = {Path(each.file) for each in sources if isinstance(each, FileSource)}
    assert files == {Path("/run/secrets") / each["source"] for each in relay["secrets"]}
    (config,) = relay["configs"]
    assert config["target"] == "/etc/relay/agent.yaml"
    assert SWARM / stack()["configs"][config["source"]]["file"] == CONFIG


def test_admin_pages_are_on_the_metrics_network_alone(tmp_path: Path) -> None:
    """The task takes the address of its own that is in the network's range."""
    fake = tmp_path / "relay"
    fake.write_text('#!/bin/sh\necho "$RELAY_ADMIN" "$@"\n')
    fake.chmod(0o755)
    entrypoint = service("relay")["entrypoint"]
    assert entrypoint[:2] == ["python", "-c"]
    told = subprocess.run(
        [sys.executable, *entrypoint[1:]],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "METRICS_SUBNET": "127.0.0.0/24"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert told == ["127.0.0.1:9484,127.0.0.1:9484", "serve"]
    subnet = stack()["networks"]["metrics"]["ipam"]["config"][0]["subnet"]
    assert subnet == service("relay")["environment"]["METRICS_SUBNET"]
    assert members("metrics") == {"relay"}
