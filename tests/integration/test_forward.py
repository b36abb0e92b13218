"""What goes upstream: the target, the headers of each grant, and nothing of the agent's own."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from relay.http.memo import Memo
from tests.harness.configuration import configuration
from tests.harness.messages import CHAT, MESSAGES, OK, chunk, chunked_request, request
from tests.harness.peer import Agent, Request
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.secrets import (
    CREDENTIALS,
    CUSTOM_KEY,
    KEY,
    OAUTH,
    OPENAI_KEY,
    QUERY_SECRET,
    TOKEN,
)
from tests.harness.upstream import Upstream

CLAUDE: dict[str, Any] = {"grants": [{"name": "claude", "source": {"file": "oauth"}}]}
BETA = b"oauth-2025-04-20"


async def forwarded(agent: Agent, upstream: Upstream, data: bytes) -> Request:
    """Send a request through the relay and return what the upstream got of it."""
    upstream.answer_with(OK)
    answer = await agent.ask(data)
    assert answer.status == 200
    return upstream.requests[-1]


async def forwarded_by(folder: Path, upstream: Upstream, data: bytes, **changes: object) -> Request:
    """Send a request through a relay with this configuration."""
    async with running_relay(folder, configuration(upstream.port, **changes)) as relay:
        return await forwarded(await relay.agent(), upstream, data)


def credentials_in(got: Request) -> list[bytes]:
    """Return every header value that holds a credential, and see that no token is there."""
    assert TOKEN.encode() not in repr(got).encode()
    values = [value for _, value in got.fields]
    return [value for value in values if any(c.encode() in value for c in CREDENTIALS)]


# Grants


async def test_an_api_key_goes_as_x_api_key(agent: Agent, upstream: Upstream) -> None:
    """The anthropic grant sends x-api-key and no Authorization."""
    got = await forwarded(agent, upstream, request())
    assert got.values("x-api-key") == [KEY.encode()]
    assert got.values("authorization") == []
    assert credentials_in(got) == [KEY.encode()]


async def test_the_agents_tokens_are_replaced(agent: Agent, upstream: Upstream) -> None:
    """Both presentations of the token go, and one credential comes."""
    got = await forwarded(agent, upstream, request(MESSAGES, f"Authorization: Bearer {TOKEN}"))
    assert got.values("authorization") == []
    assert credentials_in(got) == [KEY.encode()]


async def test_an_oauth_token_goes_as_bearer(upstream: Upstream, tmp_path: Path) -> None:
    """The claude grant sends a bearer, its beta, and no x-api-key."""
    got = await forwarded_by(tmp_path, upstream, request(), **CLAUDE)
    assert got.values("authorization") == [f"Bearer {OAUTH}".encode()]
    assert got.values("x-api-key") == []
    assert got.values("anthropic-beta") == [BETA]
    assert credentials_in(got) == [f"Bearer {OAUTH}".encode()]


async def test_the_oauth_beta_is_merged_into_one_line(upstream: Upstream, tmp_path: Path) -> None:
    """The agent's own betas stay, in order, on one line with the grant's."""
    lines = ("anthropic-beta: claude-code-20250219,fine-grained-2025-05-14", "Anthropic-Beta: b-3")
    got = await forwarded_by(tmp_path, upstream, request(MESSAGES, *lines), **CLAUDE)
    (line,) = got.values("anthropic-beta")
    assert [item.strip() for item in line.split(b",")] == [
        b"claude-code-20250219",
        b"fine-grained-2025-05-14",
        b"b-3",
        BETA,
    ]


async def test_the_oauth_beta_is_not_said_twice(upstream: Upstream, tmp_path: Path) -> None:
    """A line that has the beta already stays as it is, byte for byte."""
    line = "anthropic-beta: oauth-2025-04-20,claude-code-20250219"
    got = await forwarded_by(tmp_path, upstream, request(MESSAGES, line), **CLAUDE)
    assert got.values("anthropic-beta") == [b"oauth-2025-04-20,claude-code-20250219"]


async def test_betas_are_merged_for_an_api_key_too(agent: Agent, upstream: Upstream) -> None:
    """Several lines become one list, without a beta of the relay's."""
    lines = ("anthropic-beta: one", "x-between: 1", "anthropic-beta: two, three")
    got = await forwarded(agent, upstream, request(MESSAGES, *lines))
    assert got.values("anthropic-beta") == [b"one, two, three"]


async def test_an_openai_key_goes_as_bearer(two_relays: LocalRelay, upstream: Upstream) -> None:
    """The openai grant sends a bearer, and nothing of Anthropic's."""
    agent = await two_relays.agent()
    lines = ("api-key: agents-own", f"Authorization: Bearer {TOKEN}", "anthropic-beta: a")
    got = await forwarded(agent, upstream, request(CHAT, *lines, "anthropic-beta: b", token=None))
    assert got.values("authorization") == [f"Bearer {OPENAI_KEY}".encode()]
    assert got.values("x-api-key") == got.values("api-key") == []
    assert got.values("anthropic-version") == []
    assert got.values("anthropic-beta") == [b"a", b"b"]
    assert credentials_in(got) == [f"Bearer {OPENAI_KEY}".encode()]


async def test_a_custom_grant_goes_as_it_says(upstream: Upstream, tmp_path: Path) -> None:
    """Header, format, remove and add are the grant's own."""
    grant = {
        "name": "gateway",
        "source": {"file": "custom_key"},
        "header": "X-Gateway-Auth",
        "format": "Key {}; v=1",
        "remove": ["X-Team"],
        "add": {"X-Tenant": "blue", "anthropic-beta": "extra-1"},
    }
    relays = {"gw": {"url": f"http://127.0.0.1:{upstream.port}", "grant": "gateway"}}
    lines = ("X-Team: red", "x-tenant: red", "x-gateway-auth: forged", "anthropic-beta: own")
    got = await forwarded_by(
        tmp_path,
        upstream,
        request("/relay/gw/v1/messages", *lines),
        grants=[grant],
        relays=relays,
        claude=None,
    )
    assert got.values("x-gateway-auth") == [f"Key {CUSTOM_KEY}; v=1".encode()]
    assert got.values("x-tenant") == [b"blue"]
    assert got.values("x-team") == []
    assert got.values("x-api-key") == got.values("authorization") == []
    assert got.values("anthropic-beta") == [b"own, extra-1"]


async def test_each_relay_has_its_own_credential(
    two_relays: LocalRelay, upstream: Upstream
) -> None:
    """Two relays at the same address never lend each other theirs."""
    agent = await two_relays.agent()
    first = await forwarded(agent, upstream, request(MESSAGES))
    second = await forwarded(agent, upstream, request(CHAT))
    assert credentials_in(first) == [KEY.encode()]
    assert credentials_in(second) == [f"Bearer {OPENAI_KEY}".encode()]


@pytest.mark.parametrize(
    "line",
    [
        "Connection: x-api-key",
        "Connection: close, X-API-Key, authorization",
        "Connection: keep-alive\r\nConnection: x-api-key",
        "Connection: x-api-key, host, content-length",
    ],
)
async def test_connection_cannot_strip_the_credential(
    agent: Agent, upstream: Upstream, line: str
) -> None:
    """A header that the agent names in Connection is there all the same, exactly once."""
    got = await forwarded(agent, upstream, request(MESSAGES, line))
    assert credentials_in(got) == [KEY.encode()]
    assert got.values("x-api-key") == [KEY.encode()]
    assert got.values("host") == [f"127.0.0.1:{upstream.port}".encode()]
    assert got.values("content-length") == [b"2"]
    assert got.body == b"{}"


# Version


async def test_a_version_is_sent_where_there_is_none(agent: Agent, upstream: Upstream) -> None:
    """Without anthropic-version Headroom takes the call for OpenAI's."""
    got = await forwarded(agent, upstream, request())
    assert got.values("anthropic-version") == [b"2023-06-01"]


async def test_the_agents_version_stays(agent: Agent, upstream: Upstream) -> None:
    """The agent's anthropic-version goes through, and no other."""
    got = await forwarded(agent, upstream, request(MESSAGES, "Anthropic-Version: 2031-01-01"))
    assert got.values("anthropic-version") == [b"2031-01-01"]


# Target and Host


@pytest.mark.parametrize(
    "rest",
    [
        "/v1/messages?beta=true",
        "/v1/messages?",
        "/v1/messages?a=%2e%2e/../x&b=%41%zz&&c=?",
        "/v1/messages/%41%2F%c3%a9%20",
        "/v1/messages/%252e%252e/x",
        "/v1/messages//double///slash",
        "/v1/models/claude-3.5:latest@x;y=1,2'(3)*!$&+~",
        '/v1/messages/{id}|"<>^`',
    ],
)
async def test_path_and_query_go_byte_for_byte(agent: Agent, upstream: Upstream, rest: str) -> None:
    """Nothing is decoded, escaped or tidied."""
    got = await forwarded(agent, upstream, request(f"/relay/anthropic{rest}"))
    assert got.start == f"POST {rest} HTTP/1.1".encode()


async def test_the_query_is_not_logged(agent: Agent, upstream: Upstream, relay: LocalRelay) -> None:
    """What stands behind the question mark is the agent's business."""
    await forwarded(agent, upstream, request(f"{MESSAGES}?key={QUERY_SECRET}"))
    (line,) = await relay.log.calls()
    assert line["path"] == MESSAGES


@pytest.mark.parametrize(
    ("suffix", "prefix"), [("/proxy", b"/proxy"), ("/a/b/", b"/a/b"), ("/", b"")]
)
async def test_the_upstreams_path_comes_first(
    upstream: Upstream, tmp_path: Path, suffix: str, prefix: bytes
) -> None:
    """A path in the upstream's URL stands before the agent's, with one slash between."""
    claude = {"base_url": f"http://127.0.0.1:{upstream.port}{suffix}"}
    data = request(f"{MESSAGES}?x=1")
    got = await forwarded_by(tmp_path, upstream, data, claude=claude)
    assert got.target == prefix + b"/v1/messages?x=1"


async def test_the_host_is_the_upstreams(agent: Agent, upstream: Upstream) -> None:
    """The agent's Host stays with the relay."""
    got = await forwarded(agent, upstream, request())
    assert got.values("host") == [f"127.0.0.1:{upstream.port}".encode()]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "get"])
async def test_methods_go_as_they_are(agent: Agent, upstream: Upstream, method: str) -> None:
    """Any method is relayed, in its own spelling and without a body that it has not."""
    got = await forwarded(agent, upstream, request(method=method, body=None))
    assert got.method == method.encode()
    assert got.values("content-length") == got.values("transfer-encoding") == []


# Other headers

NEVER_FORWARDED = (
    *("Cookie: session=1", "Cookie2: $Version=1", "api-key: one", "X-Goog-Api-Key: two"),
    *("Proxy-Authorization: Basic eDp5", "Proxy-Connection: keep-alive"),
    *("Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Host: evil.example"),
    *("X-Original-URL: /admin", "X-Rewrite-URL: /admin"),
    *("X-Headroom-Base-Url: http://evil.example", "x-headroom-bypass: 1"),
    *("X-Relay-Call: 0123456789abcdef", "Keep-Alive: timeout=5", "TE: trailers"),
    *("Trailer: x-checksum", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", "x_api_key: underscored"),
    *("X_Forwarded_For: 192.0.2.1", "Connection: keep-alive, X-Named", "X-Named: by connection"),
)


async def test_headers_that_are_not_for_the_upstream_stop_here(
    agent: Agent, upstream: Upstream
) -> None:
    """Hop-by-hop, authenticating and steering headers are dropped, each of them."""
    got = await forwarded(agent, upstream, request(MESSAGES, *NEVER_FORWARDED, "X-Last: 1"))
    assert sorted(got.names) == [
        b"anthropic-version",
        b"content-length",
        b"host",
        b"x-api-key",
        b"x-last",
    ]


async def test_unknown_headers_pass_in_order_and_spelling(agent: Agent, upstream: Upstream) -> None:
    """Headers that nobody has heard of cross as they are, repeated ones too."""
    lines = (
        "X-Claude-Code-Session-Id: 1c-2",
        "x-Strange-NAME: a",
        "User-Agent: claude-cli/3.1 (external, cli)",
        "Accept: application/json",
        "X-STRANGE-name: b, c",
        "Accept-Encoding: gzip, br",
        "x-empty:",
        "x-latin: caf\xe9",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )
    got = await forwarded(agent, upstream, request(MESSAGES, *lines))
    passed = [name + b": " + value for name, value in got.fields]
    position = passed.index(lines[0].encode())
    wanted = [line.replace("x-empty:", "x-empty: ").encode("latin-1") for line in lines]
    assert passed[position : position + len(lines)] == wanted


@pytest.mark.parametrize(
    ("accepted", "sent"),
    [
        ("gzip, deflate, br, zstd", "gzip, deflate, br, zstd"),
        ("gzip,br", "gzip,br"),
        ("GZip;q=1.0 , identity;q=0.5", "GZip;q=1.0 , identity;q=0.5"),
        ("gzip, compress, br", "gzip, br"),
        ("dcb, dcz, gzip;q=0.8", "gzip;q=0.8"),
        ("*", "identity"),
        ("gzip, *;q=0.1", "gzip"),
        ("compress", "identity"),
        ("compress, exi;q=0.5", "identity"),
        ("identity", "identity"),
        ("", ""),
    ],
)
async def test_codings_that_cannot_be_read_are_not_asked_for(
    agent: Agent, upstream: Upstream, accepted: str, sent: str
) -> None:
    """What is left stays as it was; nothing is added but identity, in place of nothing."""
    line = f"Accept-Encoding: {accepted}"
    got = await forwarded(agent, upstream, request(MESSAGES, line))
    assert got.values("accept-encoding") == [sent.encode()]


async def test_codings_that_nobody_named_stay_unnamed(agent: Agent, upstream: Upstream) -> None:
    """An absent Accept-Encoding is none of the relay's business."""
    got = await forwarded(agent, upstream, request())
    assert got.values("accept-encoding") == []


async def test_each_line_of_accept_encoding_is_restricted(agent: Agent, upstream: Upstream) -> None:
    """Wherever a coding stands, it is not asked for."""
    lines = ("Accept-Encoding: gzip, exi", "x-between: 1", "accept-encoding: compress, br")
    got = await forwarded(agent, upstream, request(MESSAGES, *lines))
    assert got.values("accept-encoding") == [b"gzip", b"br"]


async def test_nothing_is_added_of_the_relays_own(agent: Agent, upstream: Upstream) -> None:
    """No User-Agent, Accept, Via or the like is made up."""
    got = await forwarded(agent, upstream, request(method="GET", body=None))
    assert sorted(got.names) == [b"anthropic-version", b"host", b"x-api-key"]


async def test_trailers_are_dropped(agent: Agent, upstream: Upstream) -> None:
    """Fields behind the last chunk stay with the relay."""
    data = chunked_request() + chunk(b"body") + b"0\r\nX-Api-Key: forged\r\nx-sum: 1\r\n\r\n"
    got = await forwarded(agent, upstream, data)
    assert got.body == b"body"
    assert got.values("x-sum") == []
    assert credentials_in(got) == [KEY.encode()]
    assert upstream.callers[-1].received == b""


# The answer's head


async def test_the_upstreams_headers_pass(agent: Agent, upstream: Upstream) -> None:
    """Status, reason, order and spelling are the upstream's; the relay adds no Server."""
    lines = (
        b"Server: uvicorn",
        b"request-id: req_1",
        b"X-Odd-CASE: a",
        b"anthropic-ratelimit-requests-remaining: 3",
        b"x-odd-case: b",
        b"Content-Type: application/json",
    )
    head = b"\r\n".join([b"HTTP/1.1 200 Very Well", *lines, b"Content-Length: 2", b"", b"{}"])
    upstream.answer_with(head)
    answer = await agent.ask(request())
    assert answer.start == b"HTTP/1.1 200 Very Well"
    passed = [name + b": " + value for name, value in answer.fields]
    assert passed == [*lines, b"content-length: 2"]


async def test_headers_that_are_not_for_the_agent_stop_here(
    agent: Agent, upstream: Upstream
) -> None:
    """Cookies, hop-by-hop headers and what would open the answer to web pages are dropped."""
    lines = (
        *(b"Set-Cookie: a=1; Path=/", b"set-cookie: b=2", b"Connection: keep-alive, x-named"),
        *(b"X-Named: 1", b"Keep-Alive: timeout=5", b"Proxy-Authenticate: Basic"),
        *(b"Access-Control-Allow-Origin: *", b"X-Relay-Error: rejected"),
        *(b'Alt-Svc: h3="127.0.0.1:1"', b"Trailer: x-sum", b"x-kept: 1"),
    )
    upstream.answer_with(
        b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"content-length: 2", b"", b"ok"])
    )
    answer = await agent.ask(request())
    assert answer.names == [b"x-kept", b"content-length"]


async def test_cookies_are_not_kept(agent: Agent, upstream: Upstream) -> None:
    """A cookie that an upstream sets never comes back to it."""
    upstream.answer_with(b"HTTP/1.1 200 OK\r\nset-cookie: sid=1\r\ncontent-length: 2\r\n\r\nok")
    for _ in range(2):
        await agent.ask(request())
    assert len(upstream.requests) == 2
    assert all(got.values("cookie") == [] for got in upstream.requests)


# What is remembered of it


async def test_nothing_of_anybody_is_remembered(agent: Agent, upstream: Upstream) -> None:
    """No token, no cookie, no query, and nothing of an answer."""
    lines = ("Cookie: jar-7Yq2", "X-Own-Key: key-7Yq2", "Proxy-Authorization: Basic pw-7Yq2")
    said = b"Set-Cookie: sid=7Yq2\r\nrequest-id: req-7Yq2\r\nX-Answer: a-7Yq2"
    upstream.answer_with(OK.replace(b"\r\n", b"\r\n" + said + b"\r\n", 1))
    answer = await agent.ask(request(MESSAGES + "?key=q-7Yq2", *lines))
    assert answer.status == 200
    assert answer.values("request-id") == [b"req-7Yq2"]
    memos = [each for each in gc.get_objects() if isinstance(each, Memo)]
    kept = [key for memo in memos for key in memo]
    assert b"/relay/anthropic/v1/messages" in kept
    told = (b"7Yq2", TOKEN.encode(), KEY.encode(), b"?", b"HTTP/1.1 200")
    assert [key for key in kept if any(each in key for each in told)] == []
