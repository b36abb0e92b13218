"""``relay doctor`` on hosts other than plain Linux with Docker, made up of what they show."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from relay.commands.doctor.host import System
from tests.harness import ROOT
from tests.harness.configuration import configuration
from tests.harness.upstream import Upstream
from tests.integration.diagnosis import Diagnosis, diagnosed, host

pytestmark = [pytest.mark.asyncio_loop, pytest.mark.usefixtures("well")]

CHECKS: Final = ("docker", "wsl", "podman", "rootless", "ipv6", "machine")
GATEWAY: Final = "10.84.84.1:8484"
GATEWAY_6: Final = "[fd84:84::1]:8484"

# As they are there: uid_map(5) of the host itself, of an engine without root, of userns-remap.
ITSELF: Final = "         0          0 4294967295\n"
WITHOUT_ROOT: Final = "         0       1000          1\n         1     100000      65536\n"
REMAPPED: Final = "         0     165536      65536\n"
PODMAN: Final = """\
engine="podman-5.2.2"
name="relay"
id="6f1d6b0a4c0b"
image="localhost/agent-relay:latest"
imageid="0f3c1a"
rootless={}
graphRootMounted=1
"""
LINUX: Final = {
    "proc__sys__kernel__osrelease": "6.8.0-48-generic\n",
    "proc__sys__kernel__hostname": "box\n",
    "proc__self__uid_map": ITSELF,
    "proc__sys__net__ipv6__conf__all__disable_ipv6": "0\n",
    "proc__cpuinfo": "vendor_id : GenuineIntel\n",
}
KERNEL: Final = "proc__sys__kernel__osrelease"
WSL: Final = {**LINUX, KERNEL: "5.15.167.4-microsoft-standard-WSL2\n"}
WSL_1: Final = {**LINUX, KERNEL: "4.4.0-19041-Microsoft\n"}
DESKTOP: Final = {**LINUX, KERNEL: "6.10.14-linuxkit\n"}
DESKTOP_ON_WSL: Final = {**WSL, "proc__sys__kernel__hostname": "docker-desktop\n"}
ROOTLESS: Final = {**LINUX, "proc__self__uid_map": WITHOUT_ROOT, ".dockerenv": ""}
ROOTLESS_PODMAN: Final = {
    **LINUX,
    "proc__self__uid_map": WITHOUT_ROOT,
    "run__.containerenv": PODMAN.format(1),
}
EMPTY_MARK: Final = {**ROOTLESS_PODMAN, "run__.containerenv": ""}
ROOT_PODMAN: Final = {**LINUX, "run__.containerenv": PODMAN.format(0)}
NO_IPV6: Final = {**LINUX, "proc__sys__net__ipv6__conf__all__disable_ipv6": "1\n"}
IPV6_NOT_BUILT_IN: Final = {
    **{k: v for k, v in LINUX.items() if "ipv6" not in k},
    "proc__net__dev": "a\nb\n",
}
ARM: Final = "processor : 0\nCPU implementer : 0x41\n"


async def looked_at(
    folder: Path,
    upstream: Upstream,
    files: dict[str, str],
    *listen: str,
    docker: str | None = None,
    machine: str = "x86_64",
) -> Diagnosis:
    """Diagnose a relay on a host that shows these files."""
    host(folder, **files)
    config = configuration(upstream.port, listen=["127.0.0.1:8484", *listen], admin="127.0.0.1:1")
    return await diagnosed(folder, config, docker=docker, machine=machine)


def found_of(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """Return check and level of what is said of the platform."""
    return [(each.check, each.level) for each in diagnosis.found if each.check in CHECKS]


@pytest.mark.parametrize(
    ("files", "listen", "expected", "said"),
    [
        (LINUX, GATEWAY, [], ("", "")),
        (LINUX, GATEWAY_6, [], ("", "")),
        ({**LINUX, "proc__self__uid_map": REMAPPED}, GATEWAY, [], ("", "")),
        (WSL, "", [("wsl", "note")], ("from Windows it may be forwarded", "#wsl")),
        (WSL_1, "", [("wsl", "FAIL")], ("no Linux kernel", "wsl --set-version")),
        (DESKTOP, GATEWAY, [("docker", "note")], ("4.34 or later", "Enable host networking")),
        (DESKTOP_ON_WSL, "", [("docker", "note")], ("4.34 or later", "Enable host networking")),
        (ROOTLESS, GATEWAY, [("rootless", "warn")], ("localhost is not in it", "relay top")),
        (ROOTLESS_PODMAN, GATEWAY, [("podman", "FAIL")], (f"nobody reaches {GATEWAY}", "#podman")),
        (EMPTY_MARK, GATEWAY, [("podman", "FAIL")], (f"nobody reaches {GATEWAY}", "relay run")),
        (ROOTLESS_PODMAN, "", [("podman", "note")], ("containers do not reach it", "#podman")),
        (ROOT_PODMAN, GATEWAY, [("podman", "note")], ("tried with Docker", "#podman")),
        (NO_IPV6, GATEWAY_6, [("ipv6", "FAIL")], ("IPv6 is off", "disable_ipv6=0")),
        (NO_IPV6, GATEWAY, [], ("", "")),
        (IPV6_NOT_BUILT_IN, GATEWAY_6, [("ipv6", "FAIL")], ("IPv6 is off", "disable_ipv6=0")),
        (
            DESKTOP,
            GATEWAY_6,
            [("docker", "note"), ("ipv6", "FAIL")],
            ("has no IPv6", "give agents an IPv4 network"),
        ),
    ],
)
async def test_what_differs_is_said(
    upstream: Upstream,
    tmp_path: Path,
    files: dict[str, str],
    listen: str,
    expected: list[tuple[str, str]],
    said: tuple[str, str],
) -> None:
    """By what shows without a privilege; of plain Linux nothing is said."""
    diagnosis = await looked_at(tmp_path, upstream, files, *filter(None, [listen]))
    assert found_of(diagnosis) == expected
    if expected:
        found = diagnosis.of(expected[-1][0])[-1]
        assert said[0] in found.text
        assert said[1] in found.remedy
    assert diagnosis.status == any(level == "FAIL" for _, level in expected)


@pytest.mark.parametrize(
    ("cpu", "machine", "emulated"),
    [
        ("vendor_id : GenuineIntel\n", "x86_64", False),
        (ARM, "aarch64", False),
        (ARM, "x86_64", True),
        ("vendor_id : VirtualApple\n", "x86_64", True),
        ("vendor_id : AuthenticAMD\n", "aarch64", True),
        ("", "riscv64", False),
    ],
)
async def test_an_image_for_another_processor(
    upstream: Upstream, tmp_path: Path, cpu: str, machine: str, emulated: bool
) -> None:
    """It works, at a fraction of the speed."""
    files = {**LINUX, "proc__cpuinfo": cpu}
    diagnosis = await looked_at(tmp_path, upstream, files, machine=machine)
    assert found_of(diagnosis) == [("machine", "warn")] * emulated


@pytest.mark.parametrize(
    ("platform", "security", "expected", "says"),
    [
        ("Docker Desktop 4.33.1 (161083)", "", [("docker", "FAIL")], "it has no host networking"),
        ("Docker Desktop 4.34.0 (165256)", "", [("docker", "note")], "it needs host networking"),
        ("Docker Engine - Community", "[name=seccomp,profile=builtin name=cgroupns]", [], ""),
        (
            "Docker Engine - Community",
            "[name=seccomp,profile=builtin name=rootless name=cgroupns]",
            [("rootless", "warn")],
            "namespace of its own",
        ),
    ],
)
async def test_what_a_docker_client_says_of_its_server(
    upstream: Upstream,
    tmp_path: Path,
    platform: str,
    security: str,
    expected: list[tuple[str, str]],
    says: str,
) -> None:
    """On the host, where there is one to ask."""
    program = tmp_path / "docker"
    program.write_text(
        f"#!/bin/sh\ncase $1 in version) echo '{platform}';; info) echo '{security}';; esac\n"
    )
    program.chmod(0o755)
    diagnosis = await looked_at(tmp_path, upstream, LINUX, GATEWAY, docker=str(program))
    assert found_of(diagnosis) == expected
    assert all(says in each.text for check, _ in expected for each in diagnosis.of(check))


def test_this_very_host_can_be_looked_at() -> None:
    """Whatever it is: each question has an answer."""
    system = System()
    answers = (system.in_podman, system.is_rootless, system.has_no_ipv6, system.is_emulated)
    assert all(isinstance(each, bool) for each in answers)
    assert system.wsl in (0, 1, 2)


def test_every_remedy_leads_to_a_heading_of_the_page() -> None:
    """The address in it is that of docs/platforms.md."""
    source = (ROOT / "relay/commands/doctor/platforms.py").read_text("utf-8")
    page = (ROOT / "docs/platforms.md").read_text("utf-8").lower()
    anchors = [each.partition('"')[0] for each in source.split("{_PAGE}#")[1:]]
    assert anchors
    assert all(f"## {anchor.replace('-', ' ')}\n" in page for anchor in anchors)
