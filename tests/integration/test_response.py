"""Bodies in motion: each piece at once, both ways at a time, and never more than is taken."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import random
from pathlib import Path

import pytest

from relay.downstream import transport
from tests.harness.configuration import configuration
from tests.harness.messages import (
    CHUNKED,
    MESSAGES,
    OK,
    OK_BODY,
    STOP,
    chunk,
    chunked_request,
    request,
)
from tests.harness.peer import Agent, Ended, Request
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.upstream import Upstream

EVENTS = [
    b'event: message_start\ndata: {"type":"message_start"}\n\n',
    b": a comment\n\n",
    b'event: content_block_delta\r\ndata: {"type":"content_block_delta"}\r\n\r\n',
    b"data: half of",
    b" an event\n\n",
    b"\x00\xff not even text",
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
]
MEGABYTE = 1 << 20
CLOSE_DELIMITED = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n"


def noise(size: int) -> bytes:
    """Return bytes that are the same each time and compress badly."""
    return random.Random(size).randbytes(size)  # no secret


async def turns(count: int) -> None:
    """Let the event loop, and with it the relay, do what is there to do."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn


# One piece at a time


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("kind", ["chunked", "sized", "close-delimited"])
async def test_each_event_arrives_before_the_next_is_sent(
    agent: Agent, upstream: Upstream, kind: str, version: str
) -> None:
    """The upstream sends an event only after the agent has read the one before."""
    length = sum(map(len, EVENTS))
    heads = {
        "chunked": CHUNKED,
        "sized": b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length,
        "close-delimited": CLOSE_DELIMITED,
    }
    await agent.send(request(version=version))
    caller, _ = await upstream.called()
    await caller.send(heads[kind])
    answer = await agent.head()
    for event in EVENTS:
        await caller.send(chunk(event) if kind == "chunked" else event)
        assert await agent.piece(answer) == event
    if kind == "chunked":
        await caller.send(chunk(b""))
    else:
        caller.leave()
    await agent.finish(answer)
    assert answer.complete
    assert answer.body == b"".join(EVENTS)
    if version == "1.0":
        assert await agent.gone() == "end"


async def test_the_head_arrives_before_any_of_the_body(agent: Agent, upstream: Upstream) -> None:
    """A stream that begins with silence has begun."""
    await agent.send(request())
    caller, _ = await upstream.called()
    await caller.send(CHUNKED)
    answer = await agent.head()
    assert answer.values("transfer-encoding") == [b"chunked"]
    assert agent.received == b""
    await caller.send(chunk(b""))
    await agent.finish(answer)
    assert answer.complete


async def test_a_stream_cut_anywhere_is_the_same_stream(agent: Agent, upstream: Upstream) -> None:
    """However the upstream's bytes are cut, the agent reads the body that was sent."""
    data = CHUNKED + b"".join(chunk(event) for event in EVENTS) + b"0;x=y\r\nx-sum: 1\r\n\r\n"
    for step in (1, 2, 3, 7, 50):
        await agent.send(request())
        caller, _ = await upstream.called()
        for position in range(0, len(data), step):
            caller.transport.write(data[position : position + step])
            await turns(1)
        answer = await agent.answer()
        assert answer.complete
        assert answer.body == b"".join(EVENTS)
        assert answer.values("x-sum") == []
        caller.leave()
        await caller.lost.wait()


async def test_compressed_bytes_pass_as_they_are(agent: Agent, upstream: Upstream) -> None:
    """Nothing is decompressed or compressed, in either direction."""
    packed = gzip.compress(b"x" * 10_000, mtime=0)
    upstream.answer_with(
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
        + packed
    )
    lines = ("Content-Encoding: gzip", "Accept-Encoding: gzip")
    answer = await agent.ask(request(MESSAGES, *lines, body=packed))
    assert answer.body == packed
    assert answer.values("content-encoding") == [b"gzip"]
    assert upstream.requests[0].body == packed
    assert upstream.requests[0].values("content-encoding") == [b"gzip"]


# Both ways


async def test_both_directions_move_at_once(agent: Agent, upstream: Upstream) -> None:
    """An upstream may answer what has come while more is coming."""
    await agent.send(chunked_request())
    caller = await upstream.accepted()
    got = await caller.head()
    await caller.send(CHUNKED)
    answer = await agent.head()
    for event in EVENTS:
        await agent.send(chunk(event))
        piece = await caller.piece(got)
        await caller.send(chunk(piece))
        assert await agent.piece(answer) == event
    await agent.send(chunk(b""))
    await caller.finish(got)
    await caller.send(chunk(b""))
    await agent.finish(answer)
    assert got.complete
    assert answer.complete
    await agent.send(request())
    assert (await caller.request()).complete
    await caller.send(OK)
    assert (await agent.answer()).body == OK_BODY


async def test_an_answer_may_end_before_its_request(agent: Agent, upstream: Upstream) -> None:
    """A whole answer is whole, though the body is still on its way; what is left is dropped."""
    await agent.send(chunked_request() + chunk(b"x"))
    caller = await upstream.accepted()
    await caller.head()
    await caller.send(OK)
    answer = await agent.answer()
    assert (answer.status, answer.body, answer.complete) == (200, OK_BODY, True)
    await caller.gone()
    upstream.answer_with(OK)
    await agent.send(chunk(b"y") + chunk(b"") + request())
    assert (await agent.answer()).status == 200
    (got,) = upstream.requests
    assert got.body == b"{}"


async def test_an_early_answer_waits_for_an_agent_that_is_slow(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write limit, and nothing shorter, says how long an agent may take to read."""
    monkeypatch.setattr(transport, "LINGER_SECONDS", 0.05)
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        agent = await relay.agent(receive_buffer=16_384)
        agent.hold()
        await agent.send(chunked_request("Connection: close") + chunk(b"x"))
        caller = await upstream.accepted()
        await caller.send(CHUNKED)
        (connection,) = (each for each in relay.app._agents.connections._open if each.busy)
        while not connection.transport.unsent:
            await caller.send(chunk(noise(16_384)))
            await turns(3)
        await caller.send(chunk(b""))
        await relay.log.calls()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await relay.all_closed()
        agent.read_on()
        assert (await agent.answer()).complete


async def test_a_bad_chunk_ends_an_early_answers_connection_once_it_is_read(
    upstream: Upstream, tmp_path: Path
) -> None:
    """It came while the answer waited for its agent: nothing can follow, and nothing waits."""
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        agent = await relay.agent(receive_buffer=16_384)
        agent.hold()
        await agent.send(chunked_request() + chunk(b"x"))
        caller = await upstream.accepted()
        await caller.send(CHUNKED)
        (connection,) = (each for each in relay.app._agents.connections._open if each.busy)
        while not connection.transport.unsent:
            await caller.send(chunk(noise(16_384)))
            await turns(3)
        await caller.send(chunk(noise(150_000)) + chunk(b""))
        await relay.log.calls()
        assert not connection.transport.writable
        await agent.send(b"zz\r\n")
        await turns(50)
        agent.read_on()
        assert (await agent.answer()).complete
        async with asyncio.timeout(1):
            await relay.all_closed()


# Bodies


@pytest.mark.parametrize("framing", ["sized", "chunked"])
async def test_a_large_upload_arrives_whole(agent: Agent, upstream: Upstream, framing: str) -> None:
    """20 MB go through, byte for byte, in the framing they came in."""
    body = noise(20_000_000)
    upstream.answer_with(_digest)
    if framing == "sized":
        agent.transport.write(request(body=body))
    else:
        agent.transport.write(chunked_request())
        for position in range(0, len(body), 777_777):
            await agent.send(chunk(body[position : position + 777_777]))
        agent.transport.write(chunk(b""))
    answer = await agent.answer()
    assert answer.body == hashlib.sha256(body).hexdigest().encode()
    (got,) = upstream.requests
    assert bool(got.values("content-length")) == (framing == "sized")
    assert bool(got.values("transfer-encoding")) == (framing == "chunked")


def _digest(got: Request) -> bytes:
    text = hashlib.sha256(got.body).hexdigest().encode()
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(text) + text


@pytest.mark.parametrize("framing", ["sized", "chunked", "close-delimited"])
async def test_a_large_answer_arrives_whole(
    agent: Agent, upstream: Upstream, relay: LocalRelay, framing: str
) -> None:
    """20 MB come back, byte for byte, and are counted."""
    body = noise(20_000_000)
    await agent.send(request())
    caller, _ = await upstream.called()
    if framing == "chunked":
        pieces = (body[i : i + 500_000] for i in range(0, len(body), 500_000))
        caller.transport.write(CHUNKED + b"".join(map(chunk, pieces)) + chunk(b""))
    elif framing == "sized":
        caller.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    else:
        caller.transport.write(CLOSE_DELIMITED + body)
        caller.leave()
    answer = await agent.answer()
    assert answer.complete
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(body).digest()
    (line,) = await relay.log.calls()
    assert (line["response_bytes"], line["outcome"]) == (len(body), "ok")


@pytest.mark.parametrize("body", [b"", b"x", b"0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"])
@pytest.mark.parametrize("framing", ["sized", "chunked"])
async def test_small_bodies_arrive_whole(
    agent: Agent, upstream: Upstream, framing: str, body: bytes
) -> None:
    """An empty body is a body; one that looks like framing is none."""
    upstream.answer_with(OK)
    parts = (chunk(body) if body else b"") + chunk(b"")
    data = request(body=body) if framing == "sized" else chunked_request() + parts
    assert (await agent.ask(data)).status == 200
    (got,) = upstream.requests
    assert got.body == body
    assert got.complete
    assert bool(got.values("content-length")) == (framing == "sized")


async def test_a_body_goes_on_before_it_has_ended(agent: Agent, upstream: Upstream) -> None:
    """Each piece of an upload is there before the next is sent."""
    await agent.send(request(MESSAGES, "Content-Length: 9", body=None))
    caller = await upstream.accepted()
    got = await caller.head()
    for piece in (b"one", b"two", b"end"):
        await agent.send(piece)
        assert await caller.piece(got) == piece
    await caller.send(OK)
    assert (await agent.answer()).body == OK_BODY


# Answers without a body


@pytest.mark.parametrize(
    "fields",
    [b"content-length: 1234\r\n", b"transfer-encoding: chunked\r\n", b""],
)
async def test_head_has_no_body(agent: Agent, upstream: Upstream, fields: bytes) -> None:
    """Whatever the head says, nothing follows it, and the connection goes on."""
    upstream.answer_with(
        lambda got: b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" if got.method == b"HEAD" else OK
    )
    answer = await agent.ask(request(method="HEAD", body=None))
    assert answer.status == 200
    wanted = [b"1234"] if b"length" in fields else []
    assert answer.values("content-length") == wanted
    assert (await agent.ask(request())).body == OK_BODY


@pytest.mark.parametrize(
    ("start", "fields", "length"),
    [
        (b"204 No Content", b"", []),
        (b"204 No Content", b"content-length: 0\r\n", []),
        (b"304 Not Modified", b"etag: x\r\n", []),
        (b"304 Not Modified", b"content-length: 99\r\n", [b"99"]),
    ],
)
async def test_204_and_304_have_no_body(
    agent: Agent,
    upstream: Upstream,
    relay: LocalRelay,
    start: bytes,
    fields: bytes,
    length: list[bytes],
) -> None:
    """They end with their head, and the connections go on."""
    upstream.answer_with(b"HTTP/1.1 " + start + b"\r\n" + fields + b"\r\n")
    for _ in range(2):
        answer = await agent.ask(request())
        assert answer.start == b"HTTP/1.1 " + start
        assert answer.values("content-length") == length
        assert answer.values("transfer-encoding") == []
    assert len(upstream.callers) == 1
    code = start.split(b" ")[0].decode()
    # A model that says nothing has not answered.
    outcome = "upstream_error" if code == "204" else "ok"
    assert await relay.outcomes(2) == {(outcome, code): 2}


async def test_an_empty_answer_is_whole(agent: Agent, upstream: Upstream) -> None:
    """A length of zero is a clean end."""
    upstream.answer_with(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    answer = await agent.ask(request())
    assert (answer.complete, answer.body) == (True, b"")


# Old versions


@pytest.mark.parametrize("kind", ["chunked", "sized", "close-delimited"])
async def test_an_http_1_0_agent_gets_plain_bytes(
    agent: Agent, upstream: Upstream, kind: str
) -> None:
    """No chunks for those who do not know them; the end of the connection is the end."""
    await agent.send(request(MESSAGES, "Connection: keep-alive", version="1.0"))
    caller, _ = await upstream.called()
    body = b"0\r\n\r\nbody"
    if kind == "chunked":
        await caller.send(CHUNKED + chunk(body) + chunk(b""))
    elif kind == "sized":
        await caller.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    else:
        await caller.send(CLOSE_DELIMITED + body)
        caller.leave()
    answer = await agent.answer()
    assert answer.values("transfer-encoding") == []
    assert answer.values("connection") == [b"close"]
    assert (answer.body, answer.complete) == (body, True)
    assert await agent.gone() == "end"


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_an_agent_that_half_closes_takes_a_part_for_no_whole(
    agent: Agent, upstream: Upstream, version: str
) -> None:
    """It has left as far as one can tell; if it reads on, it finds no clean end."""
    await agent.send(request(version=version))
    caller, _ = await upstream.called()
    await caller.send(CHUNKED + chunk(b"part"))
    answer = await agent.head()
    assert await agent.piece(answer) == b"part"
    agent.half_close()
    await agent.finish(answer)
    assert not answer.complete
    assert await caller.gone() == "end"


async def test_an_http_1_0_agent_that_half_closes_has_the_rest_of_a_whole_answer(
    upstream: Upstream, relay: LocalRelay
) -> None:
    """What waits for it is sent: nothing is missing, and the end is clean."""
    agent = await relay.agent(receive_buffer=16_384)
    agent.hold()
    await agent.send(request(version="1.0"))
    caller, _ = await upstream.called()
    await caller.send(CHUNKED)
    (connection,) = (each for each in relay.app._agents.connections._open if each.busy)
    sent, piece = 0, noise(16_384)
    while not connection.transport.unsent:
        await caller.send(chunk(piece))
        sent += 1
        await turns(3)
    await caller.send(chunk(b""))
    await relay.log.calls()
    agent.half_close()
    agent.read_on()
    answer = await agent.answer()
    assert (answer.complete, answer.body) == (True, piece * sent)


async def test_an_http_1_0_upstream_is_understood(agent: Agent, upstream: Upstream) -> None:
    """Its answer ends with its connection, which is not used again."""
    for _ in range(2):
        await agent.send(request())
        caller, _ = await upstream.called()
        await caller.send(b"HTTP/1.0 200 OK\r\n\r\nold")
        caller.leave()
        answer = await agent.answer()
        assert answer.start == b"HTTP/1.1 200 OK"
        assert (answer.body, answer.complete) == (b"old", True)


async def test_bytes_behind_an_answer_are_no_answer(agent: Agent, upstream: Upstream) -> None:
    """What an upstream sends too much is dropped with its connection."""
    await agent.send(request())
    caller, _ = await upstream.called()
    await caller.send(OK + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged")
    assert (await agent.answer()).body == OK_BODY
    await agent.send(request())
    second, _ = await upstream.called()
    assert second is not caller
    await second.send(OK.replace(b'"ok"', b'"no"'))
    assert (await agent.answer()).body == OK_BODY.replace(b'"ok"', b'"no"')


# Those who do not keep up


async def test_a_slow_agent_holds_the_upstream_back(upstream: Upstream, tmp_path: Path) -> None:
    """The relay keeps little for it; when it reads again, all of it is there."""
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        agent = await relay.agent()
        agent.hold()
        await agent.send(request())
        caller, _ = await upstream.called()
        total = 40 * MEGABYTE
        piece = noise(65_536)
        await caller.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        sent = await caller.push(piece, total)
        assert sent < 24 * MEGABYTE
        (connection,) = (each for each in relay.app._agents.connections._open if each.busy)
        assert not connection.transport.writable
        assert connection.transport.unsent < MEGABYTE
        agent.read_on()
        answer = await agent.head()
        reading = asyncio.create_task(agent.finish(answer))
        while sent < total:
            await caller.send(piece)
            sent += len(piece)
        await reading
        assert answer.complete
        assert answer.body == piece * (total // len(piece))


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_an_agent_that_takes_nothing_of_a_whole_answer_is_cut(
    upstream: Upstream, tmp_path: Path, version: str
) -> None:
    """A connection that closes with something left for its agent does not stay for ever."""
    config = configuration(upstream.port, timeouts={"write": 0.3})
    async with running_relay(tmp_path, config) as relay:
        agent = await relay.agent(receive_buffer=16_384)
        agent.hold()
        target = "/relay/anthropic/v1/models"
        await agent.send(
            request(target, "Connection: close", version=version, method="GET", body=None)
        )
        caller, _ = await upstream.called()
        await caller.send(CHUNKED)
        (connection,) = (each for each in relay.app._agents.connections._open if each.busy)
        while not connection.transport.unsent:
            await caller.send(chunk(noise(16_384)))
            await turns(3)
        await caller.send(chunk(b""))
        (line,) = await relay.log.calls()
        assert line["outcome"] == "ok"
        assert connection.transport.unsent
        async with asyncio.timeout(5):
            await relay.all_closed()
        agent.read_on()
        assert not (await agent.answer()).complete


async def test_a_slow_upstream_holds_the_agent_back(agent: Agent, upstream: Upstream) -> None:
    """The relay keeps little of an upload; when the upstream reads again, all of it comes."""
    total = 40 * MEGABYTE
    piece = noise(65_536)
    await agent.send(request(MESSAGES, f"Content-Length: {total}", body=None))
    caller = await upstream.accepted()
    caller.hold()
    sent = await agent.push(piece, total)
    assert sent < 24 * MEGABYTE
    caller.read_on()
    got = await caller.head()
    reading = asyncio.create_task(caller.finish(got))
    while sent < total:
        await agent.send(piece)
        sent += len(piece)
    await reading
    assert got.complete
    assert got.body == piece * (total // len(piece))
    await caller.send(OK)
    assert (await agent.answer()).body == OK_BODY


async def test_a_paused_answer_is_not_idle(upstream: Upstream, tmp_path: Path) -> None:
    """It is the agent that is slow, not the upstream: the idle limit does not run."""
    config = configuration(upstream.port, timeouts={"idle": 0.2})
    async with running_relay(tmp_path, config) as relay:
        agent = await relay.agent()
        agent.hold()
        await agent.send(request())
        caller, _ = await upstream.called()
        total = 32 * MEGABYTE
        piece = noise(65_536)
        await caller.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        sent = await caller.push(piece, total, quiet_seconds=0.6)
        assert sent < total
        agent.read_on()
        answer = await agent.head()
        reading = asyncio.create_task(agent.finish(answer))
        while sent < total:
            await caller.send(piece)
            sent += len(piece)
        await reading
        assert answer.complete
        assert await relay.outcomes() == {("ok", "200"): 1}


async def moment(seconds: float) -> None:
    """Let time go by, where time itself is what a limit is about."""
    loop = asyncio.get_running_loop()
    passed = loop.create_future()
    loop.call_later(seconds, passed.set_result, None)
    await passed


async def test_an_upstream_that_is_still_being_told_is_not_idle(
    upstream: Upstream, tmp_path: Path
) -> None:
    """It may begin its answer early, and say no more until it has read the whole request."""
    config = configuration(upstream.port, timeouts={"idle": 0.2})
    async with running_relay(tmp_path, config) as relay:
        agent = await relay.agent()
        await agent.send(chunked_request() + chunk(b"piece"))
        caller = await upstream.accepted()
        await caller.send(CHUNKED)
        for _ in range(6):
            await moment(0.1)
            await agent.send(chunk(b"piece"))
        await agent.send(chunk(b""))
        assert (await caller.request()).body == b"piece" * 7
        await caller.send(chunk(b"answer") + chunk(b""))
        answer = await agent.answer()
        assert (answer.complete, answer.body) == (True, b"answer")


async def test_an_agent_that_takes_little_at_a_time_is_not_cut(
    upstream: Upstream, tmp_path: Path
) -> None:
    """The write limit is for those who take nothing: the kernel empties its buffers in lumps."""
    config = configuration(upstream.port, timeouts={"write": 0.2})
    async with running_relay(tmp_path, config) as relay:
        agent = await relay.agent(receive_buffer=16_384)
        agent.hold()
        await agent.send(request())
        caller, _ = await upstream.called()
        total = 6 * MEGABYTE
        await caller.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        sending = asyncio.create_task(caller.send(noise(total)))
        received = 0
        while received < total:
            agent.read_on()
            received += len(await agent.some())
            agent.hold()
            await moment(0.004)
        await sending
        assert received > total  # the head came as well


async def test_parallel_streams_each_get_their_own(relay: LocalRelay, upstream: Upstream) -> None:
    """Twenty streams move in turns, event by event."""
    calls = []
    for number in range(20):
        agent = await relay.agent()
        await agent.send(request(f"{MESSAGES}?n={number}"))
        caller, got = await upstream.called()
        assert got.target.endswith(b"?n=%d" % number)
        await caller.send(CHUNKED)
        calls.append((number, agent, caller, await agent.head()))
    for turn in range(3):
        for number, agent, caller, answer in calls:
            event = b"data: %d of %d\n\n" % (turn, number)
            await caller.send(chunk(event))
            assert await agent.piece(answer) == event
    for _, agent, caller, answer in reversed(calls):
        await caller.send(chunk(STOP) + chunk(b""))
        await agent.finish(answer)
        assert answer.complete
    assert await relay.outcomes(20) == {("ok", "200"): 20}


async def test_an_upstream_that_says_nothing_more_says_nothing_here(
    agent: Agent, upstream: Upstream
) -> None:
    """No byte is added to a silent stream."""
    await agent.send(request())
    caller, _ = await upstream.called()
    await caller.send(CHUNKED + chunk(b"data: 1\n\n"))
    answer = await agent.head()
    await agent.piece(answer)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await agent.some()
    caller.leave()
    with pytest.raises(Ended):
        await agent.piece(answer)
