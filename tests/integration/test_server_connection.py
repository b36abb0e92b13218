"""What the relay takes for a request, over raw sockets: everything else is refused, and how."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from pathlib import Path

import pytest

from relay.downstream import server_connection
from relay.downstream import transport as transport_module
from tests.harness import FUSE_SECONDS
from tests.harness.configuration import configuration
from tests.harness.messages import MESSAGES, OK, OK_BODY, chunk, chunked_request, request
from tests.harness.peer import Agent, Answer
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.secrets import BODY_SECRET, TOKEN
from tests.harness.upstream import Upstream
from tests.headroom.connection import stop_accepting

# Well below every limit and timer there is.
AT_ONCE_SECONDS = 1.0


def head(*lines: str, start: str = f"POST {MESSAGES} HTTP/1.1", host: str = "Host: h") -> bytes:
    """Return a head of exactly these lines."""
    first = [start, host, f"x-api-key: {TOKEN}"] if host else [start]
    return "\r\n".join([*first, *lines, "", ""]).encode("latin-1")


def check_refusal(answer: Answer, status: int, error_type: str = "invalid_request_error") -> None:
    """See that an answer is one of the relay's own, whole, and names no software."""
    assert answer.complete
    assert answer.status == status
    assert answer.outcome == "rejected"
    assert answer.error["type"] == error_type
    assert answer.values("content-type") == [b"application/json"]
    assert answer.values("content-length") == [b"%d" % len(answer.body)]
    assert answer.values("server") == []
    assert b"aiohttp" not in bytes(answer.start) + answer.body
    assert b"Python" not in answer.body


async def check_closed(agent: Agent, upstream: Upstream, relay: LocalRelay) -> None:
    """See that the connection ended, that nothing went upstream, and that the next call works."""
    assert await agent.rest() == b""
    assert upstream.callers == []
    upstream.answer_with(OK)
    assert (await relay.ask(request())).status == 200


PROBE = request("/relay/anthropic/api/hello", method="GET", body=None, token=None)
UNKNOWN = request("/relay/none", method="GET", body=None, token=None)
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def answers_to(agent: Agent) -> int:
    """Return how many answers an agent has received and not read yet."""
    return agent.received.count(b"HTTP/1.1 ")


def shrink_buffers(transport: asyncio.BaseTransport) -> None:
    """Have the kernel keep little of what is on its way."""
    handle = transport.get_extra_info("socket")
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        handle.setsockopt(socket.SOL_SOCKET, option, 65_536)


FRAMING = {
    "both lengths": head("Content-Length: 2", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "two lengths": head("Content-Length: 2", "Content-Length: 2") + b"{}",
    "unequal lengths": head("Content-Length: 2", "Content-Length: 3") + b"{}",
    "listed lengths": head("Content-Length: 2, 2") + b"{}",
    "signed length": head("Content-Length: +2") + b"{}",
    "negative length": head("Content-Length: -2"),
    "hexadecimal length": head("Content-Length: 0x2") + b"{}",
    "underscored length": head("Content-Length: 1_0"),
    "empty length": head("Content-Length:"),
    "overlong length": head("Content-Length: " + "9" * 30),
    "another coding": head("Transfer-Encoding: gzip"),
    "codings": head("Transfer-Encoding: gzip, chunked"),
    "chunked twice": head("Transfer-Encoding: chunked, chunked"),
    "two codings": head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "identity": head("Transfer-Encoding: identity"),
    "coding with a tab": head("Transfer-Encoding: \x0bchunked"),
    "coding on 1.0": head("Transfer-Encoding: chunked", start=f"POST {MESSAGES} HTTP/1.0"),
    "space before colon": head("X-A : 1"),
    "folded line": head("X-A: 1", " 2"),
    "no colon": head("X-A"),
    "empty name": head(": 1"),
    "spaced name": head("X A: 1"),
    "non-ASCII name": head("X-\xe4: 1"),
    "bare LF": f"POST {MESSAGES} HTTP/1.1\nHost: h\n\n".encode(),
    "LF in head": head("X-A: 1\nX-B: 2"),
    "CR in value": head("X-A: 1\rX-B: 2"),
    "NUL in value": head("X-A: 1\0"),
    "control in value": head("X-A: \x1b[31m"),
    "DEL in value": head("X-A: \x7f"),
    "no version": f"POST {MESSAGES}\r\n\r\n".encode(),
    "two spaces": head(start=f"POST  {MESSAGES} HTTP/1.1"),
    "tab": head(start=f"POST\t{MESSAGES} HTTP/1.1"),
    "space in target": head(start="POST /relay/anthropic/v1/messages x HTTP/1.1"),
    "lower-case version": head(start=f"POST {MESSAGES} http/1.1"),
    "bad method": head(start=f"PO(ST {MESSAGES} HTTP/1.1"),
}


@pytest.mark.parametrize("data", FRAMING.values(), ids=FRAMING.keys())
async def test_bad_framing_is_400(
    agent: Agent, upstream: Upstream, relay: LocalRelay, data: bytes
) -> None:
    """What two parsers could read differently is refused, and the connection closed."""
    answer = await agent.ask(data)
    check_refusal(answer, 400)
    assert answer.values("connection") == [b"close"]
    assert answer.values("x-should-retry") == [b"false"]
    await check_closed(agent, upstream, relay)


BAD_TARGETS = [
    f"http://h{MESSAGES}",
    f"https://api.anthropic.com{MESSAGES}",
    "*",
    "relay/anthropic/v1/messages",
    "h:443",
    "/relay/anthropic/v1/messages#top",
    "/relay/anthropic/v1/../stats",
    "/relay/anthropic/v1/messages/..",
    "/relay/anthropic/./v1/messages",
    "/relay/anthropic/v1/%2e%2e/stats",
    "/relay/anthropic/v1/%2E./stats",
    "/relay/anthropic/v1/messages/..%2fstats",
    "/relay/anthropic/v1/messages/..%5cstats",
    "/relay/anthropic/v1/messages/..;/stats",
    "/relay/anthropic/v1\\messages",
    "/relay/anthropic/v1/messages%00",
    "/relay/anthropic/v1/messages%0d%0aX-A:1",
    "/relay/anthropic/v1/messages%7F",
    "/relay/anthropic/v1/messages%",
    "/relay/anthropic/v1/messages%zz",
    "/relay/anthropic/v1/messages/%2",
]


@pytest.mark.parametrize("target", BAD_TARGETS)
async def test_a_target_that_is_no_plain_path_is_400(
    agent: Agent, upstream: Upstream, relay: LocalRelay, target: str
) -> None:
    """Only a clean origin-form target is relayed."""
    answer = await agent.ask(request(target))
    check_refusal(answer, 400)
    await check_closed(agent, upstream, relay)
    assert await relay.samples("relay_rejections_total", "reason") == {("target",): 1}


async def test_a_non_ascii_target_is_400(
    agent: Agent, upstream: Upstream, relay: LocalRelay
) -> None:
    """Raw bytes above ASCII are in no target."""
    check_refusal(await agent.ask(request("/relay/anthropic/v1/messages/\xe9")), 400)
    await check_closed(agent, upstream, relay)


@pytest.mark.parametrize("lines", [[], ["Host: a", "Host: a"], ["Host: a b"], ["Host: a@b"]])
async def test_a_host_that_is_not_exactly_one_is_400(
    agent: Agent, upstream: Upstream, relay: LocalRelay, lines: list[str]
) -> None:
    """A missing, doubled or malformed Host is refused."""
    check_refusal(await agent.ask(head(f"x-api-key: {TOKEN}", *lines, host="")), 400)
    await check_closed(agent, upstream, relay)
    assert await relay.samples("relay_rejections_total", "reason") == {("host",): 1}


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "connect"])
async def test_a_tunnelling_method_is_405(
    agent: Agent, upstream: Upstream, relay: LocalRelay, method: str
) -> None:
    """CONNECT opens no tunnel, and TRACE shows no credential."""
    target = "api.anthropic.com:443" if method == "CONNECT" else MESSAGES
    check_refusal(await agent.ask(request(target, method=method, body=None)), 405)
    await check_closed(agent, upstream, relay)


@pytest.mark.parametrize("version", ["1.2", "2.0", "0.9", "3.0"])
async def test_another_version_is_505(
    agent: Agent, upstream: Upstream, relay: LocalRelay, version: str
) -> None:
    """Only 1.0 and 1.1 are spoken."""
    check_refusal(await agent.ask(request(version=version)), 505)
    await check_closed(agent, upstream, relay)


async def test_a_long_request_line_is_414(
    agent: Agent, upstream: Upstream, relay: LocalRelay
) -> None:
    """A line over 16 KiB is refused before it ends."""
    await agent.send(f"GET {MESSAGES}?{'a' * 17_000}".encode())
    check_refusal(await agent.answer(), 414)
    await check_closed(agent, upstream, relay)


LARGE = {
    "one header": f"POST {MESSAGES} HTTP/1.1\r\nX-A: {'a' * 17_000}".encode(),
    "a header's name": f"POST {MESSAGES} HTTP/1.1\r\n{'a' * 17_000}".encode(),
    "all headers": head(*(f"X-{i}: {'a' * 8_000}" for i in range(9))),
    "their number": head(*(f"X-{i}: 1" for i in range(140))),
}


@pytest.mark.parametrize("data", LARGE.values(), ids=LARGE.keys())
async def test_large_headers_are_431(
    agent: Agent, upstream: Upstream, relay: LocalRelay, data: bytes
) -> None:
    """A header over 16 KiB, 64 KiB of them, or more than 128 are refused."""
    check_refusal(await agent.ask(data), 431)
    await check_closed(agent, upstream, relay)


async def test_headers_within_the_limits_pass(agent: Agent, upstream: Upstream) -> None:
    """Many and long headers are relayed as they are."""
    upstream.answer_with(OK)
    lines = [f"X-{i}: {'a' * 400}" for i in range(115)] + [f"X-Long: {'b' * 16_000}"]
    assert (await agent.ask(request(MESSAGES, *lines))).status == 200
    assert upstream.requests[0].values("x-long") == [b"b" * 16_000]
    assert len(upstream.requests[0].fields) == 120


async def test_a_refusal_arrives_though_the_agent_goes_on_sending(
    upstream: Upstream, relay: LocalRelay
) -> None:
    """An agent that is still sending when it is refused reads why, and no reset."""
    for _ in range(10):
        agent = await relay.agent()
        line = f"X-A: {'a' * 8_000}\r\n".encode()
        agent.transport.write(f"POST {MESSAGES} HTTP/1.1\r\nHost: h\r\n".encode() + line * 1_000)
        check_refusal(await agent.answer(), 431)
        assert await agent.gone() == "end"
        agent.leave()
    assert upstream.callers == []


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\x16", 400),
        (b"PRI * HTTP/2.0\r\n", 505),
        (b"GET / HTTP/1.1\r\nHost: h\r\n \r", 400),
        (b"\x80\x2e\x01\x00\x02", 400),
        (b"SSH-2.0-OpenSSH_9.6\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"GET /\xff", 400),
        (b"GET  /x", 400),
        (b"GET /x HTTQ", 400),
        (b"GET /x HTTP/1.1\r\nx(", 400),
        (b"GET /x HTTP/1.1\r\nHost :", 400),
    ],
)
async def test_what_cannot_be_http_is_refused_at_once(
    agent: Agent, upstream: Upstream, relay: LocalRelay, data: bytes, status: int
) -> None:
    """No buffer fills and no timer runs for bytes that begin no request."""
    async with asyncio.timeout(1):
        check_refusal(await agent.ask(data), status)
    await check_closed(agent, upstream, relay)


async def test_a_head_that_does_not_end_is_408(
    relay: LocalRelay, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that is begun is finished in time, or refused."""
    monkeypatch.setattr(server_connection, "HEAD_SECONDS", 0.05)
    agent = await relay.agent()
    answer = await agent.ask(f"POST {MESSAGES} HTTP/1.1\r\nHo".encode())
    check_refusal(answer, 408, "timeout_error")
    assert answer.values("x-should-retry") == []
    await check_closed(agent, upstream, relay)
    assert await relay.samples("relay_rejections_total", "reason") == {("framing",): 1}


@pytest.mark.parametrize("sent", [b"", b'{"a":'])
async def test_a_body_that_stalls_is_408(upstream: Upstream, tmp_path: Path, sent: bytes) -> None:
    """An agent that falls silent within its body is told, and the upstream's request cut."""
    config = configuration(upstream.port, timeouts={"request_body": 0.1})
    async with running_relay(tmp_path, config) as relay:
        agent = await relay.agent()
        await agent.send(request(MESSAGES, "Content-Length: 10", body=None) + sent)
        caller = await upstream.accepted()
        got = await caller.request()
        check_refusal(await agent.answer(), 408, "timeout_error")
        assert not got.complete
        assert got.body == sent
        assert await relay.outcomes() == {("rejected", "none"): 1}


async def test_a_body_over_the_limit_is_413(upstream: Upstream, tmp_path: Path) -> None:
    """With a length given, nothing of the body is asked for or read."""
    relays = {"anthropic": {"max_body": 10}}
    async with running_relay(tmp_path, configuration(upstream.port, relays=relays)) as relay:
        agent = await relay.agent()
        lines = ("Expect: 100-continue", "Content-Length: 11")
        await agent.send(request(MESSAGES, *lines, body=None))
        check_refusal(await agent.answer(), 413, "request_too_large")
        assert await agent.rest() == b""
        assert upstream.callers == []
        assert await relay.samples("relay_rejections_total", "reason") == {("too_large",): 1}
        upstream.answer_with(OK)
        assert (await relay.ask(request(body=b"0123456789"))).status == 200


async def test_chunks_over_the_limit_are_413(upstream: Upstream, tmp_path: Path) -> None:
    """Without a length, the upstream's request is cut when the limit is passed."""
    relays = {"anthropic": {"max_body": 10}}
    async with running_relay(tmp_path, configuration(upstream.port, relays=relays)) as relay:
        agent = await relay.agent()
        await agent.send(chunked_request() + chunk(b"0123456789"))
        caller = await upstream.accepted()
        got = await caller.head()
        assert await caller.piece(got) == b"0123456789"
        await agent.send(chunk(b"x"))
        check_refusal(await agent.answer(), 413, "request_too_large")
        await caller.finish(got)
        assert not got.complete


async def test_a_large_body_is_refused_though_the_agent_goes_on_sending(
    upstream: Upstream, tmp_path: Path
) -> None:
    """The 413 arrives at an agent that does not stop to read."""
    relays = {"anthropic": {"max_body": 10}}
    async with running_relay(tmp_path, configuration(upstream.port, relays=relays)) as relay:
        agent = await relay.agent()
        agent.transport.write(request(body=b"x" * 3_000_000))
        check_refusal(await agent.answer(), 413, "request_too_large")
        assert await agent.gone() == "end"
        assert upstream.callers == []


# Chunks

BAD_CHUNKS = {
    "no size": b"\r\n",
    "bad size": b"xyz\r\n",
    "signed size": b"+5\r\nhello\r\n",
    "prefixed size": b"0x5\r\nhello\r\n",
    "overlong size": b"1000000000000000\r\n",
    "space before size": b" 5\r\nhello\r\n",
    "space behind size": b"5 \r\nhello\r\n",
    "bare LF": b"5\nhello\r\n",
    "bad extension": b"5;\x01=1\r\nhello\r\n",
    "overlong extension": b"5;" + b"a" * 300 + b"\r\nhello\r\n",
    "no chunk end": b"5\r\nhelloX\r\n",
    "LF chunk end": b"5\r\nhello\n0\r\n\r\n",
    "bad trailer": b"0\r\nX A: 1\r\n\r\n",
    "LF in trailer": b"0\r\nX-A: 1\n\r\n\r\n",
}


@pytest.mark.parametrize("data", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
async def test_a_bad_chunk_never_completes_the_upstreams_request(
    agent: Agent, upstream: Upstream, relay: LocalRelay, data: bytes
) -> None:
    """What came before goes on; then the upstream's request is cut and the agent gets 400."""
    await agent.send(chunked_request() + chunk(b"good"))
    caller = await upstream.accepted()
    got = await caller.head()
    assert await caller.piece(got) == b"good"
    await agent.send(data)
    await caller.finish(got)
    assert not got.complete
    assert b"0\r\n\r\n" not in caller.received
    check_refusal(await agent.answer(), 400)
    assert await agent.rest() == b""
    assert await relay.outcomes() == {("rejected", "none"): 1}


@pytest.mark.parametrize("data", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
async def test_a_bad_chunk_that_came_with_its_head_is_400(
    agent: Agent, upstream: Upstream, data: bytes
) -> None:
    """A request that is wrong from the start is never complete upstream either."""
    check_refusal(await agent.ask(chunked_request() + data + b"0\r\n\r\n"), 400)
    assert await agent.rest() == b""
    for caller in upstream.callers:
        assert b"0\r\n\r\n" not in await caller.rest()


UNFORWARDED = {
    "no token": (request(MESSAGES, "Transfer-Encoding: chunked", body=None, token=None), 401),
    "unknown relay": (chunked_request(target="/relay/none/v1/messages"), 404),
    "path not allowed": (chunked_request(target="/relay/anthropic/stats"), 403),
    "probe": (chunked_request(target="/relay/anthropic/api/hello").replace(b"POST", b"GET"), 200),
}


@pytest.mark.parametrize(("data", "_"), UNFORWARDED.values(), ids=UNFORWARDED.keys())
async def test_a_bad_chunk_behind_an_answer_of_the_relays_own_is_400(
    upstream: Upstream, relay: LocalRelay, monkeypatch: pytest.MonkeyPatch, data: bytes, _: int
) -> None:
    """A request that came wrong as a whole is refused as that, whatever else it is."""
    monkeypatch.setattr(transport_module, "LINGER_SECONDS", 0.05)
    agent = await relay.agent()
    async with asyncio.timeout(AT_ONCE_SECONDS):
        answer = await agent.ask(data + b"zz\r\n" + request())
        check_refusal(answer, 400)
        assert answer.values("connection") == [b"close"]
        await check_closed(agent, upstream, relay)
        await relay.all_closed()


@pytest.mark.parametrize(("data", "status"), UNFORWARDED.values(), ids=UNFORWARDED.keys())
async def test_a_bad_chunk_that_comes_behind_an_answer_closes(
    agent: Agent, upstream: Upstream, relay: LocalRelay, data: bytes, status: int
) -> None:
    """It cannot be told any more, and nothing can follow it: the connection ends at once."""
    assert (await agent.ask(data + chunk(b"good"))).status == status
    async with asyncio.timeout(AT_ONCE_SECONDS):
        await agent.send(b"zz\r\n" + request())
        await check_closed(agent, upstream, relay)
        await relay.all_closed()


async def test_a_bad_chunk_behind_an_admin_page_closes(relay: LocalRelay) -> None:
    """There as here: told where it can be, and nothing is left waiting."""
    data = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with asyncio.timeout(AT_ONCE_SECONDS):
        agent = await relay.agent(port=relay.admin_port)
        check_refusal(await agent.ask(data + b"zz\r\n"), 400)
        assert await agent.rest() == b""
        agent = await relay.agent(port=relay.admin_port)
        assert (await agent.ask(data)).status == 200
        await agent.send(b"zz\r\n")
        assert await agent.rest() == b""


async def test_good_chunks_pass(agent: Agent, upstream: Upstream) -> None:
    """Extensions are dropped, sizes may have leading zeros and either case."""
    upstream.answer_with(OK)
    data = b'00A;name="v\\"w"\r\n0123456789\r\n5;x\r\nhello\r\n000\r\n\r\n'
    assert (await agent.ask(chunked_request() + data)).status == 200
    assert upstream.requests[0].body == b"0123456789hello"


# Order


async def test_pipelined_requests_are_answered_in_order(agent: Agent, upstream: Upstream) -> None:
    """Each gets its own answer, however many came at once, with bodies of either framing."""
    upstream.answer_with(
        lambda got: b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(got.target) + got.target
    )
    requests = [
        request(f"{MESSAGES}/0"),
        request(f"{MESSAGES}/1", method="GET", body=None),
        chunked_request(target=f"{MESSAGES}/2") + chunk(b"two") + chunk(b""),
        request(f"{MESSAGES}/3", body=b"x" * 5_000),
        request(f"{MESSAGES}/4"),
    ]
    await agent.send(b"".join(requests))
    answers = [await agent.answer() for _ in requests]
    assert [answer.body for answer in answers] == [b"/v1/messages/%d" % i for i in range(5)]
    assert [got.body for got in upstream.requests] == [b"{}", b"", b"two", b"x" * 5_000, b"{}"]


async def test_pipelined_requests_cut_anywhere_are_answered(
    agent: Agent, upstream: Upstream
) -> None:
    """Byte by byte, the same requests come out."""
    upstream.answer_with(OK)
    data = request() + chunked_request() + chunk(b"abc") + chunk(b"") + request(body=b"")
    for i in range(len(data)):
        await agent.send(data[i : i + 1])
    assert [(await agent.answer()).body for _ in range(3)] == [OK_BODY] * 3
    assert [got.body for got in upstream.requests] == [b"{}", b"abc", b""]


FLOOD = 20_000


async def test_a_flood_of_pipelined_requests_leaves_others_their_turn(
    relay: LocalRelay, upstream: Upstream
) -> None:
    """A call beside it is answered at once; the flood's own answers come all, and in order."""
    upstream.answer_with(OK)
    flooding, other = await relay.agent(), await relay.agent()
    assert (await other.ask(request())).status == 200
    statuses = [404 if number % 7 == 0 else 200 for number in range(FLOOD)]
    flooding.transport.write(b"".join(UNKNOWN if s == 404 else PROBE for s in statuses))
    for _ in range(50):
        before = answers_to(flooding)
        assert (await other.ask(request())).status == 200
        assert answers_to(flooding) - before < FLOOD / 20
    assert answers_to(flooding) < FLOOD
    assert [(await flooding.answer()).status for _ in statuses] == statuses
    assert (await flooding.ask(request())).status == 200


@pytest.mark.parametrize("data", [PROBE, UNKNOWN, HEALTH], ids=["probe", "refusal", "admin page"])
async def test_a_flood_whose_answers_are_not_read_is_held_back_and_ended(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    """Neither its requests nor its answers pile up, and the write limit ends it."""
    unsent: list[int] = []
    abort = transport_module.AgentTransport.abort

    def note_and_abort(flooded: transport_module.AgentTransport) -> None:
        unsent.append(flooded.unsent)
        abort(flooded)

    monkeypatch.setattr(transport_module.AgentTransport, "abort", note_and_abort)
    config = configuration(upstream.port, timeouts={"write": 0.5})
    async with running_relay(tmp_path, config) as relay:
        port = relay.admin_port if data is HEALTH else relay.port
        agent = await relay.agent(receive_buffer=16_384, port=port)
        await agent.ask(data)
        connections = (
            relay.app._pages.connections if data is HEALTH else relay.app._agents.connections
        )
        (flooded,) = (each.transport for each in connections._open)
        assert flooded._transport is not None
        shrink_buffers(agent.transport)
        shrink_buffers(flooded._transport)
        agent.hold()
        assert await agent.push(data * 500, 8_000_000) < 2_000_000
        async with asyncio.timeout(FUSE_SECONDS):
            while len(connections):
                connections._changed.clear()
                await connections._changed.wait()
        assert 0 < unsent[0] < 200_000
        agent.read_on()
        assert await agent.gone()


async def test_nothing_behind_a_400_is_answered(
    agent: Agent, upstream: Upstream, relay: LocalRelay
) -> None:
    """A good request before a bad one is answered, the ones behind it are not there."""
    upstream.answer_with(OK)
    await agent.send(request() + FRAMING["both lengths"] + request() + request())
    assert (await agent.answer()).status == 200
    check_refusal(await agent.answer(), 400)
    assert await agent.rest() == b""
    assert len(upstream.requests) == 1
    assert await relay.outcomes(2) == {("ok", "200"): 1, ("rejected", "none"): 1}


async def test_nothing_behind_a_bad_chunk_is_answered(agent: Agent, upstream: Upstream) -> None:
    """What stands behind a broken body is no request."""
    await agent.send(chunked_request() + b"5\r\nhelloX" + request() + request())
    check_refusal(await agent.answer(), 400)
    assert await agent.rest() == b""
    for caller in upstream.callers:
        assert (await caller.rest()).count(b"POST") <= 1


async def test_a_smuggled_request_is_only_a_body(agent: Agent, upstream: Upstream) -> None:
    """A request within a body goes upstream as that body."""
    upstream.answer_with(OK)
    inner = request("/stats")
    assert (await agent.ask(request(body=inner))).status == 200
    (got,) = upstream.requests
    assert got.body == inner


@pytest.mark.parametrize("line", ["Connection: close", "Connection: x, Close"])
async def test_close_closes(agent: Agent, upstream: Upstream, line: str) -> None:
    """An agent that wants the connection closed has it closed, behind its answer."""
    upstream.answer_with(OK)
    await agent.send(request(MESSAGES, line) + request())
    answer = await agent.answer()
    assert answer.body == OK_BODY
    assert answer.values("connection") == [b"close"]
    assert await agent.rest() == b""
    assert len(upstream.requests) == 1


async def test_a_refused_call_keeps_the_connection(agent: Agent, upstream: Upstream) -> None:
    """A wrong token is no reason to hang up, whatever the body."""
    upstream.answer_with(OK)
    refused = request(token="relay-wrong", body=BODY_SECRET.encode())
    assert (await agent.ask(refused)).status == 401
    assert (await agent.ask(request())).status == 200


async def test_a_refused_upload_is_taken_to_its_end_before_the_connection_closes(
    agent: Agent, upstream: Upstream
) -> None:
    """Of an agent that reads only when all is sent; it is more than any buffer on the way holds."""
    body = b"x" * 16_000_000
    lines = ("Connection: close", f"Content-Length: {len(body)}")
    await agent.send(request(MESSAGES, *lines, body=None, token="relay-wrong"))
    await agent.send(body)
    assert not agent.lost.is_set()
    check_refusal(await agent.answer(), 401, "authentication_error")
    assert await agent.gone() == "end"
    assert upstream.callers == []


# Expect


async def test_100_comes_only_behind_the_token(agent: Agent, upstream: Upstream) -> None:
    """An accepted request is asked for its body; the upstream is not told of it."""
    await agent.send(request(MESSAGES, "Expect: 100-continue", "Content-Length: 4", body=None))
    go_on = await agent.head()
    assert go_on.start == b"HTTP/1.1 100 Continue"
    await agent.send(b"body")
    caller, got = await upstream.called()
    assert got.values("expect") == []
    assert got.body == b"body"
    await caller.send(OK)
    assert (await agent.answer()).status == 200


@pytest.mark.parametrize(
    ("target", "token", "status"),
    [
        (MESSAGES, None, 401),
        (MESSAGES, "relay-wrong", 401),
        ("/relay/anthropic/stats", TOKEN, 403),
        ("/relay/none/v1/messages", TOKEN, 404),
    ],
)
async def test_no_100_for_a_refused_request(
    agent: Agent, upstream: Upstream, target: str, token: str | None, status: int
) -> None:
    """A refused request is not asked for its body."""
    lines = ("Expect: 100-continue", "Content-Length: 4")
    await agent.send(request(target, *lines, body=None, token=token))
    assert (await agent.answer()).status == status
    assert upstream.callers == []


@pytest.mark.parametrize(
    ("target", "port"), [("/relay/anthropic/api/hello", "port"), ("/healthz", "admin_port")]
)
async def test_who_was_not_told_to_go_on_is_not_read_on(
    upstream: Upstream, relay: LocalRelay, target: str, port: str
) -> None:
    """It may leave its body out, and what it sends next would be taken for that."""
    agent = await relay.agent(port=getattr(relay, port))
    lines = ("Expect: 100-continue", "Content-Length: 4")
    head = request(target, *lines, method="GET", body=None, token=None)
    answer = await agent.ask(head.replace(b"relay.test", b"localhost"))
    assert (answer.status, answer.values("connection")) == (200, [b"close"])
    await agent.send(request())
    assert await agent.rest() == b""
    assert upstream.callers == []


async def test_no_100_for_http_1_0(agent: Agent, upstream: Upstream) -> None:
    """HTTP/1.0 knows no interim answers."""
    upstream.answer_with(OK)
    data = request(MESSAGES, "Expect: 100-continue", version="1.0")
    assert (await agent.ask(data)).status == 200


async def test_the_bodys_shape_is_the_anthropic_one(agent: Agent) -> None:
    """Before any relay is known, errors have Anthropic's shape."""
    answer = await agent.ask(b"\x16")
    body = json.loads(answer.body)
    assert body == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "The request is malformed."},
    }


@pytest.mark.both_loops
async def test_an_agent_that_resets_as_its_connection_is_closed_is_no_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the event loop has heard of it: asyncio's own raises then."""
    monkeypatch.setattr(transport_module, "LINGER_SECONDS", 0.0)
    loop = asyncio.get_running_loop()
    made: asyncio.Queue[transport_module.AgentTransport] = asyncio.Queue()

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP
            accepted = transport_module.AgentTransport()
            accepted.opened(transport)
            made.put_nowait(accepted)

    server = await loop.create_server(Accepted, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as agent:
        agent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted = await made.get()
    await accepted.linger()
    await stop_accepting(server)
