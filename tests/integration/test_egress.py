"""Calls through a proxy on the way out: what goes through, and what the proxy gets to see of it."""

from __future__ import annotations

import asyncio
import random
import re
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from relay.upstream import health
from tests.harness.chain import HOP, returned
from tests.harness.configuration import configuration
from tests.harness.egress import API, AUTHORITY, Issued, issue, running_way
from tests.harness.expectations import check_error, eventually
from tests.harness.messages import CHUNKED, MESSAGES, OK, OK_BODY, PIECE, chunk, request
from tests.harness.proxy import OPENED, running_proxy
from tests.harness.relay import LocalRelay, running_relay, update_configuration
from tests.harness.secrets import KEY, PROXY_CREDENTIAL, SECRETS
from tests.harness.upstream import running_upstream

pytestmark = pytest.mark.both_loops

ASKED = [f"CONNECT {AUTHORITY} HTTP/1.1".encode(), f"Host: {AUTHORITY}".encode()]
RETURNS = {"returns": ["127.0.0.1:0"]}
SIZE = 3_000_000


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    """Certificates, made once."""
    return issue(tmp_path_factory.mktemp("tls"))


# What goes through


@pytest.mark.parametrize("tls", [False, True])
async def test_a_call_goes_through(tmp_path: Path, issued: Issued, tls: bool) -> None:
    """The proxy is asked for host and port by CONNECT; the API gets the call and the credential."""
    async with running_way(tmp_path, issued, tls=tls) as running:
        running.upstream.answer_with(OK)
        answer = await running.relay.ask(request())
        assert (answer.status, answer.body) == (200, OK_BODY)
        (got,) = running.upstream.requests
        assert got.values("x-api-key") == [KEY.encode()]
        assert got.values("host") == [API.encode()]
        (passage,) = running.proxy.passages
        assert passage.lines == ASKED


@pytest.mark.parametrize("tls", [False, True])
async def test_the_proxy_sees_nothing_in_clear(tmp_path: Path, issued: Issued, tls: bool) -> None:
    """Neither credential nor token, neither path nor body: TLS from its first byte."""
    async with running_way(tmp_path, issued, tls=tls, credential={"file": "proxy"}) as running:
        running.upstream.answer_with(OK)
        answer = await running.relay.ask(request(body=b"the prompt" * 20))
        assert answer.status == 200
        (passage,) = running.proxy.passages
        for seen in (passage.up, passage.down):
            assert seen[0] == 0x16
            for word in (*SECRETS, "x-api-key", MESSAGES, "/v1/messages", "the prompt", "usage"):
                assert word.encode() not in seen
        assert KEY.encode() not in passage.head


async def test_its_own_credential_goes_to_the_proxy_alone(tmp_path: Path, issued: Issued) -> None:
    """By Basic, and never to the API."""
    async with running_way(tmp_path, issued, credential={"file": "proxy"}) as running:
        running.upstream.answer_with(OK)
        assert (await running.relay.ask(request())).status == 200
        line = f"Proxy-Authorization: Basic {SECRETS[-1]}".encode()
        assert running.proxy.passages[0].lines == [*ASKED, line]
        (got,) = running.upstream.requests
        assert got.values("proxy-authorization") == []
        assert PROXY_CREDENTIAL not in repr(got)


async def test_an_agents_own_is_not_passed_on(tmp_path: Path, issued: Issued) -> None:
    """What steers a proxy is the configuration alone."""
    async with running_way(tmp_path, issued) as running:
        running.upstream.answer_with(OK)
        lines = ("Proxy-Authorization: Basic YTpi", "Proxy-Connection: close")
        assert (await running.relay.ask(request(MESSAGES, *lines))).status == 200
        assert running.proxy.passages[0].lines == ASKED
        (got,) = running.upstream.requests
        assert got.values("proxy-authorization") == got.values("proxy-connection") == []


@pytest.mark.parametrize("tls", [False, True])
async def test_a_way_is_kept(tmp_path: Path, issued: Issued, tls: bool) -> None:
    """One carries one call after another, of whatever agent, and is counted as others are."""
    async with running_way(tmp_path, issued, tls=tls) as running:
        running.upstream.answer_with(OK)
        for _ in range(3):
            assert (await running.relay.ask(request())).status == 200
        assert (len(running.proxy.passages), len(running.upstream.callers)) == (1, 1)
        await running.relay.log.calls(3)
        counted = await running.relay.samples("relay_upstream_connections", "state")
        assert counted == {("idle",): 1}


@pytest.mark.parametrize("tls", [False, True])
async def test_a_way_that_was_cut_while_idle_costs_no_call(
    tmp_path: Path, issued: Issued, tls: bool
) -> None:
    """The next call has another."""
    async with running_way(tmp_path, issued, tls=tls) as running:
        running.upstream.answer_with(OK)
        for count in (1, 2, 3):
            assert (await running.relay.ask(request())).status == 200
            assert len(running.proxy.passages) == count
            running.proxy.passages[-1].cut()
            await running.proxy.passages[-1].ended()


@pytest.mark.parametrize("tls", [False, True])
async def test_not_one_byte_is_changed(tmp_path: Path, issued: Issued, tls: bool) -> None:
    """Of bodies of megabytes, both ways."""
    body = random.Random(7).randbytes(SIZE)  # bytes like any others
    async with running_way(tmp_path, issued, tls=tls) as running:
        agent = await running.relay.agent()
        await agent.send(request(body=body))
        caller, got = await running.upstream.called()
        assert got.body == body
        await caller.send(CHUNKED)
        for start in range(0, SIZE, 70_001):
            await caller.send(chunk(body[start : start + 70_001]))
        await caller.send(chunk(b""))
        answer = await agent.answer()
        assert answer.complete
        assert answer.body == body


@pytest.mark.parametrize("tls", [False, True])
async def test_an_answer_streams(tmp_path: Path, issued: Issued, tls: bool) -> None:
    """Each piece arrives before the next is written."""
    async with running_way(tmp_path, issued, tls=tls) as running:
        agent = await running.relay.agent()
        await agent.send(request())
        caller, _ = await running.upstream.called()
        await caller.send(CHUNKED)
        answer = await agent.head()
        for _ in range(5):
            await caller.send(chunk(PIECE))
            assert await agent.piece(answer) == PIECE
        await caller.send(chunk(b""))
        await agent.finish(answer)
        assert answer.complete


@pytest.mark.parametrize("tls", [False, True])
async def test_an_agent_that_does_not_read_holds_the_upstream_back(
    tmp_path: Path, issued: Issued, tls: bool
) -> None:
    """Through the proxy as well."""
    async with running_way(tmp_path, issued, tls=tls) as running:
        agent = await running.relay.agent(receive_buffer=4096)
        await agent.send(request())
        caller, _ = await running.upstream.called()
        agent.transport.pause_reading()
        await caller.send(CHUNKED)
        pushed = await caller.push(chunk(bytes(65_536)), 200_000_000)
        assert pushed < 100_000_000


@pytest.mark.parametrize("tls", [False, True])
async def test_an_agent_that_leaves_ends_the_way(tmp_path: Path, issued: Issued, tls: bool) -> None:
    """At once, up to the API."""
    async with running_way(tmp_path, issued, tls=tls) as running:
        agent = await running.relay.agent()
        await agent.send(request())
        caller, _ = await running.upstream.called()
        agent.leave()
        await running.proxy.passages[0].ended()
        assert await caller.gone()


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("sent", "outcome"),
    [(b"", ("upstream_error", "none")), (CHUNKED + chunk(PIECE), ("truncated", "200"))],
)
async def test_a_way_that_is_cut_in_a_call(
    tmp_path: Path, issued: Issued, tls: bool, sent: bytes, outcome: tuple[str, str]
) -> None:
    """Breaks off for the agent, too; what arrived is delivered, and nothing is sent twice."""
    async with running_way(tmp_path, issued, tls=tls) as running:
        agent = await running.relay.agent()
        await agent.send(request())
        caller, _ = await running.upstream.called()
        await caller.send(sent)
        if not sent:
            running.proxy.passages[0].cut()
            assert (await agent.answer()).status == 502
        else:
            answer = await agent.head()
            assert await agent.piece(answer) == PIECE
            running.proxy.passages[0].cut()
            await agent.finish(answer)
            assert not answer.complete
        assert await running.relay.outcomes() == {outcome: 1}
        assert len(running.proxy.passages) == 1


@pytest.mark.parametrize("tls", [False, True])
async def test_a_certificate_within_that_is_not_accepted(
    tmp_path: Path, issued: Issued, tls: bool
) -> None:
    """Said at once: no event loop waits for TLS within TLS that has failed."""
    ca_file = str(issued.company.file)
    async with running_way(tmp_path, issued, tls=tls, relay={"ca_file": ca_file}) as running:
        answer = await running.relay.ask(request())
        assert (answer.status, answer.outcome) == (502, "connect_error")
        problem = running.relay.app.lifecycle.runtime.routes["anthropic"].upstream.problem
        assert "the certificate is not accepted: unable to get local issuer" in problem
        await running.proxy.passages[0].ended()
        assert running.upstream.callers == []


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 201 Yes\r\nVia: 1.1 proxy\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Wait\r\n\r\n" + OPENED,
    ],
)
async def test_what_else_opens_a_way(tmp_path: Path, issued: Issued, answer: bytes) -> None:
    """Any 2xx does, and what it says of a body does not count (RFC 9110 §9.3.6)."""
    async with running_way(tmp_path, issued) as running:
        running.proxy.answer = answer
        running.upstream.answer_with(OK)
        assert (await running.relay.ask(request())).status == 200


async def test_a_proxys_answer_may_come_in_pieces(tmp_path: Path, issued: Issued) -> None:
    """As much as it likes."""
    async with running_way(tmp_path, issued) as running:
        running.upstream.answer_with(OK)
        running.proxy.answer, running.proxy.leads = b"", False
        agent = await running.relay.agent()
        await agent.send(request())
        passage = await running.proxy.asked()
        for byte in OPENED:
            passage.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        await eventually(lambda: passage.up[:1] == b"\x16")  # a TLS hello
        agent.leave()


# Who it is for


async def test_what_is_on_loopback_is_gone_to_straight(tmp_path: Path, issued: Issued) -> None:
    """By whatever way: it is on this host."""
    async with (
        running_upstream() as upstream,
        running_proxy({}) as proxy,
    ):
        upstream.answer_with(OK)
        config = configuration(upstream.port, egress={"url": f"http://127.0.0.1:{proxy.port}"})
        async with running_relay(tmp_path, config) as relay:
            assert (await relay.ask(request())).status == 200
        assert (proxy.connections, proxy.passages) == (0, [])


async def test_a_relay_may_go_straight(tmp_path: Path, issued: Issued) -> None:
    """Where its own is null: then nobody asks the proxy, and the name is looked up here."""
    async with running_way(tmp_path, issued) as running:
        config = dict(running.config)
        relays = {"anthropic": config["relays"]["anthropic"] | {"egress": None}}
        update_configuration(running.relay, config | {"relays": relays})
        running.relay.app.reload()
        await running.relay.log.says("^reloaded")
        answer = await running.relay.ask(request())
        assert (answer.status, answer.outcome) == (502, "connect_error")
        await running.relay.log.says(rf"https://{re.escape(API)} cannot be reached: the name has")
        assert running.proxy.passages == []


async def test_no_hop_is_gone_to_through_it(tmp_path: Path, issued: Issued) -> None:
    """The end of a chain alone is, from behind the last hop."""
    async with AsyncExitStack() as stack:
        hop = await stack.enter_async_context(running_upstream())
        hops = [{"name": HOP, "url": f"http://127.0.0.1:{hop.port}"}]
        running = await stack.enter_async_context(
            running_way(tmp_path, issued, relay={"hops": hops}, changes=RETURNS)
        )
        await running.relay.find_return_port()
        agent = await running.relay.agent()
        await agent.send(request())
        caller, sent = await hop.called()
        assert running.proxy.passages == []
        back = await running.relay.agent(port=running.relay.return_port)
        await back.send(returned(sent))
        api, got = await running.upstream.called()
        assert got.values("x-api-key") == [KEY.encode()]
        assert running.proxy.passages[0].lines == ASKED
        for each, asked in ((api, back), (caller, agent)):
            await each.send(OK)
            assert (await asked.answer()).status == 200
        assert len(running.proxy.passages) == 1


async def test_without_its_credential_no_hop_is_asked(tmp_path: Path, issued: Issued) -> None:
    """What can be refused is refused before the first hop."""
    async with running_upstream() as hop:
        relay = {"hops": [{"name": HOP, "url": f"http://127.0.0.1:{hop.port}"}]}
        async with running_way(
            tmp_path, issued, relay=relay, changes=RETURNS, credential={"file": "late"}
        ) as running:
            answer = await running.relay.ask(request())
            check_error(answer, 503, "no_credential", "api_error")
            assert (hop.callers, running.proxy.passages) == ([], [])


async def test_where_it_goes_is_said(tmp_path: Path, issued: Issued) -> None:
    """When the relay starts, and in /readyz."""
    async with running_way(tmp_path, issued, credential={"file": "proxy"}) as running:
        proxy = running.proxy.url
        says = f"^relay anthropic forwards to https://{API}, out through the proxy {proxy}$"
        await running.relay.log.says(says)
        status, report = await running.relay.readiness()
        assert (status, report["relays"]["anthropic"]["egress"]) == (200, {"url": proxy})


# Its credential


async def test_a_credential_that_is_not_there_yet(tmp_path: Path, issued: Issued) -> None:
    """503 until it is; /readyz and the log say which."""
    async with running_way(tmp_path, issued, credential={"file": "late"}) as running:
        running.upstream.answer_with(OK)
        answer = await running.relay.ask(request())
        assert (answer.status, answer.outcome) == (503, "no_credential")
        assert answer.values("x-should-retry") == [b"false"]
        assert (await running.relay.readiness())[0] == 503
        proxy = running.proxy.url
        await running.relay.log.says(f"^credential for the proxy {proxy}: no value yet: .*late")
        (tmp_path / "late").write_text(PROXY_CREDENTIAL)
        await running.relay.log.says(f"^credential for the proxy {proxy}: there now, from .*late")
        assert (await running.relay.ask(request())).status == 200
        assert (await running.relay.readiness())[0] == 200


async def test_a_credential_that_is_replaced_is_taken_up(tmp_path: Path, issued: Issued) -> None:
    """By the next way: those that are open were let through."""
    async with running_way(tmp_path, issued, credential={"file": "proxy"}) as running:
        running.upstream.answer_with(OK)
        for value in ("corp:one", "corp:two"):
            (tmp_path / "proxy").write_text(value)
            assert (await running.relay.ask(request())).status == 200
            running.proxy.passages[-1].cut()
            await running.proxy.passages[-1].ended()
        basic = [each.lines[-1].split()[-1] for each in running.proxy.passages]
        assert basic == [b"Y29ycDpvbmU=", b"Y29ycDp0d28="]


async def test_a_command_is_asked_again_after_a_407(tmp_path: Path, issued: Issued) -> None:
    """As one is after the API's 401: the next call carries what it prints now."""
    count = tmp_path / "count"
    script = f"echo x >> {count}; echo corp:$(wc -l < {count})"
    command = {"command": ["sh", "-c", script]}
    async with running_way(tmp_path, issued, credential=command) as running:
        running.upstream.answer_with(OK)
        running.proxy.answer = b"HTTP/1.1 407 No\r\n\r\n"
        assert (await running.relay.ask(request())).status == 502
        await eventually(lambda: count.read_text().count("x") == 2)
        running.proxy.answer = OPENED
        while True:
            assert (await running.relay.ask(request())).status == 200
            if running.proxy.passages[-1].lines[-1].endswith(b"Y29ycDoy"):
                break
            running.proxy.passages[-1].cut()
            await running.proxy.passages[-1].ended()


# Whether it is there


async def known(relay: LocalRelay) -> bool | None:
    """Return what is known of the upstream, once anything is."""
    state = relay.app.lifecycle.runtime.routes["anthropic"].upstream
    await eventually(lambda: state.up is not None)
    return state.up


async def test_without_calls_the_proxy_is_looked_for(
    tmp_path: Path, issued: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a bare connection, on which not a byte is sent; the API's own name is nobody's."""
    monkeypatch.setattr(health, "PROBE_SECONDS", 0.05)
    async with running_way(tmp_path, issued, credential={"file": "proxy"}) as running:
        assert await known(running.relay)
        port = running.proxy.port
        await running.proxy.stop_listening()
        where = f"{running.proxy.url}, the proxy on the way to https://{API}"
        await running.relay.log.says(f"nothing answers at {re.escape(where)}; calls get 502")
        await running.proxy.start(port=port)
        await running.relay.log.says("answers now")
        assert running.proxy.passages == []


async def test_what_a_bare_connection_does_not_show_only_a_call_mends(
    tmp_path: Path, issued: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that refuses is there all the while, and is not asked again and again."""
    monkeypatch.setattr(health, "PROBE_SECONDS", 0.02)
    async with running_way(tmp_path, issued, credential={"file": "proxy"}) as running:
        running.upstream.answer_with(OK)
        running.proxy.answer = b"HTTP/1.1 407 No\r\n\r\n"
        await running.relay.ask(request())
        connections = running.proxy.connections
        await eventually(lambda: running.proxy.connections >= connections + 3)
        state = running.relay.app.lifecycle.runtime.routes["anthropic"].upstream
        assert state.up is False
        assert "refuses the credential" in state.problem
        assert len(running.proxy.passages) == 1
        running.proxy.answer = OPENED
        assert (await running.relay.ask(request())).status == 200
        assert state.up is True
