"""One call after another: who is refused, what an upstream's faults come to, what is counted."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import NoReturn

import pytest

from tests.harness.configuration import configuration
from tests.harness.expectations import GONE_SECONDS, check_error, check_gone
from tests.harness.messages import (
    CHAT,
    CHUNKED,
    MESSAGES,
    OK,
    OK_BODY,
    STOP,
    chunk,
    chunked_request,
    request,
)
from tests.harness.peer import Agent, Caller
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.secrets import BODY_SECRET, KEY, OTHER_TOKEN, QUERY_SECRET, TOKEN
from tests.harness.upstream import Upstream

SIZED = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"
CLOSE_DELIMITED = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n"
HEADS = {"chunked": CHUNKED, "sized": SIZED, "close-delimited": CLOSE_DELIMITED}
PIECE = b"data: one\n\n"
CLIENTS = [
    {"name": "agent", "token": {"file": "token"}},
    {"name": "other", "token": {"file": "other_token"}},
]


def framed(kind: str, piece: bytes) -> bytes:
    """Return a piece of a body as an answer of this framing holds it."""
    return chunk(piece) if kind == "chunked" else piece


# Who is refused, in this order


async def test_an_unknown_relay_is_404(agent: Agent, relay: LocalRelay) -> None:
    """Only configured names are relays, and only in exactly their spelling."""
    for target in ("/", "/relay", "/relay/", "/relay/nobody/v1/messages", "/RELAY/anthropic/v1/x",
                   "//relay/anthropic/v1/messages", "/relay/Anthropic/v1/messages",
                   "/relay//v1/messages", "/relay/%61nthropic/v1/messages", "/v1/messages",
                   "/metrics", "/healthz"):  # fmt: skip
        answer = await agent.ask(request(target))
        check_error(answer, 404, "rejected", "not_found_error")
        assert answer.values("x-should-retry") == [b"false"]
    assert await relay.samples("relay_rejections_total", "reason") == {("relay",): 12}


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["x-api-key: relay-wrong"],
        ["x-api-key:"],
        ["Authorization: Bearer relay-wrong"],
        [f"Authorization: {TOKEN}"],
        [f"Authorization: Basic {TOKEN}"],
        ["Authorization: Bearer"],
        [f"x-api-key: {TOKEN}", "Authorization: Bearer relay-wrong"],
        ["x-api-key: relay-wrong", f"Authorization: Bearer {TOKEN}"],
        [f"x-api-key: {TOKEN}", "x-api-key: relay-wrong"],
        [f"x-api-key: {TOKEN}", f"x-api-key: {OTHER_TOKEN}"],
        [f"x-api-key: {TOKEN}", f"Authorization: Bearer {OTHER_TOKEN}"],
        [f"x-api-key: {TOKEN}", "Authorization: Basic dTpw"],
        [f"x-api-key: {TOKEN[:-1]}"],
        [f"x-api-key: {TOKEN}x"],
        [f"x-api-key: {TOKEN}\xe9"],
        ["Authorization: Bearer \xfc\xfc"],
        [f"api-key: {TOKEN}"],
        [f"Cookie: x-api-key={TOKEN}"],
        [f"x-api-key: {KEY}"],
    ],
)
async def test_a_wrong_token_is_401(upstream: Upstream, tmp_path: Path, lines: list[str]) -> None:
    """Every token presented must be right, and the same client's."""
    async with running_relay(tmp_path, configuration(upstream.port, clients=CLIENTS)) as relay:
        answer = await relay.ask(request(MESSAGES, *lines, token=None))
        check_error(answer, 401, "rejected", "authentication_error")
        assert answer.values("x-should-retry") == [b"false"]
        assert upstream.callers == []
        assert await relay.outcomes() == {("rejected", "none"): 1}
        labels = await relay.samples("relay_requests_total", "relay", "client", "operation")
        assert labels == {("anthropic", "none", "messages"): 1}
        assert await relay.samples("relay_rejections_total", "reason") == {("token",): 1}


async def test_a_token_in_the_query_never_counts(agent: Agent, upstream: Upstream) -> None:
    """Addresses end up in logs: no token is taken from one."""
    for name in ("x-api-key", "api_key", "key", "token"):
        answer = await agent.ask(request(f"{MESSAGES}?{name}={TOKEN}", token=None))
        assert answer.status == 401
    assert upstream.callers == []


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([f"x-api-key: {TOKEN}"], "agent"),
        ([f"X-API-KEY:   {TOKEN}  "], "agent"),
        ([f"Authorization: Bearer {TOKEN}"], "agent"),
        ([f"authorization: bearer {TOKEN}"], "agent"),
        ([f"x-api-key: {TOKEN}", f"Authorization: Bearer {TOKEN}"], "agent"),
        ([f"x-api-key: {TOKEN}", f"x-api-key: {TOKEN}"], "agent"),
        ([f"x-api-key: {OTHER_TOKEN}"], "other"),
    ],
)
async def test_a_token_counts_however_it_is_presented(
    upstream: Upstream, tmp_path: Path, lines: list[str], client: str
) -> None:
    """SDKs send an API key in either header, Claude Code's helper in both."""
    upstream.answer_with(OK)
    async with running_relay(tmp_path, configuration(upstream.port, clients=CLIENTS)) as relay:
        assert (await relay.ask(request(MESSAGES, *lines, token=None))).status == 200
        await relay.log.calls()
        labels = await relay.samples("relay_requests_total", "client", "outcome", "code")
        assert labels == {(client, "ok", "200"): 1}


@pytest.mark.parametrize(
    "path",
    [
        "/stats", "/dashboard", "/admin/x", "/debug/y", "/settings", "/cache/clear", "/v1", "/v1/",
        "/v1/retrieve", "/v1/compress", "/v1/telemetry", "/v1/toin", "/v1/feedback", "/v1/usage",
        "/v1/messagesx", "/V1/messages", "/v1//messages", "/v1/%6dessages",
        "/v1/messages%2fbatches", "/v1/chat/completions", "//v1/messages", "/",
        "/api/hello/x", "/v1/messages;x",
    ],
)  # fmt: skip
async def test_a_path_that_is_not_allowed_is_403(
    agent: Agent, upstream: Upstream, relay: LocalRelay, path: str
) -> None:
    """What Headroom has beside the API is not the agent's."""
    answer = await agent.ask(request(f"/relay/anthropic{path}"))
    check_error(answer, 403, "rejected", "permission_error")
    assert answer.values("x-should-retry") == [b"false"]
    assert upstream.callers == []
    assert await relay.samples("relay_rejections_total", "reason") == {("path",): 1}


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1"])
async def test_a_web_page_is_refused(agent: Agent, upstream: Upstream, origin: str) -> None:
    """An Origin is refused, the token notwithstanding, and no CORS header is ever sent."""
    for method in ("POST", "OPTIONS"):
        answer = await agent.ask(request(MESSAGES, f"Origin: {origin}", method=method))
        check_error(answer, 403, "rejected", "permission_error")
        assert not any(name.startswith(b"access-control") for name in answer.names)
    assert upstream.callers == []


async def test_a_websocket_is_426(two_relays: LocalRelay, upstream: Upstream) -> None:
    """Codex tries one first, and falls back on this status."""
    agent = await two_relays.agent()
    lines = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    answer = await agent.ask(request("/relay/openai/v1/responses", *lines, method="GET", body=None))
    assert answer.status == 426
    assert answer.outcome == "rejected"
    assert answer.error["type"] == "invalid_request_error"
    assert b"upgrade" in answer.names
    assert upstream.callers == []
    assert (await agent.ask(request("/relay/nobody/x"))).status == 404


ORDER = [
    (400, "/relay/nobody/../x", None, "Origin: null"),
    (403, "/relay/nobody/x", None, "Origin: null"),
    (404, "/relay/nobody/stats", None, "Upgrade: websocket"),
    (426, "/relay/anthropic/stats", None, "Upgrade: WebSocket"),
    (401, "/relay/anthropic/stats", None, "x-any: 1"),
    (403, "/relay/anthropic/stats", TOKEN, "x-any: 1"),
]


@pytest.mark.parametrize(("status", "target", "token", "line"), ORDER)
async def test_the_checks_have_an_order(
    agent: Agent, status: int, target: str, token: str | None, line: str
) -> None:
    """Of several mistakes, the one is told that does not give away the others' answer."""
    assert (await agent.ask(request(target, line, token=token))).status == status


async def test_the_error_has_the_shape_of_the_api(two_relays: LocalRelay) -> None:
    """Behind an OpenAI relay, errors are OpenAI's."""
    answer = await two_relays.ask(request(CHAT, token=None))
    assert answer.status == 401
    assert set(json.loads(answer.body)) == {"error"}
    assert set(answer.error) == {"type", "message", "param", "code"}
    assert answer.error["type"] == "authentication_error"


@pytest.mark.parametrize(
    ("method", "path"),
    [("HEAD", ""), ("HEAD", "/"), ("HEAD", "/api/hello"), ("GET", "/api/hello")],
)
async def test_probes_are_answered_by_the_relay(
    agent: Agent, upstream: Upstream, relay: LocalRelay, method: str, path: str
) -> None:
    """Claude Code asks whether anybody is there: 200, empty, without a token or a trace."""
    upstream.answer_with(OK)
    data = request(f"/relay/anthropic{path}", method=method, body=None, token=None)
    answer = await agent.ask(data)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.values("content-length") == [b"0"]
    assert upstream.callers == []
    assert (await agent.ask(request())).status == 200
    assert await relay.outcomes() == {("ok", "200"): 1}


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/api/hello")])
async def test_what_is_no_probe_needs_a_token(agent: Agent, method: str, path: str) -> None:
    """Probes are those two paths and methods and no others."""
    data = request(f"/relay/anthropic{path}", method=method, body=None, token=None)
    assert (await agent.ask(data)).status == 401


async def test_a_probe_of_no_relay_is_404(agent: Agent) -> None:
    """A relay that is not there has no probes."""
    data = request("/relay/nobody", method="HEAD", body=None)
    answer = await agent.ask(data)
    assert (answer.status, answer.body) == (404, b"")


# Without clients, on loopback


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8484", 200),
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("[::1]:8484", 200),
        ("127.9.9.9", 200),
        ("evil.example", 421),
        ("evil.example:8484", 421),
        ("localhost.evil.example", 421),
        ("192.0.2.7", 421),
        ("0.0.0.0", 421),
    ],
)
async def test_without_clients_the_host_must_be_our_own(
    upstream: Upstream, tmp_path: Path, host: str, status: int
) -> None:
    """A page that rebinds its name to loopback still sends that name."""
    upstream.answer_with(OK)
    async with running_relay(tmp_path, configuration(upstream.port, clients=[])) as relay:
        data = f"POST {MESSAGES} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\n{{}}"
        answer = await relay.ask(data.encode())
        assert answer.status == status
        assert len(upstream.requests) == (status == 200)
        if status == 421:
            check_error(answer, 421, "rejected", "invalid_request_error")


@pytest.mark.parametrize(
    ("site", "status"),
    [("none", 200), ("same-origin", 200), ("cross-site", 403), ("same-site", 403)],
)
async def test_without_clients_a_browsers_call_is_refused(
    upstream: Upstream, tmp_path: Path, site: str, status: int
) -> None:
    """A page that posts to loopback says so in Sec-Fetch-Site."""
    upstream.answer_with(OK)
    async with running_relay(tmp_path, configuration(upstream.port, clients=[])) as relay:
        data = request(MESSAGES, f"Sec-Fetch-Site: {site}", token="whatever")
        answer = await relay.ask(data.replace(b"relay.test", b"localhost"))
        assert answer.status == status
        assert len(upstream.requests) == (status == 200)


# Credentials


async def test_a_missing_credential_is_503(upstream: Upstream, tmp_path: Path) -> None:
    """A grant without a value is said, counts as no_credential, and mends itself."""
    (tmp_path / "key").write_text("\n")
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        answer = await relay.ask(request())
        check_error(answer, 503, "no_credential", "api_error")
        assert answer.values("x-should-retry") == [b"false"]
        assert answer.values("retry-after") == []
        assert await relay.outcomes() == {("no_credential", "none"): 1}
        assert await relay.samples("relay_rejections_total", "reason") == {}
        assert (await relay.ask(request(token=None))).status == 401
        assert upstream.callers == []
        (tmp_path / "key").write_text(KEY)
        upstream.answer_with(OK)
        assert (await relay.ask(request())).status == 200
        assert upstream.requests[0].values("x-api-key") == [KEY.encode()]


async def test_a_missing_token_is_401(upstream: Upstream, tmp_path: Path) -> None:
    """A client without a token cannot call, with an empty one least of all."""
    (tmp_path / "token").write_text("")
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        for lines in (["x-api-key:"], ["Authorization: Bearer "], []):
            answer = await relay.ask(request(MESSAGES, *lines, token=None))
            assert answer.status == 401
        assert upstream.callers == []


async def test_draining_is_503(agent: Agent, upstream: Upstream, relay: LocalRelay) -> None:
    """A stopping relay says when to come again, behind the token and path."""
    busy = await relay.agent()
    await busy.send(request())
    caller, _ = await upstream.called()
    await agent.send(f"POST {MESSAGES} HTTP/1.1\r\nHost: h\r\n".encode())
    waiting = await relay.agent()
    await waiting.send(b"POST /relay/anthropic/stats HTTP/1.1\r\nHost: h\r\n")
    relay.app.lifecycle.draining = True
    answer = await agent.ask(f"x-api-key: {TOKEN}\r\n\r\n".encode())
    check_error(answer, 503, "rejected", "overloaded_error")
    assert answer.values("retry-after") == [b"1"]
    assert answer.values("x-should-retry") == []
    assert await agent.gone() == "end"
    assert (await waiting.ask(f"x-api-key: {TOKEN}\r\n\r\n".encode())).status == 403
    await caller.send(OK)
    assert (await busy.answer()).body == OK_BODY
    await relay.log.calls(3)
    reasons = await relay.samples("relay_rejections_total", "reason")
    assert reasons == {("draining",): 1, ("path",): 1}


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
    await agent.send(chunked_request() + chunk(b"up"))
    caller = await upstream.accepted()
    got = await caller.head()
    assert await caller.piece(got) == b"up"
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
    await agent.send(chunked_request() + chunk(b"up"))
    caller = await upstream.accepted()
    got = await caller.head()
    assert await caller.piece(got) == b"up"
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
    upstream.stop_listening()
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
    config = configuration(upstream.port, timeouts={"idle": 0.2, "headers": 0.2})
    async with running_relay(tmp_path, config) as relay:
        agent = await relay.agent()
        await agent.send(request())
        caller, _ = await upstream.called()
        await caller.send(CHUNKED)
        answer = await agent.head()
        loop = asyncio.get_running_loop()
        end = loop.time() + 0.6
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
        upstream.stop_listening()
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


# What is counted and logged


async def test_a_calls_line_says_what_it_was(
    agent: Agent, upstream: Upstream, relay: LocalRelay
) -> None:
    """Relay, client, grant, operation, whose it was, how it ended; no query, header or body."""
    body = json.dumps({"model": "m", "metadata": BODY_SECRET}).encode()
    upstream.answer_with(OK.replace(b'"ok"', b'"%b"' % BODY_SECRET[:2].encode()))
    lines = (
        "X-Note: h-1",
        "x-claude-code-session-id: 1c-2",
        "x-claude-code-agent-id: a-7",
        "x-claude-code-parent-agent-id: a-1",
    )
    await agent.ask(request(f"{MESSAGES}?secret={QUERY_SECRET}", *lines, body=body))
    (line,) = await relay.log.calls()
    assert (line["session_id"], line["agent_id"]) == ("1c-2", "a-7")
    assert (line["parent_agent_id"], line["grant"]) == ("a-1", "anthropic")
    assert line["relay"] == "anthropic"
    assert line["client"] == "agent"
    assert line["method"] == "POST"
    assert line["path"] == MESSAGES
    assert line["operation"] == "messages"
    assert (line["status"], line["outcome"]) == (200, "ok")
    assert (line["request_bytes"], line["response_bytes"]) == (len(body), len(OK_BODY))
    assert 0 < line["first_byte"] <= line["duration"]
    assert "h-1" not in relay.log.text[-1]


@pytest.mark.parametrize(
    ("target", "operation"),
    [
        (MESSAGES, "messages"),
        (f"{MESSAGES}/count_tokens", "count_tokens"),
        (f"{MESSAGES}/batches/x", "batches"),
        ("/relay/anthropic/v1/models/x", "models"),
        ("/relay/anthropic/v1/files", "files"),
        ("/relay/anthropic/v1/complete", "other"),
        (CHAT, "chat_completions"),
        ("/relay/openai/v1/responses", "responses"),
        ("/relay/openai/v1/embeddings", "embeddings"),
    ],
)
async def test_the_operation_is_the_paths(
    two_relays: LocalRelay, upstream: Upstream, target: str, operation: str
) -> None:
    """Each call counts under its relay and operation."""
    relay = two_relays
    upstream.answer_with(OK)
    await relay.ask(request(target))
    await relay.log.calls()
    name = target.split("/")[2]
    counted = await relay.samples("relay_requests_total", "relay", "client", "operation", "outcome")
    assert counted == {(name, "agent", operation, "ok"): 1}
    duration = await relay.samples("relay_request_duration_seconds_count", "relay", "operation")
    assert duration == {(name, operation): 1}


async def test_faults_of_every_kind_leave_nothing_in_flight(
    relay: LocalRelay, upstream: Upstream
) -> None:
    """After a mixture of ends, the gauge is back at zero and every call counted once."""
    ends = (
        (OK, Caller.leave),
        (SIZED, Caller.leave),
        (CHUNKED + chunk(PIECE), Caller.reset),
        (b"", Caller.leave),
        (b"?", Caller.reset),
    )
    for data, end in ends:
        agent = await relay.agent()
        await agent.send(request())
        caller, _ = await upstream.called()
        await caller.send(data)
        answer = await agent.head() if data.startswith(b"HTTP") else None
        end(caller)
        await agent.finish(answer or await agent.head())
    assert await relay.outcomes(5) == {
        ("ok", "200"): 1,
        ("truncated", "200"): 2,
        ("upstream_error", "none"): 2,
    }
    assert await relay.in_flight() == 0


async def test_a_fault_of_the_relay_is_500(
    agent: Agent, upstream: Upstream, relay: LocalRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug shows as a fixed text, is logged, and harms no other call."""

    def fail(*_: object) -> None:
        raise ValueError("details of the fault")

    with monkeypatch.context() as patched:
        patched.setattr("relay.proxy.handler.check_path", fail)
        answer = await agent.ask(request())
    check_error(answer, 500, "internal_error", "api_error")
    assert b"details" not in answer.body
    assert "details of the fault" in relay.log.text[-1]
    assert await relay.outcomes() == {("internal_error", "none"): 1}
    relay.log.text.clear()
    upstream.answer_with(OK)
    assert (await agent.ask(request())).status == 200


async def test_a_fault_while_a_body_is_sent_is_500_at_once(
    agent: Agent, upstream: Upstream, relay: LocalRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for an answer to a request that will never be whole."""
    await agent.send(chunked_request() + chunk(b"up"))
    caller = await upstream.accepted()
    got = await caller.head()
    assert await caller.piece(got) == b"up"

    def fail(*_: object) -> NoReturn:
        raise ValueError("details of the fault")

    monkeypatch.setattr("relay.proxy.request.AgentBody._account", fail)
    async with asyncio.timeout(GONE_SECONDS):
        answer = await agent.ask(chunk(b"more"))
        await caller.finish(got)
    check_error(answer, 500, "internal_error", "api_error")
    assert not got.complete
    assert await relay.outcomes() == {("internal_error", "none"): 1}
    assert any("details of the fault" in line for line in relay.log.text)
    relay.log.text.clear()


async def test_a_fault_while_a_body_is_sent_breaks_an_early_answer_off(
    agent: Agent, upstream: Upstream, relay: LocalRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that has begun cannot become another one."""
    await agent.send(chunked_request() + chunk(b"up"))
    caller = await upstream.accepted()
    await caller.send(CHUNKED + chunk(PIECE))
    answer = await agent.head()
    assert await agent.piece(answer) == PIECE

    def fail(*_: object) -> NoReturn:
        raise ValueError("details of the fault")

    monkeypatch.setattr("relay.proxy.request.AgentBody._account", fail)
    async with asyncio.timeout(GONE_SECONDS):
        await agent.send(chunk(b"more"))
        await agent.finish(answer)
    assert not answer.complete
    assert await relay.outcomes() == {("internal_error", "200"): 1}
    relay.log.text.clear()
