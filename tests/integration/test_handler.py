"""One call after another: who is refused, and what is counted and logged."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import NoReturn

import pytest

from tests.harness.configuration import configuration
from tests.harness.expectations import GONE_SECONDS, check_error
from tests.harness.messages import (
    CHAT,
    CHUNKED,
    MESSAGES,
    OK,
    OK_BODY,
    chunk,
    chunked_request,
    request,
)
from tests.harness.peer import Agent, Caller
from tests.harness.relay import LocalRelay, begin_upload, running_relay
from tests.harness.secrets import BODY_SECRET, KEY, OTHER_TOKEN, QUERY_SECRET, TOKEN
from tests.harness.upstream import Upstream
from tests.integration.test_exchange import PIECE, SIZED

CLIENTS = [
    {"name": "agent", "token": {"file": "token"}},
    {"name": "other", "token": {"file": "other_token"}},
]


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
    await relay.log.says("a fault of the relay")
    assert any("details of the fault" in line for line in relay.log.text)
    assert await relay.outcomes() == {("internal_error", "none"): 1}
    relay.log.text.clear()
    upstream.answer_with(OK)
    assert (await agent.ask(request())).status == 200


async def test_a_fault_while_a_body_is_sent_is_500_at_once(
    agent: Agent, upstream: Upstream, relay: LocalRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for an answer to a request that will never be whole."""
    caller, got = await begin_upload(agent, upstream)

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
