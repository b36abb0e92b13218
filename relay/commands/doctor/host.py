"""What can be seen of this host, or of the container that this runs in: kernel tables and files.

All paths are below one root, so that tests can make up a host. What cannot be read is unknown: a
container on the host's network sees the host's sockets and routes, and none of its files.
"""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

_LISTEN: Final = "0A"
_DOCKER_SECONDS: Final = 5.0
NO_VARIABLES: Final[Mapping[str, str]] = MappingProxyType({})
# Only root may write the first; the second is a unit that runs.
_UFW: Final = "etc/ufw/ufw.conf"
_FIREWALLD: Final = "sys/fs/cgroup/system.slice/firewalld.service"

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True, order=True)
class Listener:
    """A TCP socket that listens."""

    port: int
    host: str

    @property
    def ip(self) -> Ip:
        """Its address; an IPv4 one that stands in IPv6 as the IPv4 one it is."""
        ip = ipaddress.ip_address(self.host)
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        return mapped or ip


class System:
    """The host as far as it can be seen."""

    def __init__(
        self,
        root: Path = Path("/"),
        docker: str | None = None,
        machine: str = os.uname().machine,
        environment: Mapping[str, str] = NO_VARIABLES,
    ) -> None:
        self._root = root
        self.machine = machine
        """What programs here are made for, as uname(2) says it."""
        self._environment = environment
        self._docker = docker
        """A Docker client's program, if there is one."""

    def _lines(self, path: str) -> list[str]:
        try:
            return (self._root / path).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []

    def listeners(self) -> list[Listener]:
        """Return the listening TCP sockets, in order (proc_net(5), ``/proc/net/tcp``)."""
        tables = (self._lines("proc/net/tcp"), self._lines("proc/net/tcp6"))
        return sorted({found for table in tables for found in _listeners(table)})

    def subnet_of(self, ip: Ip) -> Network | None:
        """Return the attached network that an address of this host is in."""
        return self._ipv4_subnet_of(ip) if ip.version == 4 else self._ipv6_subnet_of(ip)

    def _ipv6_subnet_of(self, ip: Ip) -> Network | None:
        """Look in ``/proc/net/ipv6_route``: target, prefix, source, prefix, next hop, …."""
        for line in self._lines("proc/net/ipv6_route"):
            try:
                target, prefix, _, _, gateway, *_ = line.split()
                network = ipaddress.IPv6Network((bytes.fromhex(target), int(prefix, 16)))
            except ValueError:
                continue
            if int(gateway, 16) == 0 and 0 < network.prefixlen < 128 and ip in network:
                return network
        return None

    def _ipv4_subnet_of(self, ip: Ip) -> Network | None:
        """Look in ``/proc/net/route``."""
        for line in self._lines("proc/net/route")[1:]:
            try:
                _, target, gateway, _, _, _, _, mask, *_ = line.split()
                network = ipaddress.IPv4Network((int(_ipv4(target)), str(_ipv4(mask))))
            except ValueError:
                continue
            if int(gateway, 16) == 0 and network.prefixlen and ip in network:
                return network
        return None

    def _fact(self, path: str) -> str:
        return "".join(self._lines(path)[:1]).strip()

    @property
    def in_docker_desktop(self) -> bool:
        """Whether this is Docker Desktop's virtual machine."""
        kernel = self._fact("proc/sys/kernel/osrelease")
        return "linuxkit" in kernel or self._fact("proc/sys/kernel/hostname") == "docker-desktop"

    @property
    def wsl(self) -> int:
        """Return the version of the Windows Subsystem for Linux, or 0.

        Their kernels have Microsoft in the release: 5.15.167.4-microsoft-standard-WSL2 for version
        2, 4.4.0-19041-Microsoft for 1.
        """
        kernel = self._fact("proc/sys/kernel/osrelease")
        if "microsoft" not in kernel.lower():
            return 0
        return 1 if kernel.endswith("-Microsoft") else 2

    @property
    def in_podman(self) -> bool:
        """Whether this is a container of Podman's (podman-run(1), ``/run/.containerenv``)."""
        return (self._root / "run/.containerenv").exists()

    @property
    def is_rootless(self) -> bool:
        """Whether root here is a single other user of the host's (user_namespaces(7)).

        So it is in containers of an engine without root. With userns-remap, root is the first of
        many ids that are nobody's.
        """
        if "rootless=1" in self._lines("run/.containerenv"):
            return True
        inside, outside, count = ([*self._fact("proc/self/uid_map").split(), "0", "0", "0"])[:3]
        return inside == "0" and outside != "0" and count == "1"

    @property
    def has_no_ipv6(self) -> bool:
        """Whether IPv6 is off for all interfaces, or not in the kernel at all."""
        off = self._fact("proc/sys/net/ipv6/conf/all/disable_ipv6")
        return off == "1" or (not off and bool(self._lines("proc/net/dev")))

    @property
    def is_emulated(self) -> bool:
        """Whether the processor is another than programs here are made for.

        ``/proc/cpuinfo`` is the real one's, under Rosetta one of Apple's own making. Newer
        versions of QEMU make one up that fits; then nothing shows.
        """
        text = "\n".join(self._lines("proc/cpuinfo"))
        if self.machine == "x86_64":
            return "CPU implementer" in text or "VirtualApple" in text
        return self.machine == "aarch64" and "vendor_id" in text

    @property
    def in_own_network(self) -> bool:
        """Whether this is a container with a network of its own, where localhost is itself."""
        in_container = (self._root / ".dockerenv").exists()
        names = [line.partition(":")[0].strip() for line in self._lines("proc/net/dev")[2:]]
        bridged = any(name == "docker0" or name.startswith("br-") for name in names)
        return in_container and not bridged and not self.in_docker_desktop

    @property
    def firewall(self) -> str:
        """The host's firewall that is known to be on, or empty."""
        if any(line.strip().lower() == "enabled=yes" for line in self._lines(_UFW)):
            return "ufw"
        return "firewalld" if (self._root / _FIREWALLD).exists() else ""

    @property
    def agents_network(self) -> str:
        """The name of the agents' network, which compose.yaml tells the relay's container."""
        return self._environment.get("RELAY_NETWORK") or "relay-agents"

    @property
    def image(self) -> str:
        """The name of the relay's image, which compose.yaml tells the container as well."""
        return self._environment.get("RELAY_IMAGE") or "agent-relay"

    def docker_platform(self) -> str:
        """Return the platform that a Docker client reports for its server, or an empty text."""
        return self._ask_docker("version", "{{.Server.Platform.Name}}")

    def docker_security(self) -> str:
        """Return the server's security options, such as ``name=rootless``."""
        return self._ask_docker("info", "{{.SecurityOptions}}")

    def _ask_docker(self, command_name: str, template: str) -> str:
        if self._docker is None:
            return ""
        command = [self._docker, command_name, "--format", template]
        try:
            done = subprocess.run(  # noqa: S603  # the user's own docker, with fixed arguments
                command, capture_output=True, text=True, timeout=_DOCKER_SECONDS, check=False
            )
        except (OSError, subprocess.SubprocessError):
            return ""
        return done.stdout.strip()


def _listeners(lines: list[str]) -> Iterator[Listener]:
    for line in lines[1:]:
        columns = line.split()
        if len(columns) > 3 and columns[3] == _LISTEN:
            address, _, port = columns[1].partition(":")
            yield Listener(int(port, 16), _address(address))


def _address(text: str) -> str:
    """Return an address that the kernel shows as words of 32 bits in the machine's order."""
    if len(text) == 8:
        return str(_ipv4(text))
    words = (int(_ipv4(text[start : start + 8])) for start in range(0, 32, 8))
    return str(ipaddress.IPv6Address(b"".join(word.to_bytes(4, "big") for word in words)))


def _ipv4(text: str) -> ipaddress.IPv4Address:
    """Return a word of 32 bits in the machine's order as an address."""
    return ipaddress.IPv4Address(int(text, 16).to_bytes(4, sys.byteorder))
