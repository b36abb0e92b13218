"""The stand-in for Headroom, over raw sockets: its modes, its record, its strictness."""

import asyncio
import gzip
import hashlib
import itertools
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest

from tests.harness.raw_client import FUSE_SECONDS, Client, Response, ask, connected, event_names
from tests.headroom import MODES, Exchange, Headroom, Settings, running_headroom

pytestmark = pytest.mark.asyncio_loop

STREAM = b'{"model":"claude-test","stream": true}'
ANTHROPIC = {"anthropic-version": "2023-06-01"}
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def headroom() -> AsyncIterator[Headroom]:
    """Run a stand-in for one test."""
    async with running_headroom() as running:
        yield running


async def play(headroom: Headroom, mode: str, arguments: str = "", body: bytes = b"{}") -> Response:
    """Ask for one message in a mode."""
    headers = ANTHROPIC | {"x-standin-mode": mode, "x-standin-args": arguments}
    return await ask(headroom, headers=headers, body=body)


async def recorded(headroom: Headroom, state: str, count: int = 1) -> list[Exchange]:
    """Wait until exchanges have come to a state."""
    async with asyncio.timeout(FUSE_SECONDS):
        return await headroom.record.wait_for(state, count)


FULL_STREAM = [
    "message_start",
    "content_block_start",
    "ping",
    "content_block_delta",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
]


async def test_message_is_a_json_document_with_the_headers_of_headroom(headroom: Headroom) -> None:
    """A JSON answer has its length, two dates, and the headers of both proxies."""
    response = await play(headroom, "ok", "events=2")
    message = json.loads(response.body)
    assert response.status_line == "HTTP/1.1 200 OK"
    assert response.complete
    assert message["content"] == [{"type": "text", "text": "Hello! I "}]
    assert message["usage"]["output_tokens"] == len(["Hello!", "I"])
    assert len(response.values("date")) == len(["uvicorn's", "the upstream's"])
    assert response.values("server") == ["uvicorn"]
    for name in ("request-id", "x-headroom-model", "vary", "anthropic-ratelimit-requests-limit"):
        assert response.values(name)


@pytest.mark.parametrize("stream", [True, False])
async def test_prompt_with_a_breakpoint_counts_by_its_size(
    headroom: Headroom, stream: bool
) -> None:
    """The cache takes it in a conversation's first call, and has it in those that go on."""
    found = []
    for roles in (["user"], ["user", "assistant", "user"]):
        system = [{"type": "text", "text": "x" * 4000, "cache_control": {"type": "ephemeral"}}]
        messages = [{"role": role, "content": "go on"} for role in roles]
        body = json.dumps({"system": system, "messages": messages, "stream": stream}).encode()
        text = (await ask(headroom, headers=ANTHROPIC, body=body)).body.decode()
        found.append(re.findall(r'cache_\w+_input_tokens":(\d+)', text)[-2:])
    ((created, unread), (uncreated, read)) = found
    assert (unread, uncreated) == ("0", "0")
    assert 1000 < int(created) < int(read) < 1200


async def test_model_that_there_is_no_more_is_not_found(headroom: Headroom) -> None:
    """As the API says it, whether a stream was asked for or not."""
    for stream in (True, False):
        body = json.dumps({"model": "claude-2.1", "stream": stream}).encode()
        response = await ask(headroom, headers=ANTHROPIC, body=body)
        assert response.status_line == "HTTP/1.1 404 Not Found"
        assert json.loads(response.body)["error"] == {
            "type": "not_found_error",
            "message": "model: claude-2.1",
        }


async def test_message_is_streamed_one_chunk_for_each_event(headroom: Headroom) -> None:
    """A stream has the events of the Messages API, each in a chunk, each with its time."""
    response = await play(headroom, "ok", "events=2", STREAM)
    [exchange] = await recorded(headroom, "done")
    assert event_names(response) == FULL_STREAM
    assert len(response.pieces) == len(exchange.events) == len(FULL_STREAM)
    assert response.values("content-type") == ["text/event-stream; charset=utf-8"]
    assert b'"model":"claude-test"' in response.pieces[0]


async def test_stream_is_asked_for_anywhere_in_a_large_body(headroom: Headroom) -> None:
    """A large body is hashed and looked over but not kept."""
    body = b'{"messages":"%b","stream":true}' % (b'\\"stream\\":true' * 20_000)
    response = await play(headroom, "ok", body=body)
    [exchange] = await recorded(headroom, "done")
    assert response.values("transfer-encoding") == ["chunked"]
    assert exchange.body.sha256 == hashlib.sha256(body).hexdigest()
    assert (exchange.body.size, exchange.body.text) == (len(body), None)


async def test_stream_in_a_string_is_not_asked_for(headroom: Headroom) -> None:
    """A key within a string is no key; a compressed body is read."""
    quoted = await ask(headroom, body=rb'{"messages":"{\"stream\":true}"}')
    assert quoted.values("content-type") == ["application/json"]
    coded = await ask(headroom, headers={"content-encoding": "gzip"}, body=gzip.compress(STREAM))
    assert coded.values("transfer-encoding") == ["chunked"]


async def test_slow_stream_has_gaps_between_events(headroom: Headroom) -> None:
    """The times of the events are at least the gap apart."""
    await play(headroom, "slow", "events=2&gap=0.02", STREAM)
    [exchange] = await recorded(headroom, "done")
    gaps = [later - earlier for earlier, later in itertools.pairwise(exchange.events)]
    assert min(gaps) > 0.01


async def test_burst_writes_all_events_at_once(headroom: Headroom) -> None:
    """There is one write for the whole stream."""
    response = await play(headroom, "burst", "events=2", STREAM)
    [exchange] = await recorded(headroom, "done")
    assert event_names(response) == FULL_STREAM
    assert len(exchange.events) == 1


async def test_late_answer_waits_before_its_head(headroom: Headroom) -> None:
    """Nothing comes before the delay has passed."""
    await play(headroom, "late", "delay=0.05", STREAM)
    [exchange] = await recorded(headroom, "done")
    assert exchange.events[0] - exchange.started > 0.04


async def test_late_commit_sends_pings_then_a_burst(headroom: Headroom) -> None:
    """Pings come before message_start, and the rest at once."""
    response = await play(headroom, "pings", "delay=0&pings=1&events=2", STREAM)
    [exchange] = await recorded(headroom, "done")
    assert event_names(response) == ["ping", *FULL_STREAM]
    assert len(exchange.events) == len(["ping", "burst"])


@pytest.mark.parametrize(
    ("mode", "status_line", "content_type", "body"),
    [
        ("401", "HTTP/1.1 401 Unauthorized", "application/json", b"authentication_error"),
        ("413", "HTTP/1.1 413 Payload Too Large", "application/json", b"request_too_large"),
        ("429", "HTTP/1.1 429 Too Many Requests", "application/json", b"rate_limit_error"),
        ("500", "HTTP/1.1 500 Internal Server Error", "application/json", b"api_error"),
        ("529", "HTTP/1.1 529 ", "application/json", b"overloaded_error"),
        ("local429", "HTTP/1.1 429 Too Many Requests", "application/json", b'{"detail": "Rate'),
        ("503text", "HTTP/1.1 503 Service Unavailable", "text/plain; charset=utf-8", b"Service"),
        ("502json", "HTTP/1.1 502 Bad Gateway", "application/json", b"api_error"),
        (
            "502stream",
            "HTTP/1.1 502 Bad Gateway",
            "text/event-stream; charset=utf-8",
            b"connection_error",
        ),
        ("not_ready", "HTTP/1.1 503 Service Unavailable", "application/json", b'"ready": false'),
        ("redirect", "HTTP/1.1 307 Temporary Redirect", "text/plain", b""),
    ],
)
async def test_refusals(
    headroom: Headroom, mode: str, status_line: str, content_type: str, body: bytes
) -> None:
    """Each refusal has its status, its media type and its body, and is complete."""
    response = await play(headroom, mode)
    assert (response.status_line, response.complete) == (status_line, True)
    assert response.values("content-type") == [content_type]
    assert body in response.body
    assert [exchange.mode for exchange in await recorded(headroom, "done")] == [mode]


async def test_refusals_carry_their_headers(headroom: Headroom) -> None:
    """A rate limit says when to come back, a redirect where to go."""
    assert (await play(headroom, "429")).values("retry-after") == ["7"]
    assert (await play(headroom, "429", "retry_after=3")).values("retry-after") == ["3"]
    assert (await play(headroom, "local429")).values("retry-after") == ["1"]
    assert (await play(headroom, "redirect")).values("location") == ["/redirected"]
    assert (await play(headroom, "redirect", "location=/x")).values("location") == ["/x"]


async def test_error_in_midstream_ends_cleanly(headroom: Headroom) -> None:
    """The error is the last event and the stream is complete."""
    response = await play(headroom, "error_midstream", "after=4", STREAM)
    assert event_names(response) == [*FULL_STREAM[:4], "error"]
    assert response.complete
    assert (await play(headroom, "error_midstream")).status_line == "HTTP/1.1 502 Bad Gateway"


@pytest.mark.parametrize("body", [STREAM, b"{}"])
async def test_truncated_answer_is_cut_by_closing(headroom: Headroom, body: bytes) -> None:
    """What was sent arrives, and then the connection closes without an end."""
    response = await play(headroom, "truncated", "after=2", body)
    await recorded(headroom, "done")
    assert response.body
    assert not response.complete


@pytest.mark.parametrize("body", [STREAM, b"{}"])
async def test_reset_in_the_body(headroom: Headroom, body: bytes) -> None:
    """What was sent arrives before the reset."""
    async with connected(headroom) as client:
        await client.request("/v1/messages", {"x-standin-mode": "reset"}, body)
        response = await client.response()
        assert response.body
        assert not response.complete
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_reset_before_the_head(headroom: Headroom) -> None:
    """Nothing arrives but the reset."""
    headers = {"x-standin-mode": "reset", "x-standin-args": "before=head"}
    async with connected(headroom) as client:
        await client.request("/v1/messages", headers, b"{}")
        with pytest.raises(ConnectionResetError):
            await client.rest()


@pytest.mark.parametrize("depart", [Client.leave, Client.reset])
@pytest.mark.parametrize("arguments", ["before=head", "after=3"])
async def test_departure_during_a_stall_is_recorded_as_aborted(
    headroom: Headroom, arguments: str, depart: Callable[[Client], None]
) -> None:
    """A client that gives up is noticed, before and after the head."""
    headers = {"x-standin-mode": "stall", "x-standin-args": arguments}
    async with connected(headroom) as client:
        await client.request("/v1/messages", headers, STREAM)
        await recorded(headroom, "answering")
        if arguments == "after=3":
            assert (await client.response_head()).status_line == "HTTP/1.1 200 OK"
        depart(client)
        [exchange] = await recorded(headroom, "aborted")
    assert exchange.ended is not None


async def test_departure_while_the_body_arrives_is_recorded_as_aborted(headroom: Headroom) -> None:
    """A body that stops half-way leaves its bytes in the record."""
    async with connected(headroom) as client:
        await client.send(b"POST /v1/messages HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nhalf")
        await recorded(headroom, "receiving")
        client.leave()
        [exchange] = await recorded(headroom, "aborted")
    assert exchange.body.size <= len(b"half")


@pytest.mark.parametrize("body", [STREAM, b"{}"])
async def test_gzip_answer_decodes_to_the_usual_one(headroom: Headroom, body: bytes) -> None:
    """Both a document and a stream are valid gzip."""
    response = await play(headroom, "gzip", "events=2", body)
    assert response.values("content-encoding") == ["gzip"]
    assert b"Hello!" in gzip.decompress(response.body)


@pytest.mark.parametrize("arguments", ["", "duplex=1"])
async def test_echo_returns_the_body_byte_for_byte(headroom: Headroom, arguments: str) -> None:
    """Every byte value comes back, in chunks."""
    body = bytes(range(256)) * 1000
    response = await play(headroom, "echo", arguments, body)
    [exchange] = await recorded(headroom, "done")
    assert (response.body, response.complete) == (body, True)
    assert exchange.body.sha256 == hashlib.sha256(body).hexdigest()


async def test_duplex_echo_answers_before_the_body_is_complete(headroom: Headroom) -> None:
    """The first piece comes back while the rest is still to be sent."""
    headers = "x-standin-mode: echo\r\nx-standin-args: duplex=1\r\ntransfer-encoding: chunked\r\n"
    async with connected(headroom) as client:
        await client.send(f"POST /any HTTP/1.1\r\nhost: h\r\n{headers}\r\n3\r\none\r\n".encode())
        await client.response_head()
        assert await client.reader.readexactly(8) == b"3\r\none\r\n"
        await client.send(b"0\r\nx-checksum: 1\r\n\r\n")
        [exchange] = await recorded(headroom, "done")
    assert exchange.trailers == [("x-checksum", "1")]


async def test_big_answer_has_its_size(headroom: Headroom) -> None:
    """The body is as long as asked for, and announced."""
    response = await play(headroom, "big", "size=200000")
    assert response.body == (bytes(range(256)) * 1000)[:200_000]
    assert response.values("content-length") == ["200000"]


async def test_cookie_is_set(headroom: Headroom) -> None:
    """The usual answer with a cookie."""
    assert (await play(headroom, "cookie")).values("set-cookie") == ["standin=1; Path=/; HttpOnly"]


async def test_early_refusal_comes_before_the_body(headroom: Headroom) -> None:
    """The answer arrives although the body was not sent, and the connection closes."""
    async with connected(headroom) as client:
        await client.send(
            b"POST /v1/messages HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\n"
            b"x-standin-mode: early\r\ncontent-length: 1000000\r\n\r\n"
        )
        response = await client.response()
        assert (response.status, response.complete) == (413, True)
        assert await client.rest() == b""
        [exchange] = await recorded(headroom, "done")
    assert exchange.body.size == 0


async def test_upgrade_switches_unasked(headroom: Headroom) -> None:
    """The answer is a 101 and nothing after it."""
    async with connected(headroom) as client:
        await client.request("/v1/messages", {"x-standin-mode": "upgrade"}, b"{}")
        async with asyncio.timeout(FUSE_SECONDS):
            response = await client.response_head()
        assert response.status_line == "HTTP/1.1 101 Switching Protocols"
        client.leave()
        await recorded(headroom, "aborted")


async def test_raw_answer_is_what_was_asked_for(headroom: Headroom) -> None:
    """Any bytes can be sent, also none."""
    garbage = b"HTTP/1.1 200 OK\r\nx: \x00\xff\r\n"
    headers = {"x-standin-mode": "raw", "x-standin-args": f"bytes={quote_from_bytes(garbage)}"}
    async with connected(headroom) as client:
        await client.request("/v1/messages", headers, b"{}")
        assert await client.rest() == garbage
    async with connected(headroom) as client:
        await client.request("/v1/messages", {"x-standin-mode": "raw"}, b"{}")
        assert await client.rest() == b""


def test_every_mode_is_there() -> None:
    """The names are what tests refer to."""
    assert set(MODES) == {
        *("ok", "slow", "burst", "late", "pings", "401", "413", "429", "500", "529", "local429"),
        *("503text", "502stream", "502json", "error_midstream", "truncated", "reset", "stall"),
        *("guard", "nameless", "forward", "forward_burst", "forward_pings", "forward_truncated"),
        *("forward_reset", "forward_stall"),
        *("gzip", "not_ready", "echo", "big", "redirect", "cookie", "early", "upgrade", "raw"),
    }


@pytest.mark.parametrize(
    ("mode", "arguments"),
    [("nonsense", ""), ("slow", "gap=often"), ("slow", "gab=1"), ("late", "delay=-1")],
)
async def test_misspelt_mode_is_refused(headroom: Headroom, mode: str, arguments: str) -> None:
    """A test cannot pass by asking for a mode that does not exist."""
    response = await play(headroom, mode, arguments)
    assert response.status_line == "HTTP/1.1 400 Bad Request"
    assert response.body.startswith(b"stand-in: ")


async def test_queued_modes_are_played_in_turn(headroom: Headroom) -> None:
    """Headroom's own pages take nothing from the queue, and control pages are not recorded."""
    await ask(headroom, "/standin/next", body=b'{"mode": "429", "retry_after": 3}')
    headroom.play_next("500")
    assert (await ask(headroom, "/livez")).status_line == "HTTP/1.1 200 OK"
    assert (await ask(headroom, body=b"{}")).values("retry-after") == ["3"]
    assert (await ask(headroom, body=b"{}")).status_line.startswith("HTTP/1.1 500")
    assert (await ask(headroom, body=b"{}")).status_line == "HTTP/1.1 200 OK"
    listed = json.loads((await ask(headroom, "/standin/requests?count=4&state=done")).body)
    assert [each["mode"] for each in listed] == ["ok", "429", "500", "ok"]
    refused = await ask(headroom, "/standin/next", body=b'{"mode": "nonsense"}')
    assert refused.status_line == "HTTP/1.1 400 Bad Request"


async def test_list_of_requests_tells_all_that_was_received(headroom: Headroom) -> None:
    """Headers come in order and as they were spelt, the body byte for byte."""
    async with connected(headroom) as client:
        await client.send(
            b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: h\r\nX-Odd: \xe9\r\n"
            b"anthropic-beta: one\r\nanthropic-beta: two\r\ncontent-length: 2\r\n\r\n\xff\x00"
        )
        await client.response()
        await client.request("/standin/requests")
        [listed] = json.loads((await client.response()).body)
    assert listed["headers"][:2] == [["Host", "h"], ["X-Odd", "\xe9"]]
    assert (listed["method"], listed["version"]) == ("POST", "1.1")
    assert listed["target"] == "/v1/messages?beta=true"
    assert (listed["body"], listed["body_bytes"]) == ("\xff\x00", 2)
    assert listed["body_sha256"] == hashlib.sha256(b"\xff\x00").hexdigest()
    assert listed["beta_effective"] == "two"
    assert listed["started"] <= listed["events"][0] <= listed["ended"]


async def test_list_of_requests_waits_for_a_state(headroom: Headroom) -> None:
    """A long poll is answered by the change it waits for, or with a 408."""
    late = await ask(headroom, "/standin/requests?state=aborted&count=1&timeout=0")
    assert late.status_line == "HTTP/1.1 408 Request Timeout"
    async with connected(headroom) as agent, connected(headroom) as watcher:
        await agent.request("/v1/messages", {"x-standin-mode": "stall"}, STREAM)
        await recorded(headroom, "answering")
        await watcher.request("/standin/requests?state=aborted&count=1&timeout=5")
        agent.leave()
        [listed] = json.loads((await watcher.response()).body)
    assert (listed["state"], listed["mode"]) == ("aborted", "stall")


async def test_record_and_queue_can_be_cleared(headroom: Headroom) -> None:
    """Deleting forgets."""
    await ask(headroom, body=b"{}")
    headroom.play_next("500")
    async with connected(headroom) as client:
        for page in (b"requests", b"next"):
            await client.send(b"DELETE /standin/%b HTTP/1.1\r\nhost: h\r\n\r\n" % page)
            assert (await client.response()).status_line == "HTTP/1.1 200 OK"
    assert headroom.record.exchanges == []
    assert (await ask(headroom, body=b"{}")).status_line == "HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    ("target", "headers", "destination"),
    [
        ("/v1/messages", {}, "anthropic"),
        ("/v1/messages/count_tokens", ANTHROPIC, "anthropic"),
        ("/v1/messages", {"X-Headroom-Base-Url": "https://evil.test"}, "https://evil.test"),
        ("/v1/messages", ANTHROPIC | {"x-goog-api-key": "k"}, "google"),
        ("/v1/chat/completions", ANTHROPIC, "openai"),
        ("/v1/responses", {}, "openai"),
        ("/v1/models", ANTHROPIC, "anthropic"),
        ("/v1/models/claude-x", {}, "openai"),
        ("/v1/models", {}, "openai"),
        ("/v1/files", ANTHROPIC, "anthropic"),
        ("/", {}, "openai"),
        ("/stats", {}, None),
    ],
)
async def test_credential_goes_where_the_real_one_would_send_it(
    headroom: Headroom, target: str, headers: dict[str, str], destination: str | None
) -> None:
    """The record tells where a request was routed."""
    await ask(headroom, target, headers)
    [exchange] = await recorded(headroom, "done")
    assert exchange.routed_to == destination


@pytest.mark.parametrize(
    "target",
    ["/stats", "/dashboard", "/admin/x", "/debug/y?z", "/settings", "/cache/clear", "/%73tats"]
    + [f"/v1/{page}" for page in ("retrieve", "compress", "telemetry", "toin", "feedback", "usage")]
    + ["http://elsewhere/stats", "/v1%2Fusage/today"],
)
async def test_pages_of_headroom_itself_answer_and_are_recorded(
    headroom: Headroom, target: str
) -> None:
    """A hole in a relay's list of paths shows as a request of kind admin."""
    response = await ask(headroom, target)
    assert response.status_line == "HTTP/1.1 200 OK"
    assert b"admin page" in response.body
    assert [exchange.kind for exchange in headroom.record.exchanges] == ["admin"]


async def test_health_pages(headroom: Headroom) -> None:
    """Health is well, unless asked to be not ready."""
    for target in ("/livez", "/readyz", "/health"):
        assert (await ask(headroom, target)).status_line == "HTTP/1.1 200 OK"
    down = await ask(headroom, "/readyz", {"x-standin-mode": "not_ready"})
    assert down.status_line == "HTTP/1.1 503 Service Unavailable"
    assert {exchange.kind for exchange in headroom.record.exchanges} == {"health"}


async def test_other_pages_of_the_apis(headroom: Headroom) -> None:
    """Counting, models, files, embeddings answer in their own shapes; the rest is a 404."""
    counted = await ask(headroom, "/v1/messages/count_tokens", ANTHROPIC, b"{}")
    assert "input_tokens" in json.loads(counted.body)
    assert json.loads((await ask(headroom, "/v1/models", ANTHROPIC)).body)["has_more"] is False
    assert json.loads((await ask(headroom, "/v1/models")).body)["object"] == "list"
    assert json.loads((await ask(headroom, "/v1/models/m", ANTHROPIC)).body)["id"] == "m"
    assert json.loads((await ask(headroom, "/v1/embeddings", body=b"{}")).body)["data"]
    missing = await ask(headroom, "/v1/nothing", ANTHROPIC)
    assert json.loads(missing.body)["error"]["type"] == "not_found_error"


async def test_chat_completions(headroom: Headroom) -> None:
    """OpenAI's chat, as a document and as a stream with its usage."""
    whole = json.loads((await ask(headroom, "/v1/chat/completions", body=b"{}")).body)
    assert whole["choices"][0]["message"]["content"].startswith("Hello!")
    body = b'{"stream":true,"stream_options":{"include_usage":true}}'
    stream = (await ask(headroom, "/v1/chat/completions", body=body)).pieces
    assert stream[-1] == b"data: [DONE]\n\n"
    assert json.loads(stream[-2].removeprefix(b"data: "))["usage"]["prompt_tokens"]


async def test_responses(headroom: Headroom) -> None:
    """OpenAI's responses, as a document and as a stream; errors in OpenAI's shape."""
    whole = json.loads((await ask(headroom, "/v1/responses", body=b"{}")).body)
    assert whole["status"] == "completed"
    streamed = await ask(headroom, "/v1/responses", body=STREAM)
    assert event_names(streamed)[0] == "response.created"
    assert event_names(streamed)[-1] == "response.completed"
    refused = await ask(headroom, "/v1/responses", {"x-standin-mode": "401"}, b"{}")
    assert "param" in json.loads(refused.body)["error"]


async def test_connection_is_kept_and_numbered(headroom: Headroom) -> None:
    """Requests on one connection, pipelined too, share its number."""
    async with connected(headroom) as client:
        for _ in range(2):
            await client.request("/livez")
        for _ in range(2):
            assert (await client.response()).complete
    assert len({exchange.connection for exchange in headroom.record.exchanges}) == 1


async def test_idle_connection_is_closed_after_an_answer() -> None:
    """The idle limit begins with the end of an answer."""
    async with (
        running_headroom(Settings(idle_limit_seconds=0.05)) as headroom,
        connected(headroom) as client,
    ):
        await client.request("/livez")
        assert (await client.response()).complete
        assert await client.rest() == b""


async def test_expectation_is_answered_and_chunked_body_read(headroom: Headroom) -> None:
    """A client that waits for a 100 gets it; chunks are put together."""
    async with connected(headroom) as client:
        await client.send(
            b"POST /v1/messages HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        async with asyncio.timeout(FUSE_SECONDS):
            assert (await client.response_head()).status_line == "HTTP/1.1 100 Continue"
        await client.send(b"1;x=y\r\n{\r\n1\r\n}\r\n0\r\n\r\n")
        assert (await client.response()).status_line == "HTTP/1.1 200 OK"
    assert headroom.record.exchanges[0].body.text == "{}"


async def test_old_version_gets_a_stream_ended_by_closing(headroom: Headroom) -> None:
    """HTTP/1.0 knows no chunks."""
    async with connected(headroom) as client:
        length = str(len(STREAM)).encode()
        await client.send(
            b"POST /v1/messages HTTP/1.0\r\ncontent-length: %b\r\n\r\n%b" % (length, STREAM)
        )
        answer = await client.rest()
    assert b"transfer-encoding" not in answer
    assert answer.endswith(b'data: {"type":"message_stop"}\n\n')


async def test_head_request_gets_no_body(headroom: Headroom) -> None:
    """The length is announced and nothing follows."""
    async with connected(headroom) as client:
        await client.send(b"HEAD /livez HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        answer = await client.rest()
    assert b"content-length: " in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("known_length", [True, False])
async def test_body_over_the_limit_is_refused(known_length: bool) -> None:
    """The refusal arrives, whether the length was announced or not."""
    framing = b"content-length: 11" if known_length else b"transfer-encoding: chunked"
    async with (
        running_headroom(Settings(body_limit_bytes=10)) as headroom,
        connected(headroom) as client,
    ):
        await client.send(b"POST /v1/messages HTTP/1.1\r\nhost: h\r\n%b\r\n\r\n" % framing)
        await client.send(b"b\r\nhello world\r\n0\r\n\r\n")
        response = await client.response()
        assert await client.rest() == b""
    assert response.status_line == "HTTP/1.1 413 Payload Too Large"
    assert b"request_too_large" in response.body


GET = b"GET / HTTP/1.1\r\nhost: h\r\n"


@pytest.mark.parametrize(
    "received",
    [
        b"\x16\x03\x01\n",
        b"GET /\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET  / HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        GET + b"host: i\r\n\r\n",
        GET + b"a : b\r\n\r\n",
        GET + b"a: b\r\n folded\r\n\r\n",
        GET + b"a: b\n\r\n",
        GET + b"a: \x00\r\n\r\n",
        GET + b"content-length: +1\r\n\r\n",
        GET + b"content-length: 1\r\ncontent-length: 1\r\n\r\n",
        GET + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        GET + b"transfer-encoding: gzip, chunked\r\n\r\n",
        b"GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
        GET + b"transfer-encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        GET + b"transfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        GET + b"transfer-encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
    ],
)
async def test_malformed_request_is_refused_and_recorded(
    headroom: Headroom, received: bytes
) -> None:
    """A relay that lets such bytes through is found out."""
    async with connected(headroom) as client:
        await client.send(received)
        assert (await client.response()).status_line == "HTTP/1.1 400 Bad Request"
        [exchange] = await recorded(headroom, "done")
    assert exchange.kind == "malformed"


async def test_process_says_where_it_listens_and_stops_when_told() -> None:
    """The process serves, and SIGTERM ends it with status 0, streams under way or not."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.headroom", "--port", "0", "--mode", "stall"),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    async with asyncio.timeout(4 * FUSE_SECONDS):
        line = (await process.stdout.readline()).decode()
        assert line.startswith("stand-in for Headroom listening on http://127.0.0.1:")
        client = Client(*await asyncio.open_connection("127.0.0.1", int(line.rpartition(":")[2])))
        await client.request("/v1/messages", {}, STREAM)
        await client.response_head()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    client.leave()
