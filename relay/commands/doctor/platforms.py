"""Finds platforms where something differs from Linux with Docker: docs/platforms.md.

Each is recognised without privileges: by the kernel's name, the map of user ids, what an engine
leaves in its containers, and what a Docker client reports. Nothing is said of plain Linux with
Docker.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Final

from relay import DOCS
from relay.commands.doctor.findings import Finding, Findings, fail, note, warn
from relay.commands.doctor.host import System
from relay.config import ListenAddress, Settings

_DESKTOP: Final = re.compile(r"Docker Desktop (\d+)\.(\d+)")
_OLDEST_DESKTOP: Final = (4, 34)
_HOST_NETWORKING: Final = "switch on Settings, Resources, Network, Enable host networking"
_PAGE: Final = f"{DOCS}/platforms.md"


async def examine(settings: Settings, system: System) -> Findings:
    """Yield a note for each difference from a Linux host with Docker."""
    platform, rootless = await asyncio.to_thread(_ask_docker, system)
    for finding in _desktop(platform, system):
        yield finding
    for finding in _wsl(system):
        yield finding
    beyond = [each for each in (*settings.listen, *settings.returns) if not each.is_loopback]
    for finding in _engine(system, beyond, docker_is_rootless=rootless):
        yield finding
    for finding in _ipv6(system, beyond):
        yield finding
    if system.is_emulated:
        text = f"the relay's image is for {system.machine}, which this machine only emulates"
        yield warn("machine", text, "build it here: docker compose build --no-cache --pull relay")


def _ask_docker(system: System) -> tuple[str, bool]:
    platform = system.docker_platform()
    return platform, "name=rootless" in system.docker_security()


def _desktop(platform: str, system: System) -> Iterator[Finding]:
    match = _DESKTOP.search(platform)
    if match:
        version = int(match[1]), int(match[2])
        text = f"this is Docker Desktop {match[1]}.{match[2]}"
        if version < _OLDEST_DESKTOP:
            yield fail("docker", f"{text}: it has no host networking", "install 4.34 or later")
        else:
            yield note("docker", f"{text}: it needs host networking", _HOST_NETWORKING)
    elif system.in_docker_desktop:
        text = "this is Docker Desktop: it must be 4.34 or later, with host networking"
        yield note("docker", text, _HOST_NETWORKING)


def _wsl(system: System) -> Iterator[Finding]:
    if system.wsl == 1:
        text = "this is WSL 1, which has no Linux kernel: listeners and files behave otherwise"
        yield fail("wsl", text, "in PowerShell: wsl --set-version <distribution> 2")
    elif system.wsl and not system.in_docker_desktop:
        text = "this is WSL 2: localhost is this distribution's; from Windows it may be forwarded"
        yield note("wsl", text, f"run agents in it too; keep secrets off /mnt/c: {_PAGE}#wsl")


def _engine(
    system: System, beyond: list[ListenAddress], *, docker_is_rootless: bool
) -> Iterator[Finding]:
    """Yield what rootless engines and Podman do differently with networks and user ids."""
    rootless = system.is_rootless or docker_is_rootless
    if system.in_podman and rootless:
        text = "this is Podman without root: its networks are apart from the host's, where the "
        if beyond:
            text += f"relay listens: nobody reaches {beyond[0]}"
            yield fail("podman", text, f"run the relay with root, or by relay run: {_PAGE}#podman")
        else:
            text += "relay is: containers do not reach it"
            yield note("podman", text, f"{_PAGE}#podman")
    elif system.in_podman:
        yield note("podman", "this is Podman: compose.yaml is tried with Docker", f"{_PAGE}#podman")
    elif rootless:
        text = "this is Docker without root: its host network is a namespace of its own, and the "
        remedy = (
            f"start compose.yaml's Headroom, and look by relay top: {_PAGE}#docker-without-root"
        )
        yield warn("rootless", f"{text}host's localhost is not in it", remedy)


def _ipv6(system: System, beyond: list[ListenAddress]) -> Iterator[Finding]:
    six = [each for each in beyond if each.ip is not None and each.ip.version == 6]
    if six and system.has_no_ipv6:
        text = f"IPv6 is off in this kernel: nobody reaches {six[0]}"
        yield fail("ipv6", text, "sudo sysctl -w net.ipv6.conf.all.disable_ipv6=0")
    elif six and system.in_docker_desktop:
        text = f"host networking of Docker Desktop has no IPv6: nobody reaches {six[0]}"
        yield fail("ipv6", text, f"give agents an IPv4 network: {_PAGE}#ipv6")
