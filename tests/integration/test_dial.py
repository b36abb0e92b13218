"""New connections: to the first of a name's addresses that answers, whatever the others do."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay.config import parse_upstream
from relay.upstream import dial
from relay.upstream import health as health_module
from relay.upstream.dial import AddressInfo, Dialer, connect_any
from relay.upstream.pool import Pool
from tests.harness import FUSE_SECONDS
from tests.harness.configuration import configuration
from tests.harness.messages import OK, request
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.silence import accepting_nobody
from tests.harness.upstream import Upstream
from tests.integration.diagnosis import answer, api, diagnosed, openly

NAME = "headroom.internal"
GOOD, SILENT = "127.0.0.1", "127.0.0.2"
"""Where the upstream listens, and where nothing that is sent is answered."""
REFUSING, REFUSING_TOO = "127.0.0.3", "127.0.0.4"
SOON_SECONDS = 3.0
"""Long enough for a busy machine; far below what a call waits for a connection."""


@pytest.fixture
def port(upstream: Upstream) -> Iterator[int]:
    """The upstream's port, at which another address drops what comes: its queue is full."""
    with accepting_nobody(SILENT, upstream.port) as port:
        yield port


def rows(port: int, *hosts: str) -> list[AddressInfo]:
    """Return these addresses as they are looked up."""
    return [
        row for host in hosts for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a name stand for these addresses from now on."""
    look_up = socket.getaddrinfo

    def resolve(*hosts: str) -> None:
        def answers(name: str, port: int, *kinds: int, **options: int) -> list[AddressInfo]:
            if name != NAME:
                return list(look_up(name, port, *kinds, **options))
            if options["flags"]:
                raise socket.gaierror(socket.EAI_NONAME, "no number")
            return [row for host in hosts for row in look_up(host, port, **options)]

        monkeypatch.setattr(socket, "getaddrinfo", answers)

    return resolve


class Made:
    """Every socket that was made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.handles: list[socket.socket] = []
        self._make = dial._make
        monkeypatch.setattr(dial, "_make", self._note)

    def _note(self, row: AddressInfo) -> socket.socket:
        self.handles.append(self._make(row))
        return self.handles[-1]

    @property
    def open(self) -> list[socket.socket]:
        """Those that are not closed."""
        return [handle for handle in self.handles if handle.fileno() >= 0]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """What was made of sockets, and is still open."""
    return Made(monkeypatch)


async def turn() -> None:
    """Let the event loop do what is to be done."""
    await asyncio.sleep(0)


async def settled() -> None:
    """Let what was given up come to its end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    attempts = [task for task in others if "_connect" in repr(task.get_coro())]
    async with asyncio.timeout(FUSE_SECONDS):
        await asyncio.gather(*attempts, return_exceptions=True)
    await turn()


# One address after another


async def test_a_silent_address_costs_a_quarter_of_a_second(port: int, made: Made) -> None:
    """The next is tried meanwhile, and the silent one given up once that answers."""
    begun = time.perf_counter()
    async with asyncio.timeout(FUSE_SECONDS):
        handle = await connect_any(rows(port, SILENT, GOOD))
    assert dial.NEXT_ADDRESS_SECONDS <= time.perf_counter() - begun < SOON_SECONDS
    assert handle.getpeername() == (GOOD, port)
    await settled()
    assert made.open == [handle]
    handle.close()


async def test_a_refusing_address_costs_nothing(
    port: int, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for the quarter of a second then."""
    monkeypatch.setattr(dial, "NEXT_ADDRESS_SECONDS", 1000.0)
    async with asyncio.timeout(FUSE_SECONDS):
        handle = await connect_any(rows(port, REFUSING, REFUSING_TOO, GOOD))
    assert handle.getpeername() == (GOOD, port)
    assert made.open == [handle]
    handle.close()


async def test_of_two_that_answer_at_once_one_is_closed(
    port: int, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left behind of the race."""
    monkeypatch.setattr(dial, "NEXT_ADDRESS_SECONDS", 0.01)
    both = asyncio.Barrier(2)
    connect = dial._connect

    async def connect_together(row: AddressInfo) -> socket.socket:
        handle = await connect(row)
        await both.wait()
        return handle

    monkeypatch.setattr(dial, "_connect", connect_together)
    async with asyncio.timeout(FUSE_SECONDS):
        handle = await connect_any(rows(port, GOOD, GOOD))
    await settled()
    assert made.open == [handle]
    assert len(made.handles) == 2
    handle.close()


async def test_whoever_gives_up_leaves_nothing_behind(port: int, made: Made) -> None:
    """Neither of the addresses that were tried."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2 * dial.NEXT_ADDRESS_SECONDS):
            await connect_any(rows(port, SILENT, SILENT))
    await settled()
    assert len(made.handles) == 2
    assert made.open == []


async def test_where_all_fail_a_refusal_tells_most(
    port: int, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address without a route says nothing of the port; else the last one's reason stands."""
    connect = dial._connect

    async def no_route(row: AddressInfo) -> socket.socket:
        if row[4][0] == GOOD:
            raise OSError(101, "Network is unreachable")
        return await connect(row)

    monkeypatch.setattr(dial, "_connect", no_route)
    for hosts in ([GOOD, REFUSING], [REFUSING, GOOD], [REFUSING]):
        with pytest.raises(ConnectionRefusedError):
            await connect_any(rows(port, *hosts))
    with pytest.raises(OSError, match="Network is unreachable"):
        await connect_any(rows(port, GOOD))
    assert made.open == []


async def test_families_take_turns(names: Callable[..., None]) -> None:
    """A host without a way for IPv6 tries no more than one of its addresses first (RFC 8305 §4)."""
    names("2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2")
    found = [row[4][0] for row in await Dialer(NAME, 80).resolve()]
    assert found == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"]


async def test_a_connection_is_kept_alive(port: int) -> None:
    """Probes after a minute, each minute, and five of them: whoever vanished is noticed."""
    handle = await Dialer(GOOD, port).connect()
    options = [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        *((socket.IPPROTO_TCP, getattr(socket, f"TCP_KEEP{name}")) for name in ("IDLE", "INTVL")),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    ]
    assert [handle.getsockopt(*option) for option in options] == [1, 60, 60, 5]
    handle.close()


# Names


class Resolver:
    """A name server that says nothing until it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.answers = threading.Event()
        self._look_up = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, name: str, port: int, *kinds: int, **options: int) -> list[AddressInfo]:
        """Look a name up; numbers need no server."""
        if name != NAME:
            return list(self._look_up(name, port, *kinds, **options))
        if options["flags"]:
            raise socket.gaierror(socket.EAI_NONAME, "no number")
        self.asked += 1
        assert self.answers.wait(FUSE_SECONDS)
        return list(self._look_up(GOOD, port, **options))


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    """The silent name server."""
    resolver = Resolver(monkeypatch)
    yield resolver
    resolver.answers.set()


async def test_a_silent_name_server_holds_up_nobody_else(
    port: int, resolver: Resolver, upstream: Upstream, tmp_path: Path
) -> None:
    """A hundred calls wait for one answer of its; calls to others, and all else, go on."""
    upstream.answer_with(OK)
    relays = {
        "lost": {"url": f"http://{NAME}:{port}", "grant": "anthropic"},
        "found": {"url": f"http://localhost:{port}", "grant": "anthropic"},
    }
    config = configuration(port, claude=None, relays=relays)
    async with running_relay(tmp_path, config) as relay:
        waiting = [
            asyncio.create_task(relay.ask(request("/relay/lost/v1/messages"))) for _ in range(100)
        ]
        while await relay.in_flight() < len(waiting):
            await turn()
        for _ in range(3):
            found = await relay.ask(request("/relay/found/v1/messages"))
            assert found.status == 200
        async with asyncio.timeout(FUSE_SECONDS):
            await asyncio.get_running_loop().run_in_executor(None, time.perf_counter)
        assert resolver.asked <= 2  # for the calls, and for readiness
        resolver.answers.set()
        assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}


async def test_a_name_is_looked_up_anew_for_each_connection(resolver: Resolver, port: int) -> None:
    """Addresses change; what is shared is only a lookup that is under way."""
    resolver.answers.set()
    dialer = Dialer(NAME, port)
    for count in (1, 2):
        (await dialer.connect()).close()
        assert resolver.asked == count
    for _ in range(2):
        (await Dialer(GOOD, port).connect()).close()
    assert resolver.asked == 2


async def test_a_lookup_that_nobody_waits_for_any_more_ends_quietly(
    resolver: Resolver, port: int
) -> None:
    """And the next one who asks meanwhile gets its answer."""
    dialer = Dialer(NAME, port)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await dialer.connect()
    again = asyncio.create_task(dialer.connect())
    await asyncio.sleep(0)
    resolver.answers.set()
    (await again).close()
    assert resolver.asked == 1


async def test_a_name_without_an_address_says_so(names: Callable[..., None]) -> None:
    """As before, with the error that whoever explains it knows."""
    with pytest.raises(socket.gaierror):
        await Dialer("nowhere.invalid", 80).connect()
    with pytest.raises(UnicodeError):
        await Dialer("a" * 70 + ".test", 80).connect()


async def test_no_thread_left_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's limit of processes counts threads."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(OSError, match="no more threads"):
        await Dialer("localhost", 80).connect()


# The relay


async def up(relay: LocalRelay) -> None:
    """Wait until the upstream is known to be there."""
    async with asyncio.timeout(FUSE_SECONDS):
        while not await relay.samples("relay_upstream_up", "relay"):
            await turn()


async def test_a_name_whose_first_address_is_silent_is_called_and_ready(
    port: int,
    upstream: Upstream,
    names: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each used to wait for as long as a connection may take, and get a 504."""
    monkeypatch.setattr(health_module, "PROBE_SECONDS", 1.0)
    names(SILENT, GOOD)
    upstream.answer_with(OK)
    config = configuration(port, claude={"base_url": f"http://{NAME}:{port}"})
    async with running_relay(tmp_path, config) as relay:
        await up(relay)
        begun = time.perf_counter()
        assert (await relay.ask(request())).status == 200
        assert time.perf_counter() - begun < SOON_SECONDS


async def test_the_doctor_says_which_address_is_silent(
    port: int, upstream: Upstream, names: Callable[..., None], tmp_path: Path
) -> None:
    """It costs every new connection its quarter of a second."""
    names(SILENT, GOOD)
    upstream.answer_with(api(models=answer()))
    claude = {"base_url": f"http://{NAME}:{port}"}
    found = (await diagnosed(tmp_path, openly(port, claude=claude))).the("connect")
    assert found.level == "ok"
    assert found.text.startswith(f"{GOOD}:{port} in ")
    assert float(found.text.split()[2]) < SOON_SECONDS * 1000
    assert found.text.endswith(f" ms, for {SILENT}:{port} does not answer")


async def test_a_pool_takes_what_was_dialled(port: int, upstream: Upstream) -> None:
    """The connection is the socket's, options and all, without Nagle's delay."""
    address = parse_upstream(f"http://{GOOD}:{port}")
    made = await Pool(address, None, FUSE_SECONDS).connect()
    assert made.transport is not None
    handle = made.transport.get_extra_info("socket")
    assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    made.abort()
