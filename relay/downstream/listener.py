"""Listening sockets: on addresses that may not exist yet, and on interfaces by name.

Docker makes the bridge that agents come from after the relay has started, perhaps. An
address that is not there yet is bound all the same (ip(7), IP_FREEBIND); an interface's
name is looked up each second until it has an address.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import ipaddress
import logging
import socket
import struct
from pathlib import Path
from typing import Final

from relay.config import ListenAddress
from relay.downstream.acceptor import Acceptor, ProtocolFactory

# linux/in.h, linux/in6.h, linux/sockios.h: Python names none of them.
_IP_FREEBIND: Final = 15
_IPV6_FREEBIND: Final = 78
_SIOCGIFADDR: Final = 0x8915
_IF_INET6: Final = Path("/proc/net/if_inet6")
_GLOBAL_SCOPE: Final = "00"

# The kernel keeps at most net.core.somaxconn of them.
BACKLOG: Final = 1024
RETRY_SECONDS: Final = 1.0

log = logging.getLogger("relay")


class CannotListen(OSError):
    """An address cannot be listened on; the text says which, what for, why, and what to do."""


def _explain(error: OSError, address: ListenAddress, purpose: str, section: str) -> str:
    reason = (error.strerror or "failed").lower()
    text = f"cannot listen on {address} for {purpose}: {reason}"
    elsewhere = f"set {section} or $RELAY_{section.upper()} to another address"
    if error.errno == errno.EADDRINUSE:
        return f"{text}; end what has it, such as another relay (ss -ltnp names it), or {elsewhere}"
    return f"{text}; {elsewhere}"


def listen(address: ListenAddress) -> socket.socket:
    """Return a socket that listens on an IP address and port, whether or not it exists yet.

    Raises:
        OSError: The port is taken, or not ours to take.
    """
    assert address.ip is not None
    family = socket.AF_INET6 if address.ip.version == 6 else socket.AF_INET
    handle = socket.socket(family, socket.SOCK_STREAM)
    try:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            handle.bind((address.host, address.port))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            _bind_in_advance(handle, address)
        handle.listen(BACKLOG)
    except BaseException:
        handle.close()
        raise
    return handle


def _bind_in_advance(handle: socket.socket, address: ListenAddress) -> None:
    if handle.family == socket.AF_INET6:
        handle.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
    else:
        handle.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    handle.bind((address.host, address.port))
    log.warning("%s does not exist on this host yet; it is served once it does", address)


def interface_addresses(name: str) -> list[str]:
    """Return the addresses of a network interface; none while it has none or is not there.

    Nor while there is no descriptor to ask for them with.
    """
    return [*_ipv4_addresses(name), *_ipv6_addresses(name)]


def _ipv4_addresses(name: str) -> list[str]:
    request = struct.pack("256s", name.encode()[:15])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            answer = fcntl.ioctl(handle.fileno(), _SIOCGIFADDR, request)
    except OSError:
        return []
    return [socket.inet_ntoa(answer[20:24])]


def _ipv6_addresses(name: str) -> list[str]:
    """Read the kernel's table: address, index, prefix, scope, flags, name (proc_net(5))."""
    try:
        rows = [line.split() for line in _IF_INET6.read_text(encoding="ascii").splitlines()]
    except OSError:
        return []
    # Link-local addresses would need a zone in every URL; they are left out.
    found = [row[0] for row in rows if row[5] == name and (row[3] == _GLOBAL_SCOPE or name == "lo")]
    return [str(ipaddress.IPv6Address(int(address, 16))) for address in found]


class Listeners:
    """The listening sockets of one purpose, each serving the same protocol.

    ``section`` is where agent.yaml says the addresses.
    """

    def __init__(self, factory: ProtocolFactory, purpose: str, section: str) -> None:
        self._factory = factory
        self._purpose = purpose
        self._section = section
        self.bound: list[ListenAddress] = []
        """Where it listens, with the port that the system chose for port 0."""
        self._acceptors: list[Acceptor] = []
        self._waiting: list[asyncio.Task[None]] = []
        self._served: set[ListenAddress] = set()
        """The interfaces' addresses that are listened on already."""
        self._said: set[str] = set()
        """What was logged of interfaces: they are tried each second."""

    def open(self, addresses: tuple[ListenAddress, ...]) -> None:
        """Listen on every address; interfaces without one are waited for in the background.

        Raises:
            CannotListen: An address cannot be bound.
        """
        for address in addresses:
            if address.ip is not None:
                self._listen(address)
            elif not self._listen_on_interface(address):
                log.warning("%s has no address yet; waiting for it", address.host)
                self._waiting.append(asyncio.create_task(self._wait_for_interface(address)))

    def _listen(self, address: ListenAddress) -> None:
        try:
            handle = listen(address)
        except OSError as error:
            text = _explain(error, address, self._purpose, self._section)
            raise CannotListen(text) from error
        self._acceptors.append(Acceptor(handle, self._factory))
        bound = ListenAddress(address.host, handle.getsockname()[1])
        self.bound.append(bound)
        log.info("%s on %s", self._purpose, bound)

    def _listen_on_interface(self, address: ListenAddress) -> bool:
        found = [ListenAddress(host, address.port) for host in interface_addresses(address.host)]
        for each in found:
            if each not in self._served:
                self._listen(each)
                self._served.add(each)
        return bool(found)

    async def _wait_for_interface(self, address: ListenAddress) -> None:
        while not self._try_interface(address):  # noqa: ASYNC110  # the kernel sends no event here
            await asyncio.sleep(RETRY_SECONDS)

    def _try_interface(self, address: ListenAddress) -> bool:
        try:
            return self._listen_on_interface(address)
        except CannotListen as error:
            text = f"{address}: {error}; trying again"
            if text not in self._said:
                self._said.add(text)
                log.warning("%s", text)
            return False

    def close(self) -> None:
        """Accept no further connections; ``open`` begins anew."""
        for task in self._waiting:
            task.cancel()
        for acceptor in self._acceptors:
            acceptor.close()
        self._acceptors.clear()
        self._served.clear()
        self.bound.clear()
