"""Relayed heads as a strict reader reads them, and bodies in memory, cut anywhere."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from relay.downstream.connections import Connections
from relay.downstream.server_connection import Request as IncomingRequest
from relay.downstream.server_connection import ServerConnection
from relay.downstream.transport import AgentTransport
from relay.errors import UpstreamTruncated
from relay.http.chunked import ChunkReader
from relay.http.grammar import Field
from relay.http.headers import field
from relay.http.message import RequestHead, ResponseHead
from relay.http.parser import RequestHeadReader
from relay.proxy import response
from relay.proxy.response import ResponseWriter, relayed_head
from relay.telemetry import call
from relay.telemetry.call import CallRecord
from relay.telemetry.metrics import Metrics
from relay.upstream.client_connection import Connection
from relay.upstream.interface import TimeLimits
from tests.harness import FUSE_SECONDS
from tests.harness.clock import SetClock
from tests.harness.messages import CHAT, MESSAGES, chunk
from tests.harness.model_answers import (
    CHAT_STREAM,
    CODERS,
    JSON,
    PING,
    RESPONSES_STREAM,
    STREAM,
    message_events,
)
from tests.harness.recordings import RECORDINGS, RESPONSES, answer_head, recorded_answer
from tests.unit.heads import names, read_response


def upstream_head(
    status: int = 200,
    *fields: tuple[bytes, bytes],
    length: int | None = None,
    chunked: bool = False,
) -> ResponseHead:
    """Return a head as an upstream sent it."""
    return ResponseHead(
        status=status,
        reason=b"Fine",
        minor=1,
        fields=tuple(field(name, value) for name, value in fields),
        length=length,
        chunked=chunked,
    )


# Relayed heads


def test_relayed_head_is_the_upstreams() -> None:
    """Status, reason and fields cross as they are, and nothing is added."""
    fields = ((b"Server", b"cloudflare"), (b"X-New", b"1"), (b"x-new", b"2"))
    written = relayed_head(upstream_head(529, *fields), chunked=False, close=False)
    assert written == b"HTTP/1.1 529 Fine\r\nServer: cloudflare\r\nX-New: 1\r\nx-new: 2\r\n\r\n"


def test_relayed_head_may_have_no_reason() -> None:
    """The space before it stays, as the grammar wants it."""
    head = ResponseHead(status=200, reason=b"", minor=0, fields=(), length=None, chunked=False)
    assert relayed_head(head, chunked=False, close=False) == b"HTTP/1.1 200 \r\n\r\n"


def test_framing_is_stated_anew() -> None:
    """Chunks for what came in chunks, the length for what came with one, never both."""
    fields = (b"Transfer-Encoding", b"chunked"), (b"Connection", b"keep-alive")
    chunked = upstream_head(200, *fields, chunked=True)
    head, _ = read_response(relayed_head(chunked, chunked=True, close=False))
    assert (head.chunked, head.length, names(head)) == (True, None, [b"transfer-encoding"])
    sized = upstream_head(200, (b"Content-Length", b"7"), length=7)
    head, _ = read_response(relayed_head(sized, chunked=False, close=False))
    assert (head.chunked, head.length, names(head)) == (False, 7, [b"content-length"])


def test_answer_without_framing_says_that_the_connection_ends() -> None:
    """That is how an HTTP/1.0 agent learns where the body ends."""
    head, _ = read_response(relayed_head(upstream_head(chunked=True), chunked=False, close=True))
    assert head.fields == (Field(b"connection", b"connection", b"close"),)


def test_204_has_no_length() -> None:
    """RFC 9110 §8.6 forbids it."""
    head, _ = read_response(relayed_head(upstream_head(204, length=0), chunked=False, close=False))
    assert head.length is None


def test_304_keeps_the_length_of_what_was_not_sent() -> None:
    """RFC 9110 §8.6 allows it, and no body follows."""
    head, _ = read_response(relayed_head(upstream_head(304, length=9), chunked=False, close=False))
    assert head.length == 9


def test_cookies_and_hop_by_hop_fields_do_not_cross() -> None:
    """Here as everywhere."""
    fields = ((b"Set-Cookie", b"a=b"), (b"Keep-Alive", b"5"), (b"A", b"1"))
    head, _ = read_response(relayed_head(upstream_head(200, *fields), chunked=False, close=False))
    assert names(head) == [b"a"]


# In memory: any cut there is


class Wire(asyncio.Transport):
    """A connection whose other end keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        self.written += data

    def is_closing(self) -> bool:
        """Never."""
        return False

    def get_write_buffer_size(self) -> int:
        """Everything is taken at once."""
        return 0

    def abort(self) -> None:
        """Nothing is to be done."""

    def pause_reading(self) -> None:
        """Nothing comes by itself."""

    def resume_reading(self) -> None:
        """Nothing comes by itself."""


class NoBody:
    """A request without a body."""

    chunked = False

    def whole(self) -> bytes:
        """Return that there is none."""
        return b""

    def pieces(self) -> AsyncIterator[bytes]:
        """Never asked for."""
        raise AssertionError("no call does that here")


class Nobody:
    """Where no request is read."""

    async def handle(self, _: ServerConnection, __: IncomingRequest) -> bool:
        """Never asked for."""
        raise AssertionError("no request comes here")


def request_head() -> RequestHead:
    """Return an agent's request as the relay reads it."""
    reader = RequestHeadReader()
    assert reader.feed(f"POST {MESSAGES} HTTP/1.1\r\nHost: relay\r\n\r\n".encode())
    return reader.head()


async def relay_in_memory(
    reads: list[bytes], operation: str, *, tap: bool
) -> tuple[bytes, CallRecord]:
    """Pass an answer on that is read from the upstream in these pieces; return what came out."""
    downstream, agent = ServerConnection(Nobody(), Connections()), Wire()
    downstream.connection_made(agent)
    upstream = Connection(lambda _: None, lambda _: None)
    upstream.connection_made(Wire())
    record = CallRecord(method="POST", operation=operation)

    async def run() -> None:
        reply = await upstream.begin(b"", NoBody(), TimeLimits(9, 9, 9), bodiless=False)
        record.answered(reply.head)
        record.meter = record.meter if tap else None
        head = request_head()
        await ResponseWriter(downstream.transport, head, reply, record, write_seconds=9).run()
        reply.close()
        record.succeeded()

    running = asyncio.create_task(run())
    loop = asyncio.get_running_loop()
    for data in reads:
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn
        upstream.data_received(data)
    async with asyncio.timeout(FUSE_SECONDS):
        await running
    record.finish()
    return agent.written, record


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Return data cut at these places."""
    ends = sorted({place % len(data) for place in places} - {0})
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


def body_in(data: bytes) -> bytes:
    """Return the body of a chunked response, and see that it came to its end."""
    reader = ChunkReader(UpstreamTruncated)
    body = reader.feed(data.partition(b"\r\n\r\n")[2])
    assert reader.ended
    assert reader.rest == b""
    return body


def check_in_memory(reads: list[bytes], operation: str, body: bytes) -> CallRecord:
    """See that the agent gets the upstream's bytes, tap or no tap; return the tapped call."""
    written, record = asyncio.run(relay_in_memory(reads, operation, tap=True))
    untapped, _ = asyncio.run(relay_in_memory(reads, operation, tap=False))
    assert body_in(written) == body_in(untapped) == body
    assert record.response_bytes == len(body)
    return record


OPERATION_OF = {MESSAGES: "messages", CHAT: "chat_completions", RESPONSES: "responses"}
PLACES = st.lists(st.integers(0, 1 << 20), max_size=40)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(RECORDINGS)), st.sampled_from(sorted(CODERS)), PLACES, PLACES)
def test_usage_is_exact_however_an_answer_is_cut(
    kind: str, name: str, chunks: list[int], reads: list[int]
) -> None:
    """By the upstream into chunks, and by the network into whatever is read at once."""
    target, recording = RECORDINGS[kind]
    coding, code = CODERS[name]
    body = code(recording.body)
    wire = answer_head(recording.content_type, coding)
    wire += b"".join(map(chunk, cut(body, chunks))) + chunk(b"")
    record = check_in_memory(cut(wire, reads), OPERATION_OF[target], body)
    assert record.outcome == "ok"
    assert record.usage is not None
    assert record.usage.tokens == recording.tokens
    assert record.usage.model == recording.model
    assert record.usage.missing is None


@pytest.mark.parametrize("name", CODERS)
@pytest.mark.parametrize("kind", RECORDINGS)
def test_usage_is_exact_byte_by_byte(kind: str, name: str) -> None:
    """The finest cut there is."""
    target, recording = RECORDINGS[kind]
    wire = recorded_answer(recording, name)
    reads = [wire[i : i + 1] for i in range(len(wire))]
    record = check_in_memory(reads, OPERATION_OF[target], CODERS[name][1](recording.body))
    assert record.usage is not None
    assert record.usage.tokens == recording.tokens


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(OPERATION_OF.values())),
    st.sampled_from([STREAM, JSON, "text/plain", "text/event-stream;x"]),
    st.sampled_from(["identity", "gzip", "deflate", "br", "zstd", "gzip, br", "compress"]),
    st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.sampled_from([*message_events(), *CHAT_STREAM.pieces, *RESPONSES_STREAM.pieces]),
        ),
        max_size=12,
    ),
    PLACES,
)
def test_whatever_an_answer_holds_reaches_the_agent(
    operation: str, content_type: str, coding: str, parts: list[bytes], reads: list[int]
) -> None:
    """Nonsense too, under any heading: it may not be metered, but it is passed on."""
    body = b"".join(parts)
    wire = (
        answer_head(content_type, coding) + b"".join(map(chunk, filter(None, parts))) + chunk(b"")
    )
    record = check_in_memory(cut(wire, reads), operation, body)
    assert record.outcome in ("ok", "truncated", "stream_error", "upstream_error")
    Metrics(CollectorRegistry()).observe(record)


# Who is silent


async def test_while_the_agent_takes_nothing_the_upstream_is_not_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not read then; what counts are its own silences, and the one it ends in."""
    clock = SetClock()
    monkeypatch.setattr(response, "time", clock)
    monkeypatch.setattr(call, "time", clock)
    monkeypatch.setattr(AgentTransport, "untaken", 0)
    agent = ServerConnection(Nobody(), Connections())
    agent.connection_made(Wire())
    connection = Connection(lambda _: None, lambda _: None)
    connection.connection_made(Wire())
    record = CallRecord(method="POST", operation="messages")
    begun = connection.begin(b"", NoBody(), TimeLimits(9, 9, 9), bodiless=False)
    connection.data_received(answer_head(STREAM) + chunk(message_events()[0]))
    reply = await begun
    record.answered(reply.head)
    writer = ResponseWriter(agent.transport, request_head(), reply, record, write_seconds=9)
    running = asyncio.create_task(writer.run())
    await asyncio.sleep(0)  # its first turn, to where it waits for more
    clock.now += 2.0
    agent.pause_writing()
    clock.now += 90.0
    agent.resume_writing()
    clock.now += 1.5
    connection.data_received(chunk(PING))
    clock.now += 3.0
    connection.data_received(chunk(PING))
    agent.pause_writing()
    clock.now += 70.0
    connection.connection_lost(None)
    with pytest.raises(UpstreamTruncated):
        await running
    clock.now += 0.25
    record.failed(UpstreamTruncated())
    record.finish()
    assert record.usage is not None
    assert record.usage.max_gap == 3.5
