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


def test_headroom_meets_the_relay_alone() -> None:
    """Encrypted, without a way out or a name server; nobody can attach a container to it."""
    assert members("headroom") == {"relay", "headroom"}
    assert service("headroom")["networks"] == ["headroom"]
    network = stack()["networks"]["headroom"]
    assert network["internal"] is True
    assert "encrypted" in network["driver_opts"]
    assert "attachable" not in network
    assert service("headroom")["dns"] == ["127.0.0.1"], "Docker asks the outside for names"
    assert all(each["driver"] == "overlay" for each in stack()["networks"].values())


def test_relay_alone_has_a_way_to_the_internet() -> None:
    """By a network of its own; and no service publishes a port."""
    networks = stack()["networks"]
    assert {name for name, each in networks.items() if not each.get("internal")} == {"internet"}
    assert members("internet") == {"relay"}
    assert not any("ports" in each for each in stack()["services"].values())


def test_only_the_relay_has_the_key() -> None:
    """As a file of its own user's; Headroom has the token that it wants, an agent its own."""
    relay, headroom = service("relay"), service("headroom")
    user, group = relay["user"].split(":")
    keys = {"anthropic_api_key", "relay_token", "headroom_proxy_token"}
    assert {each["source"] for each in relay["secrets"]} == keys
    for each in relay["secrets"]:
        assert (each["uid"], each["gid"], each["mode"]) == (user, group, 0o400)
    assert [each["source"] for each in headroom["secrets"]] == ["headroom_proxy_token"]
    (secret,) = stack("agents.yaml")["services"]["agent"]["secrets"]
    assert secret["source"] == "relay_token"
    assert set(stack("agents.yaml")["secrets"]) == {"relay_token"}
    assert all(each["external"] is True for each in stack()["secrets"].values())


ORDERS: Final = {"relay": "stop-first", "headroom": "start-first"}


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_service_is_hardened_and_has_time_for_its_last_calls(name: str, order: str) -> None:
    """No capability, no file to write; never two relays: legs come back to the one they left."""
    each = service(name)
    assert each["cap_drop"] == ["ALL"]
    assert each["read_only"] is True
    deploy = each["deploy"]
    assert set(deploy["resources"]["limits"]) == {"memory", "pids"}
    assert deploy["update_config"]["order"] == deploy["rollback_config"]["order"] == order
    assert deploy.get("replicas", 1) == 1
    assert deploy["endpoint_mode"] == "dnsrr"
    assert load(CONFIG).drain + 10 < seconds(each["stop_grace_period"])


def test_configuration_fits_the_stack(capsys: pytest.CaptureFixture[str]) -> None:
    """It is right by `relay check`, its hop is the other service, and it asks for a token."""
    relay = service("relay")
    assert main(["check", "--config", str(CONFIG)]) == 0
    assert "warning" not in capsys.readouterr().out
    settings = load(CONFIG)
    assert settings.clients
    (hop,) = settings.relays[0].hops
    assert str(settings.relays[0].upstream) == "https://api.anthropic.com"
    variables = service("headroom")["environment"]
    assert (hop.upstream.host, str(hop.upstream.port)) == ("headroom", variables["HEADROOM_PORT"])
    (header,) = hop.headers
    sources = [*settings.grants[0].sources, *settings.clients[0].sources, *header.sources]
    files = {Path(each.file) for each in sources if isinstance(each, FileSource)}
    assert files == {Path("/run/secrets") / each["source"] for each in relay["secrets"]}
    (config,) = relay["configs"]
    assert config["target"] == "/etc/relay/agent.yaml"
    assert SWARM / stack()["configs"][config["source"]]["file"] == CONFIG


def test_headroom_sends_on_to_the_relay() -> None:
    """To its return address, by the service's name, and nowhere else by a caller's header."""
    (relay,) = load(CONFIG).relays
    variables = service("headroom")["environment"]
    back = f"http://relay:8485/{relay.name}/{relay.hops[0].name}"
    assert variables["ANTHROPIC_TARGET_API_URL"] == back
    assert variables["HEADROOM_ALLOWED_BASE_URLS"] == back
    (secret,) = service("headroom")["secrets"]
    assert variables["HEADROOM_PROXY_TOKEN_FILE"] == f"/run/secrets/{secret['source']}"


PRINTS: Final = '#!/bin/sh\necho "$RELAY_LISTEN $RELAY_RETURNS $RELAY_ADMIN" "$@"\n'
# On loopback all addresses are called from the same one: so that they can be told apart.
ASKED: Final = """
import socket
class Asked(socket.socket):
    def getsockname(self):
        return ("from-" + self.getpeername()[0], 0)
socket.socket = Asked
"""
NETWORKS: Final = {"AGENTS": "127.1.0.0/24", "HEADROOM": "127.2.0.0/24", "METRICS": "127.3.0.0/24"}


def test_each_port_is_on_its_own_network_alone(tmp_path: Path) -> None:
    """The task takes the addresses of its own that are in the networks' ranges."""
    fake = tmp_path / "relay"
    fake.write_text(PRINTS)
    fake.chmod(0o755)
    entrypoint = service("relay")["entrypoint"]
    assert entrypoint[:2] == ["python", "-c"]
    subnets = {f"{name}_SUBNET": subnet for name, subnet in NETWORKS.items()}
    told = subprocess.run(
        [sys.executable, "-c", ASKED + entrypoint[2]],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"} | subnets,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    listen, returns, admin, command = told
    assert listen == "127.0.0.1:8484,from-127.1.0.254:8484"
    assert returns == "from-127.2.0.254:8485"
    assert admin == "127.0.0.1:9484,from-127.3.0.254:9484"
    assert command == "serve"
    for name in ("agents", "headroom", "metrics"):
        subnet = stack()["networks"][name]["ipam"]["config"][0]["subnet"]
        assert subnet == service("relay")["environment"][f"{name.upper()}_SUBNET"]
    assert members("metrics") == {"relay"}
