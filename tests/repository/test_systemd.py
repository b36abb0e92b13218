"""examples/systemd: what the unit starts, and its secrets, are there; its hardening is whole."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Final

import pytest

from relay.config import FileSource, load
from relay.config.schema import Drain
from tests.harness import ROOT

FOLDER: Final = ROOT / "examples" / "systemd"
UNIT: Final = FOLDER / "relay.service"
SECRETS: Final = "/run/credentials/relay.service"
README: Final = (FOLDER / "README.md").read_text("utf-8")


def settings() -> dict[str, list[str]]:
    """Return what the unit sets, each with all that is said of it."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in UNIT.read_text("utf-8").splitlines():
        name, mark, value = line.partition("=")
        if mark and not line.startswith("#"):
            found[name].append(value)
    return found


def test_its_configuration_serves() -> None:
    """On loopback alone, with the credentials where systemd shows them."""
    environment = {"RELAY_SECRETS": SECRETS, "RELAY_TOKEN": ""}
    loaded = load(FOLDER / "agent.yaml", environment)
    assert loaded.warnings == ()
    assert all(address.is_loopback for address in (*loaded.listen, *loaded.admin))
    (grant,) = loaded.grants
    places = [source.file for source in grant.sources if isinstance(source, FileSource)]
    shown = [line.split(":")[0] for line in settings()["LoadCredential"]]
    assert places == [f"{SECRETS}/{shown[0]}"]
    assert shown == ["anthropic_api_key", "relay_token"]
    assert "RELAY_SECRETS=%d" in settings()["Environment"][0]


def test_what_is_installed_is_what_it_names() -> None:
    """Program, configuration and secrets, by the commands of the page."""
    (start,) = settings()["ExecStart"]
    program, *_, config = start.split()
    assert f"venv {program.removesuffix('/bin/relay')}\n" in README
    assert f" {config}\n" in README
    for line in settings()["LoadCredential"]:
        assert line.partition(":")[2] in README


def test_it_is_told_of_readiness_and_reloads_by_signal() -> None:
    """And waits longer than calls in flight may take to finish."""
    unit = settings()
    assert unit["Type"] == ["notify"]
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert int(unit["TimeoutStopSec"][0]) > Drain().drain


@pytest.mark.parametrize(
    "name",
    [
        *("DynamicUser", "NoNewPrivileges", "PrivateUsers", "PrivateDevices", "PrivateTmp"),
        *("ProtectHome", "ProtectClock", "ProtectControlGroups", "ProtectHostname"),
        *("ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables"),
        *("LockPersonality", "MemoryDenyWriteExecute", "RestrictNamespaces", "RestrictRealtime"),
        "RestrictSUIDSGID",
    ],
)
def test_what_it_does_not_need_it_does_not_get(name: str) -> None:
    """As ``systemd-analyze security`` asks."""
    assert settings()[name] == ["yes"]


def test_what_is_left_to_it() -> None:
    """No capability, a read-only system, TCP and the sockets of systemd's own."""
    unit = settings()
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == [""]
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["RestrictAddressFamilies"] == ["AF_INET AF_INET6 AF_UNIX"]
    assert unit["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]
    assert re.search(r"ledger: \{path: /var/lib/relay/ledger\.db\}", README)
    assert unit["StateDirectory"] == ["relay"]
