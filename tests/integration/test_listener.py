"""Listening sockets, on addresses that are there, that come later, or that are taken."""

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest

from relay.config import ListenAddress
from relay.downstream import listener
from relay.downstream.listener import CannotListen, Listeners, interface_addresses, listen
from tests.harness.greeter import GREETING, Greeter

FUSE_SECONDS = 10.0
# Of the network that agents are on, and of none that this host has.
ABSENT = "10.84.199.1"
ABSENT_IPV6 = "fd84:199::1"


class Opened:
    """Listeners under test, and the ports that they said they listen on."""

    def __init__(self, log: pytest.LogCaptureFixture) -> None:
        self.listeners = Listeners(Greeter, "relays", "listen")
        self._log = log

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Return the addresses that are listened on."""
        return [(bound.host, bound.port) for bound in self.listeners.bound]

    def messages(self, level: int) -> list[str]:
        """Return what was logged at this level."""
        return [record.getMessage() for record in self._log.records if record.levelno == level]


@pytest.fixture
async def opened(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Opened]:
    """Listeners that are closed at the end."""
    caplog.set_level(logging.INFO, logger="relay")
    opened = Opened(caplog)
    yield opened
    opened.listeners.close()
    for waiting in opened.listeners._waiting:
        waiting.cancel()


async def greeting_at(host: str, port: int) -> bytes:
    """Return what is said to whoever connects there."""
    async with asyncio.timeout(FUSE_SECONDS):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


# Addresses


async def test_every_address_is_served(opened: Opened) -> None:
    """Of both families, each as itself."""
    loopback = ListenAddress("127.0.0.1", 0), ListenAddress("::1", 0)
    opened.listeners.open(loopback)
    assert [host for host, _ in opened.addresses] == ["127.0.0.1", "::1"]
    for host, port in opened.addresses:
        assert await greeting_at(host, port) == GREETING
    (_, port), (_, port_ipv6) = opened.addresses
    assert opened.messages(logging.INFO) == [
        f"relays on 127.0.0.1:{port}",
        f"relays on [::1]:{port_ipv6}",
    ]
    assert opened.messages(logging.WARNING) == []


async def test_ipv6_address_takes_no_ipv4_port(opened: Opened) -> None:
    """All of one family is not all of the other: two listeners may share a port."""
    with listen(ListenAddress("::", 0)) as handle:
        port = handle.getsockname()[1]
        opened.listeners.open((ListenAddress("127.0.0.1", port),))
        assert opened.addresses == [("127.0.0.1", port)]


@pytest.mark.parametrize("host", [ABSENT, ABSENT_IPV6])
async def test_address_that_does_not_exist_yet_is_bound_with_a_warning(
    opened: Opened, host: str
) -> None:
    """Docker makes the bridge that agents come from later, perhaps."""
    address = ListenAddress(host, 0)
    opened.listeners.open((address,))
    ((bound, port),) = opened.addresses
    assert bound == host
    assert port > 0
    assert opened.messages(logging.WARNING) == [
        f"{address} does not exist on this host yet; it is served once it does"
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_taken_port_is_an_error(opened: Opened, host: str) -> None:
    """Somebody else would get the agents' calls."""
    with listen(ListenAddress(host, 0)) as other:
        taken = ListenAddress(host, other.getsockname()[1])
        with pytest.raises(CannotListen) as refused:
            opened.listeners.open((taken,))
    assert opened.addresses == []
    assert str(refused.value) == (
        f"cannot listen on {taken} for relays: address already in use; end what has it, such as "
        "another relay (ss -ltnp names it), or set listen or $RELAY_LISTEN to another address"
    )


async def test_address_that_cannot_be_had_is_an_error(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the reason, it is said with the address and the setting."""

    def forbid(_: ListenAddress) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(listener, "listen", forbid)
    with pytest.raises(CannotListen) as refused:
        opened.listeners.open((ListenAddress("127.0.0.1", 80),))
    assert str(refused.value) == (
        "cannot listen on 127.0.0.1:80 for relays: permission denied; "
        "set listen or $RELAY_LISTEN to another address"
    )


def test_taken_port_leaves_no_socket_open() -> None:
    """Warnings are errors here: a socket that was forgotten would be one."""
    with listen(ListenAddress("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
        listen(ListenAddress("127.0.0.1", other.getsockname()[1]))


def test_port_of_a_relay_that_just_stopped_can_be_bound() -> None:
    """Connections that linger in TIME_WAIT do not keep the next one out."""
    with listen(ListenAddress("127.0.0.1", 0)) as handle:
        assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        assert not handle.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)


async def test_closed_listeners_accept_nobody(opened: Opened) -> None:
    """The port is free again at once."""
    opened.listeners.open((ListenAddress("127.0.0.1", 0),))
    ((host, port),) = opened.addresses
    opened.listeners.close()
    with pytest.raises(ConnectionRefusedError):
        await greeting_at(host, port)


# Interfaces


def test_addresses_of_an_interface_are_found() -> None:
    """Of both families."""
    found = interface_addresses("lo")
    assert found[0] == "127.0.0.1"
    assert "::1" in found


@pytest.mark.parametrize("name", ["nowhere0", "an-interface-with-a-long-name", "lo/x", ""])
def test_interface_that_is_not_there_has_no_address(name: str) -> None:
    """Nor is that an error: it may come."""
    assert interface_addresses(name) == []


def test_link_local_addresses_are_left_out(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would need a zone in every URL."""
    table = tmp_path_factory.mktemp("proc") / "if_inet6"
    table.write_text(
        "fe8000000000000000fc00fffe000001 04 40 20 80   bridge9\n"
        "20010db8000000000000000000000002 04 40 00 82   bridge9\n"
        "20010db8000000000000000000000003 05 40 00 82   bridge99\n"
    )
    monkeypatch.setattr(listener, "_IF_INET6", table)
    assert interface_addresses("bridge9") == ["2001:db8::2"]


def test_host_without_ipv6_has_no_table(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may be built or booted without it."""
    missing = tmp_path_factory.mktemp("proc") / "if_inet6"
    monkeypatch.setattr(listener, "_IF_INET6", missing)
    assert interface_addresses("lo") == ["127.0.0.1"]


async def test_interface_is_served_on_each_of_its_addresses(opened: Opened) -> None:
    """As if they had been named."""
    opened.listeners.open((ListenAddress("lo", 0),))
    assert [host for host, _ in opened.addresses] == interface_addresses("lo")
    for host, port in opened.addresses:
        assert await greeting_at(host, port) == GREETING


class Interface:
    """An interface whose addresses the test decides on."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked = asyncio.Event()

    def addresses(self, name: str) -> list[str]:
        """Return the next answer; the last one for ever."""
        assert name == "later0"
        if len(self._answers) == 1:
            self.asked.set()
            return self._answers[0]
        return self._answers.pop(0)

    def put(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put it in the place of the host's, and let nobody wait long."""
        monkeypatch.setattr(listener, "interface_addresses", self.addresses)
        monkeypatch.setattr(listener, "RETRY_SECONDS", 0.001)


async def test_interface_is_served_again_once_closed(opened: Opened) -> None:
    """Where another address could not be had, all are closed, and a reload opens them anew."""
    for _ in range(2):
        opened.listeners.open((ListenAddress("lo", 0),))
        assert await greeting_at(*opened.addresses[0]) == GREETING
        opened.listeners.close()


async def test_interface_that_appears_later_is_served_then(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order in which things start does not matter."""
    Interface([], [], [], ["127.0.0.1"]).put(monkeypatch)
    opened.listeners.open((ListenAddress("later0", 0), ListenAddress("127.0.0.1", 0)))
    assert len(opened.addresses) == 1
    assert opened.messages(logging.WARNING) == ["later0 has no address yet; waiting for it"]
    async with asyncio.timeout(FUSE_SECONDS):
        await asyncio.gather(*opened.listeners._waiting)
    assert len(opened.addresses) == 2
    host, port = opened.addresses[-1]
    assert await greeting_at(host, port) == GREETING


async def test_interface_is_looked_for_again_where_no_descriptor_is_left(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What serves then would never listen there."""

    def exhausted(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(listener, "RETRY_SECONDS", 0.001)
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", exhausted)
        patched.setattr(Path, "read_text", exhausted)
        opened.listeners.open((ListenAddress("lo", 0),))
        assert opened.addresses == []
    async with asyncio.timeout(FUSE_SECONDS):
        await asyncio.gather(*opened.listeners._waiting)
    assert [host for host, _ in opened.addresses] == interface_addresses("lo")


async def test_interface_whose_port_is_taken_is_tried_again(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What holds the port may go away."""
    with listen(ListenAddress("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        interface = Interface([], ["127.0.0.1"], ["127.0.0.1"], ["127.0.0.1"])
        interface.put(monkeypatch)
        opened.listeners.open((ListenAddress("later0", port),))
        async with asyncio.timeout(FUSE_SECONDS):
            await interface.asked.wait()
        assert opened.addresses == []
    async with asyncio.timeout(FUSE_SECONDS):
        await asyncio.gather(*opened.listeners._waiting)
    assert opened.addresses == [("127.0.0.1", port)]
    said = [text for text in opened.messages(logging.WARNING) if "trying again" in text]
    assert len(said) == 1  # although it was tried three times
    assert said[0].startswith(
        f"later0:{port}: cannot listen on 127.0.0.1:{port} for relays: address already in use; "
    )


async def test_interface_with_one_port_taken_serves_the_other_address_once(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is listened on already is not bound again when the rest is tried again."""
    with listen(ListenAddress("::1", 0)) as other:
        port = other.getsockname()[1]
        interface = Interface([], ["127.0.0.1", "::1"], ["127.0.0.1", "::1"])
        interface.put(monkeypatch)
        opened.listeners.open((ListenAddress("later0", port),))
        async with asyncio.timeout(FUSE_SECONDS):
            await interface.asked.wait()
        assert opened.addresses == [("127.0.0.1", port)]
    async with asyncio.timeout(FUSE_SECONDS):
        await asyncio.gather(*opened.listeners._waiting)
    assert opened.addresses == [("127.0.0.1", port), ("::1", port)]


async def test_closed_listeners_wait_for_no_interface(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopping relay opens nothing new."""
    interface = Interface([])
    interface.put(monkeypatch)
    opened.listeners.open((ListenAddress("later0", 0),))
    opened.listeners.close()
    (waiting,) = opened.listeners._waiting
    await asyncio.wait([waiting], timeout=FUSE_SECONDS)
    assert waiting.cancelled()
    assert opened.addresses == []
