"""Connections to the upstream: kept while they are good, made anew, and never used twice over."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from relay.upstream import pool
from relay.upstream.client_connection import Connection
from tests.harness import FUSE_SECONDS
from tests.harness.configuration import configuration
from tests.harness.messages import CHUNKED, OK, OK_BODY, chunk, request
from tests.harness.peer import Agent, Caller
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.upstream import Upstream


async def serve_one(agent: Agent, upstream: Upstream, answer: bytes = OK) -> Caller:
    """Have one call answered on a new connection, and return that."""
    await agent.send(request())
    caller, _ = await upstream.called()
    await caller.send(answer)
    assert (await agent.answer()).status == 200
    return caller


# Kept connections


async def test_a_kept_connection_is_used_again(agent: Agent, upstream: Upstream) -> None:
    """One connection carries one call after another, of whatever framing."""
    caller = await serve_one(agent, upstream)
    for answer in (CHUNKED + chunk(b"ok") + chunk(b""), b"HTTP/1.1 204 No\r\n\r\n", OK):
        await agent.send(request())
        assert (await caller.request()).complete
        await caller.send(answer)
        assert (await agent.answer()).complete
    assert upstream.callers == [caller]


async def test_agents_share_the_kept_connections(relay: LocalRelay, upstream: Upstream) -> None:
    """A connection belongs to its upstream, not to an agent."""
    upstream.answer_with(OK)
    for _ in range(3):
        await relay.ask(request())
    assert len(upstream.callers) == 1


async def test_calls_at_once_have_a_connection_each(relay: LocalRelay, upstream: Upstream) -> None:
    """Nothing waits for another call to end."""
    calls = []
    for _ in range(3):
        agent = await relay.agent()
        await agent.send(request())
        calls.append((agent, (await upstream.called())[0]))
    for agent, caller in reversed(calls):
        await caller.send(OK)
        assert (await agent.answer()).body == OK_BODY
    assert len({id(caller) for _, caller in calls}) == 3


@pytest.mark.parametrize("how", ["leave", "half_close", "reset"])
async def test_an_upstream_that_closes_an_idle_connection_costs_no_call(
    agent: Agent, upstream: Upstream, relay: LocalRelay, how: str
) -> None:
    """A connection that was closed is not used, whatever the method: calls go on."""
    for _ in range(5):
        caller = await serve_one(agent, upstream)
        getattr(caller, how)()
    assert len(upstream.callers) == 5
    assert await relay.outcomes(5) == {("ok", "200"): 5}


async def test_a_connection_that_closed_this_instant_is_not_used(
    agent: Agent, upstream: Upstream
) -> None:
    """The kernel knows of an end before the event loop does."""
    caller = await serve_one(agent, upstream)
    # Both are on their way before the relay's next turn: the end first.
    handle = caller.transport.get_extra_info("socket")
    closing = socket.socket(fileno=handle.fileno())
    try:
        closing.shutdown(socket.SHUT_RDWR)
    finally:
        closing.detach()
    agent.transport.write(request())
    second, got = await upstream.called()
    assert second is not caller
    assert got.complete
    await second.send(OK)
    assert (await agent.answer()).body == OK_BODY


async def test_a_connection_with_something_unasked_on_it_is_not_used(
    agent: Agent, upstream: Upstream
) -> None:
    """What an idle upstream says belongs to no call."""
    caller = await serve_one(agent, upstream)
    await caller.send(OK.replace(b'"ok"', b'"no"'))
    assert await caller.gone()
    await serve_one(agent, upstream)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\ncontent-length: 2\r\n\r\nok",
    ],
)
async def test_a_connection_that_is_to_close_is_closed(
    agent: Agent, upstream: Upstream, answer: bytes
) -> None:
    """An upstream that says close is not kept waiting."""
    caller = await serve_one(agent, upstream, answer)
    assert await caller.gone()
    await serve_one(agent, upstream)


async def test_an_idle_connection_expires(
    relay: LocalRelay, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay closes first: before Headroom does, after 5 s."""
    assert pool.KEEP_IDLE_SECONDS < 5
    monkeypatch.setattr(pool, "KEEP_IDLE_SECONDS", 0.1)
    agent = await relay.agent()
    caller = await serve_one(agent, upstream)
    assert await caller.gone()
    await serve_one(agent, upstream)


async def test_a_used_connection_does_not_expire(
    relay: LocalRelay, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of an idle connection stops when a call takes it."""
    monkeypatch.setattr(pool, "KEEP_IDLE_SECONDS", 0.3)
    agent = await relay.agent()
    caller = await serve_one(agent, upstream)
    await agent.send(request())
    await caller.request()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await caller.gone()
    await caller.send(OK)
    assert (await agent.answer()).body == OK_BODY


# How many there are


async def counts(relay: LocalRelay) -> dict[tuple[str, ...], float]:
    """Return ``relay_upstream_connections`` by state, without zeros."""
    return await relay.samples("relay_upstream_connections", "state")


async def test_connections_are_counted_by_state(relay: LocalRelay, upstream: Upstream) -> None:
    """Active while they carry a call, idle while they are kept."""
    assert await counts(relay) == {}
    calls = []
    for number in range(3):
        agent = await relay.agent()
        await agent.send(request())
        calls.append((agent, (await upstream.called())[0]))
        assert await counts(relay) == {("active",): number + 1}
    for number, (agent, caller) in enumerate(calls, 1):
        await caller.send(OK)
        assert (await agent.answer()).complete
        await relay.log.calls(number)
        expected = {("idle",): number, ("active",): 3 - number}
        assert await counts(relay) == {key: value for key, value in expected.items() if value}
    agent, caller = calls[-1]
    await agent.send(request())
    await caller.request()
    assert await counts(relay) == {("idle",): 2, ("active",): 1}


@pytest.mark.parametrize("how", ["leave", "reset"])
async def test_an_idle_connection_that_is_lost_is_forgotten(
    agent: Agent, upstream: Upstream, relay: LocalRelay, how: str
) -> None:
    """At once, not only when it would have been used or expired."""
    caller = await serve_one(agent, upstream)
    await relay.log.calls()
    assert await counts(relay) == {("idle",): 1}
    kept = relay.app.lifecycle.runtime.routes["anthropic"].forwarder._pool
    (connection,) = kept._idle
    getattr(caller, how)()
    await lost(connection)
    assert await counts(relay) == {}
    assert (kept._idle, kept._open_connections) == ([], set())


async def lost(connection: Connection) -> None:
    """Wait until the relay has noticed that a connection is gone."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(5):
        while connection.transport is not None:
            turn = loop.create_future()
            loop.call_later(0.005, turn.set_result, None)
            await turn


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        CHUNKED + b"nonsense\r\n",
        b"",
    ],
)
async def test_a_connection_that_ends_with_its_call_is_not_counted(
    agent: Agent, upstream: Upstream, relay: LocalRelay, answer: bytes
) -> None:
    """Whether it was to close, was spoilt, or fell silent."""
    await agent.send(request())
    caller, _ = await upstream.called()
    await caller.send(answer)
    if not answer:
        agent.leave()
    await relay.log.calls()
    await caller.gone()
    assert await counts(relay) == {}


async def test_an_expired_connection_is_not_counted(
    relay: LocalRelay, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither idle nor active."""
    monkeypatch.setattr(pool, "KEEP_IDLE_SECONDS", 0.05)
    agent = await relay.agent()
    caller = await serve_one(agent, upstream)
    assert await caller.gone()
    assert await counts(relay) == {}


async def test_a_connection_that_was_not_made_is_not_counted(
    agent: Agent, relay: LocalRelay, upstream: Upstream
) -> None:
    """There is none."""
    await upstream.stop_listening()
    assert (await agent.ask(request())).status == 502
    assert await counts(relay) == {}


async def test_a_closed_pool_keeps_none(relay: LocalRelay, upstream: Upstream) -> None:
    """Idle connections go at once, the others with their call."""
    idle, busy = await relay.agent(), await relay.agent()
    await busy.send(request())
    caller, _ = await upstream.called()
    await serve_one(idle, upstream)
    await relay.log.calls()
    kept = relay.app.lifecycle.runtime.routes["anthropic"].forwarder._pool
    assert (kept.idle, kept.active) == (1, 1)
    kept.close()
    assert (kept.idle, kept.active) == (0, 1)
    await caller.send(OK)
    assert (await busy.answer()).complete
    await caller.gone()
    assert (kept.idle, kept.active) == (0, 0)


def pool_of(relay: LocalRelay) -> pool.Pool:
    """Return the connections of the relay ``anthropic``."""
    return relay.app.lifecycle.runtime.routes["anthropic"].forwarder._pool


@pytest.mark.parametrize("how", ["leave", "reset"])
async def test_a_lost_idle_connection_is_forgotten_at_once(
    agent: Agent, upstream: Upstream, relay: LocalRelay, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Nothing of it is kept until it would have expired."""
    lost = asyncio.Event()
    connection_lost = Connection.connection_lost

    def lose(connection: Connection, error: Exception | None) -> None:
        connection_lost(connection, error)
        lost.set()

    monkeypatch.setattr(Connection, "connection_lost", lose)
    caller = await serve_one(agent, upstream)
    kept = pool_of(relay)
    assert len(kept._idle) == 1
    getattr(caller, how)()
    async with asyncio.timeout(FUSE_SECONDS):
        await lost.wait()
    assert kept._idle == []
    await serve_one(agent, upstream)


async def test_a_closed_pool_leaves_no_timer_behind(relay: LocalRelay, upstream: Upstream) -> None:
    """Its idle connections go with it; those in use when their call ends."""
    agents = [await relay.agent() for _ in range(3)]
    calls = []
    for agent in agents:
        await agent.send(request())
        calls.append((await upstream.called())[0])
    for agent, caller in zip(agents[:2], calls[:2], strict=True):
        await caller.send(OK)
        assert (await agent.answer()).status == 200
    kept = pool_of(relay)
    timer = kept._sweep
    assert timer is not None
    kept.close()
    assert timer.cancelled()
    for caller in calls[:2]:
        await caller.gone()
    await calls[2].send(OK)
    assert (await agents[2].answer()).status == 200
    await calls[2].gone()
    assert (kept._idle, kept._sweep) == ([], None)


# Connecting


class Openings:
    """Has the first connections fail, and counts them all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failures: int, error: OSError) -> None:
        self.count = 0
        self.failed = asyncio.Event()
        original = pool.Pool._open

        async def open_one(of: pool.Pool) -> Connection:
            self.count += 1
            if self.count <= failures:
                self.failed.set()
                raise error
            return await original(of)

        monkeypatch.setattr(pool.Pool, "_open", open_one)


@pytest.mark.parametrize("error", [ConnectionRefusedError(), OSError(113, "No route to host")])
async def test_a_failed_connect_is_tried_once_more(
    agent: Agent, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """An upstream that restarts is missed for an instant only."""
    upstream.answer_with(OK)
    monkeypatch.setattr(pool, "RETRY_AFTER_SECONDS", 0.01)
    openings = Openings(monkeypatch, 1, error)
    assert (await agent.ask(request())).status == 200
    assert openings.count == 2


@pytest.mark.parametrize(
    ("error", "count"),
    [
        (ConnectionRefusedError(), 2),
        (socket.gaierror(-2, "unknown"), 1),
        (ssl.SSLCertVerificationError("expired"), 1),
    ],
)
async def test_a_connect_is_not_tried_for_ever(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, error: OSError, count: int
) -> None:
    """Twice at most; and a wrong name or certificate would stay wrong."""
    monkeypatch.setattr(pool, "RETRY_AFTER_SECONDS", 0.01)
    openings = Openings(monkeypatch, 9, error)
    answer = await agent.ask(request())
    assert (answer.status, answer.outcome) == (502, "connect_error")
    assert openings.count == count


async def test_an_upstream_that_restarts_costs_no_call(
    agent: Agent, relay: LocalRelay, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused now, there again a moment later: the call waits that moment."""
    monkeypatch.setattr(pool, "RETRY_AFTER_SECONDS", 0.3)
    port = upstream.port
    caller = await serve_one(agent, upstream)
    await upstream.stop_listening()
    caller.leave()
    openings = Openings(monkeypatch, 1, ConnectionRefusedError())
    await agent.send(request())
    await openings.failed.wait()
    again = Upstream()
    again.answer_with(OK)
    await again.start(port=port)
    try:
        assert (await agent.answer()).status == 200
    finally:
        await again.stop()


@pytest.mark.parametrize("host", ["localhost", "[::1]"])
async def test_names_and_ipv6_addresses_are_connected_to(tmp_path: Path, host: str) -> None:
    """The Host is the one of the address, brackets and port included."""
    upstream = Upstream()
    upstream.answer_with(OK)
    await upstream.start(host="::1" if host == "[::1]" else "127.0.0.1")
    try:
        claude = {"base_url": f"http://{host}:{upstream.port}"}
        config = configuration(upstream.port, claude=claude)
        async with running_relay(tmp_path, config) as relay:
            assert (await relay.ask(request())).status == 200
        assert upstream.requests[0].values("host") == [f"{host}:{upstream.port}".encode()]
    finally:
        await upstream.stop()
