"""One call after another: what an upstream's faults, and an agent's, come to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.harness.configuration import configuration
from tests.harness.expectations import GONE_SECONDS, check_error, check_gone
from tests.harness.messages import CHUNKED, OK, OK_BODY, STOP, chunk, chunked_request, request
from tests.harness.peer import Agent
from tests.harness.relay import LocalRelay, begin_upload, running_relay
from tests.harness.upstream import Upstream

SIZED = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"
CLOSE_DELIMITED = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n"
HEADS = {"chunked": CHUNKED, "sized": SIZED, "close-delimited": CLOSE_DELIMITED}
PIECE = b"data: one\n\n"


def framed(kind: str, piece: bytes) -> bytes:
    """Return a piece of a body as an answer of this framing holds it."""
    return chunk(piece) if kind == "chunked" else piece


# What an upstream answers


BAD_ANSWERS = {
    "empty": b"",
    "garbage": b"\x00\x01\x02 not HTTP\r\n\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x50",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "HTTP/2": b"HTTP/2 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/0.9": b"hello",
    "both lengths": OK.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n"),
    "two lengths": OK.replace(b"\r\n\r\n", b"\r\ncontent-length: %d\r\n\r\n" % len(OK_BODY)),
    "unequal lengths": OK.replace(b"\r\n\r\n", b"\r\ncontent-length: 3\r\n\r\n"),
    "bad length": b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
    "another coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok",
    "control in value": b"HTTP/1.1 200 OK\r\nx-a: \x01\r\ncontent-length: 2\r\n\r\nok",
    "bare LF": b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
    "folded": b"HTTP/1.1 200 OK\r\nx-a: 1\r\n 2\r\ncontent-length: 2\r\n\r\nok",
    "space before colon": b"HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok",
    "bad status": b"HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\nok",
    "large head": b"HTTP/1.1 200 OK\r\nx-a: " + b"a" * 70_000 + b"\r\n\r\n",
    "interim only": b"HTTP/1.1 100 Continue\r\n\r\n",
    "interims": b"HTTP/1.1 102 Processing\r\n\r\n" * 100 + OK,
}


# Of these the status line can be read: ``code`` is what it says.
READABLE_STATUS = {
    "both lengths",
    "two lengths",
    "unequal lengths",
    "bad length",
    "another coding",
    "control in value",
    "folded",
    "space before colon",
    "large head",
}


@pytest.mark.parametrize(("name", "data"), BAD_ANSWERS.items(), ids=BAD_ANSWERS.keys())
async def test_a_malformed_answer_is_502(
    agent: Agent, upstream: Upstream, relay: LocalRelay, name: str, data: bytes
) -> None:
    """What is no HTTP/1.1 response never reaches the agent."""
    await agent.send(request())
    caller, _ = await upstream.called()
    caller.transport.write(data)
    caller.transport.close()
    answer = await agent.answer()
    check_error(answer, 502, "upstream_error", "api_error")
    assert answer.values("x-should-retry") == []
    (outcome,) = await relay.outcomes()
    assert outcome[0] == "upstream_error"
    if name != "half a head":  # whether that had a status is a matter of opinion
        assert outcome[1] == ("200" if name in READABLE_STATUS else "none")
    assert len(upstream.callers) == 1
    upstream.answer_with(OK)
    assert (await agent.ask(request())).status == 200


@pytest.mark.parametrize("data", [b"HTTP/1.1 2x", b"HTTP/2", b"SSH-2.0-", b"<", b"\x15\x03"])
async def test_what_cannot_be_an_answer_is_502_at_once(
    agent: Agent, upstream: Upstream, data: bytes
) -> None:
    """No end of a line, no timer and no close is waited for."""
    await agent.send(request())
    caller, _ = await upstream.called()
    async with asyncio.timeout(GONE_SECONDS):
        await caller.send(data)
        check_error(await agent.answer(), 502, "upstream_error", "api_error")
        await caller.gone()


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_a_redirect_is_502(
    agent: Agent, upstream: Upstream, relay: LocalRelay, status: int
) -> None:
    """Agents would follow it, body and all, past the relay."""
    location = f"location: http://127.0.0.1:{upstream.port}/elsewhere".encode()
    upstream.answer_with(
        b"HTTP/1.1 %d Moved\r\n%b\r\ncontent-length: 2\r\n\r\nok" % (status, location)
    )
    answer = await agent.ask(request())
    check_error(answer, 502, "upstream_error", "api_error")
    assert answer.values("location") == []
    assert await relay.outcomes() == {("upstream_error", str(status)): 1}
    assert len(upstream.requests) == 1


async def test_an_upgrade_is_502(agent: Agent, upstream: Upstream, relay: LocalRelay) -> None:
    """A protocol switch that nobody asked for is cut."""
    await agent.send(request())
    caller, _ = await upstream.called()
    await caller.send(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
    )
    check_error(await agent.answer(), 502, "upstream_error", "api_error")
    await check_gone(caller)
    assert await relay.outcomes() == {("upstream_error", "101"): 1}


async def test_interim_answers_are_not_passed_on(agent: Agent, upstream: Upstream) -> None:
    """100, 102 and 103 of the upstream are for the relay only."""
    upstream.answer_with(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + OK
    )
    answer = await agent.ask(request())
    assert (answer.status, answer.body) == (200, OK_BODY)
    assert answer.values("link") == []


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 400 Bad Request",
        b"HTTP/1.1 401 Unauthorized",
        b"HTTP/1.1 429 Too Many Requests",
        b"HTTP/1.1 500 Internal Server Error",
        b"HTTP/1.1 503 ",
        b"HTTP/1.1 529 ",
        b"HTTP/1.1 529",
    ],
)
async def test_an_upstreams_error_passes_as_it_is(
    agent: Agent, upstream: Upstream, relay: LocalRelay, start: bytes
) -> None:
    """Status, reason phrase, retry-after and body are the upstream's, once."""
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"\xc3\xa4"}}'
    upstream.answer_with(
        start + b"\r\nretry-after: 7\r\nx-should-retry: true\r\n"
        b"content-length: %d\r\n\r\n" % len(body) + body
    )
    answer = await agent.ask(request())
    # RFC 9112 §4: the space behind the code stands even without a phrase.
    assert answer.start == (start if start.count(b" ") > 1 else start + b" ")
    assert answer.body == body
    assert answer.values("retry-after") == [b"7"]
    assert answer.values("x-should-retry") == [b"true"]
    assert answer.outcome == ""
    code = start.split(b" ")[1].decode()
    assert await relay.outcomes() == {("upstream_error", code): 1}
    assert len(upstream.requests) == 1


# What breaks off


@pytest.mark.parametrize("kind", ["chunked", "sized"])
async def test_what_came_just_before_the_break_is_delivered(
    agent: Agent, upstream: Upstream, kind: str
) -> None:
    """Head, body and break may come at once."""
    upstream_bytes = HEADS[kind] + framed(kind, PIECE) + (b"5\r\nhal" if kind == "chunked" else b"")
    await agent.send(request())
    caller, _ = await upstream.called()
    caller.transport.write(upstream_bytes)
    caller.leave()
    answer = await agent.answer()
    assert answer.status == 200
    assert not answer.complete
    assert answer.body.startswith(PIECE)


async def test_a_break_shows_without_framing_though_more_was_sent(
    agent: Agent, upstream: Upstream
) -> None:
    """A connection that is reset is not ended before, for the sake of what nobody reads."""
    await agent.send(request(version="1.0") + b"more")
    caller, _ = await upstream.called()
    await caller.send(CHUNKED + chunk(PIECE))
    answer = await agent.head()
    assert await agent.piece(answer) == PIECE
    caller.reset()
    assert await agent.gone() == "reset"


async def test_what_came_is_delivered_though_the_agent_goes_on_sending(
    agent: Agent, upstream: Upstream, relay: LocalRelay
) -> None:
    """A reset, as of a connection that is closed with something unread, would overtake it."""
    await agent.send(chunked_request())
    caller = await upstream.accepted()
    await caller.head()
    caller.hold()
    piece = chunk(b"x" * 65_536)
    assert await agent.push(piece, len(piece) * 1_000) < len(piece) * 1_000
    agent.hold()
    await caller.send(CHUNKED + chunk(PIECE) + b"no chunk\r\n")
    await relay.log.calls()
    agent.read_on()
    answer = await agent.answer()
    assert (answer.complete, answer.body) == (False, PIECE)
    assert await agent.gone() == "end"


@pytest.mark.parametrize(
    "bad", [b"xyz\r\n", b"5\r\nhelloX", b"-1\r\n", b"0\r\nbad trailer\r\n\r\n"]
)
async def test_a_bad_chunk_from_upstream_breaks_off(
    agent: Agent, upstream: Upstream, relay: LocalRelay, bad: bytes
) -> None:
    """A malformed body is a truncated one."""
    await agent.send(request())
    caller, _ = await upstream.called()
    await caller.send(CHUNKED + chunk(PIECE))
    answer = await agent.head()
    assert await agent.piece(answer) == PIECE
    await caller.send(bad)
    await agent.finish(answer)
    assert not answer.complete
    assert await relay.outcomes() == {("truncated", "200"): 1}
    await check_gone(caller)


async def test_much_that_came_before_the_break_is_delivered(
    agent: Agent, upstream: Upstream
) -> None:
    """An agent that is behind when it breaks gets all the same what was there."""
    body = bytes(range(256)) * 4096
    await agent.send(request())
    caller, _ = await upstream.called()
    agent.hold()
    await caller.send(CHUNKED + chunk(body[:300_000]))
    caller.transport.write(chunk(body[300_000:400_000]))
    caller.leave()
    await caller.lost.wait()
    agent.read_on()
    answer = await agent.answer()
    assert not answer.complete
    assert answer.body == body[:400_000]


async def test_the_break_reaches_an_agent_that_is_still_uploading(
    agent: Agent, upstream: Upstream, relay: LocalRelay
) -> None:
    """What came is delivered though the request's body never ended."""
    caller, _ = await begin_upload(agent, upstream)
    await caller.send(CHUNKED + chunk(PIECE))
    answer = await agent.head()
    assert await agent.piece(answer) == PIECE
    caller.leave()
    await agent.finish(answer)
    assert not answer.complete
    assert await agent.gone() == "end"
    assert await relay.outcomes() == {("truncated", "200"): 1}


async def test_an_early_answer_reaches_an_agent_that_is_still_uploading(
    agent: Agent, upstream: Upstream, relay: LocalRelay
) -> None:
    """An upstream may refuse a body that it has not read."""
    caller, _ = await begin_upload(agent, upstream)
    await caller.send(
        b"HTTP/1.1 413 Payload Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig"
    )
    caller.half_close()
    answer = await agent.answer()
    assert (answer.status, answer.body, answer.complete) == (413, b"big", True)
    await check_gone(caller)
    assert await relay.outcomes() == {("upstream_error", "413"): 1}
    await agent.send(chunk(b"more"))


LATE_FAULTS = {
    "malformed": chunk(b"more") + b"zz\r\n",
    "too large": chunk(b"x" * 2_000),
    "stalled": b"",
}


@pytest.mark.parametrize("data", LATE_FAULTS.values(), ids=LATE_FAULTS.keys())
async def test_a_body_that_goes_wrong_behind_an_early_answer_is_no_rejection(
    upstream: Upstream, tmp_path: Path, data: bytes
) -> None:
    """The call was relayed, and the agent broke it off; the upstream's code stays."""
    relays = {"anthropic": {"max_body": 1_000}}
    config = configuration(upstream.port, relays=relays, timeouts={"request_body": 0.2})
    async with running_relay(tmp_path, config) as relay:
        agent = await relay.agent()
        await agent.send(chunked_request() + chunk(b"up"))
        caller = await upstream.accepted()
        await caller.send(CHUNKED + chunk(PIECE))
        answer = await agent.head()
        assert (answer.status, await agent.piece(answer)) == (200, PIECE)
        await agent.send(data)
        await agent.finish(answer)
        assert not answer.complete
        await check_gone(caller)
        assert await relay.outcomes() == {("client_abort", "200"): 1}
        assert await relay.samples("relay_rejections_total", "reason") == {}
        (line,) = await relay.log.calls()
        assert (line["status"], line["outcome"]) == (200, "client_abort")


# Before the head


async def test_nobody_listening_is_502(relay: LocalRelay, upstream: Upstream) -> None:
    """A refused connection is a connect_error, and the upstream is down."""
    await upstream.stop_listening()
    answer = await relay.ask(request())
    check_error(answer, 502, "connect_error", "api_error")
    assert await relay.outcomes() == {("connect_error", "none"): 1}
    assert await relay.samples("relay_upstream_up", "relay", relay="anthropic") == {}


async def test_no_head_in_time_is_504(upstream: Upstream, tmp_path: Path) -> None:
    """The headers limit ends a call whose upstream says nothing."""
    config = configuration(upstream.port, timeouts={"headers": 0.1})
    async with running_relay(tmp_path, config) as relay:
        agent = await relay.agent()
        await agent.send(request())
        caller, _ = await upstream.called()
        check_error(await agent.answer(), 504, "timeout", "timeout_error")
        await check_gone(caller)
        assert await relay.outcomes() == {("timeout", "none"): 1}
        assert await relay.in_flight() == 0


async def test_half_a_head_in_time_is_504(upstream: Upstream, tmp_path: Path) -> None:
    """A head that is begun and not ended counts as none."""
    config = configuration(upstream.port, timeouts={"headers": 0.1})
    async with running_relay(tmp_path, config) as relay:
        agent = await relay.agent()
        await agent.send(request())
        caller, _ = await upstream.called()
        await caller.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
        check_error(await agent.answer(), 504, "timeout", "timeout_error")


async def test_events_keep_an_answer_alive(upstream: Upstream, tmp_path: Path) -> None:
    """The idle limit is for silence: neither it nor the headers limit ends a call that talks."""
    config = configuration(upstream.port, timeouts={"idle": 0.5, "headers": 0.5})
    async with running_relay(tmp_path, config) as relay:
        agent = await relay.agent()
        await agent.send(request())
        caller, _ = await upstream.called()
        await caller.send(CHUNKED)
        answer = await agent.head()
        loop = asyncio.get_running_loop()
        end = loop.time() + 1.2
        tick = asyncio.Event()
        while loop.time() < end:
            loop.call_later(0.05, tick.set)
            await tick.wait()
            tick.clear()
            await caller.send(chunk(PIECE))
            assert await agent.piece(answer) == PIECE
        await caller.send(chunk(STOP) + chunk(b""))
        await agent.finish(answer)
        assert answer.complete
        assert await relay.outcomes() == {("ok", "200"): 1}


async def test_an_upstream_that_does_not_read_is_504(upstream: Upstream, tmp_path: Path) -> None:
    """A body that nobody takes ends after the write limit."""
    config = configuration(upstream.port, timeouts={"write": 0.3})
    async with running_relay(tmp_path, config) as relay:
        agent = await relay.agent()
        await agent.send(chunked_request() + chunk(b"x"))
        caller = await upstream.accepted()
        caller.hold()
        piece = chunk(b"x" * 65_536)
        sent = await agent.push(piece, 64 << 20)
        assert sent < 40 << 20
        check_error(await agent.answer(), 504, "timeout", "timeout_error")
        assert await relay.outcomes() == {("timeout", "none"): 1}


# Agents that leave


async def test_an_agent_that_leaves_before_the_upstream_is_connected(
    upstream: Upstream, tmp_path: Path
) -> None:
    """A call that is still connecting ends as well."""
    config = configuration(upstream.port)
    async with running_relay(tmp_path, config) as relay:
        await upstream.stop_listening()
        agent = await relay.agent()
        await agent.send(request())
        agent.leave()
        outcomes = await relay.outcomes()
        assert outcomes in ({("client_abort", "none"): 1}, {("connect_error", "none"): 1})
        assert await relay.in_flight() == 0


async def test_an_agent_that_leaves_behind_the_end_has_its_answer(
    agent: Agent, upstream: Upstream, relay: LocalRelay
) -> None:
    """Once the end of the stream has been seen, a departure is no abort."""
    agent.hold()
    await agent.send(request())
    caller, _ = await upstream.called()
    caller.transport.write(CHUNKED + chunk(PIECE) + chunk(STOP) + chunk(b""))
    await relay.log.calls()
    agent.leave()
    assert await relay.outcomes() == {("ok", "200"): 1}
