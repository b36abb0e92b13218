"""Which headers cross to the upstream: all but those that are never forwarded."""

from __future__ import annotations

from typing import Final

import pytest

from tests.wire.case import Case, Seen, relayed, request, specified
from tests.wire.ends import Ends
from tests.wire.playing import check

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERSION: Final = b"anthropic-version: 2023-06-01"
BETA: Final = b"oauth-2025-04-20"


def sending(
    name: str,
    *lines: bytes,
    crosses: tuple[bytes, ...] = (),
    own: tuple[bytes, ...] | None = None,
    relay: bytes = b"anthropic",
) -> Case:
    """Return the case of a request with these lines, and those of them that cross."""
    sent = request(
        b"\r\n".join([*lines, b"Content-Length: 2"]),
        start=b"POST /relay/" + relay + b"/v1/messages HTTP/1.1",
    )
    closes = any(b"close" in line.lower().partition(b"connection:")[2] for line in lines)
    return relayed(name, sent, Seen(fields=crosses, own=own, relay=relay), closes=closes)


DROPPED: Final = [
    sending(f"{line.decode('latin-1')} is dropped", line, b"X-Stays: here", crosses=(b"X-Stays: here",))
    for line in (
        *(b"Connection: keep-alive", b"Connection: close", b"Connection:", b"Keep-Alive: timeout=5"),
        *(b"TE: trailers", b"te: gzip", b"Trailer: X-A", b"Upgrade: h2c", b"Upgrade: TLS/1.0", b"HTTP2-Settings: x"),
        *(b"api-key: x", b"API-KEY: x", b"x-goog-api-key: x", b"X-Goog-Api-Key: x", b"Cookie: a=b", b"cookie: a", b"Cookie2: a"),
        *(b"Proxy-Authorization: Basic x", b"Proxy-Connection: keep-alive", b"Proxy-Authenticate: x", b"proxy-anything: x"),
        *(b"Forwarded: for=1.2.3.4", b"FORWARDED: host=x", b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-Host: evil.test"),
        *(b"X-Forwarded-Proto: https", b"x-forwarded-prefix: /admin", b"X-FORWARDED-anything: x", b"X-Forwarded-: x"),
        *(b"X-Original-URL: /admin", b"X-Original-Host: x", b"x-original-anything: x", b"X-Rewrite-URL: /admin", b"x-rewrite-x: y"),
        *(b"x-headroom-base-url: http://evil.test", b"X-Headroom-Base-Url: x", b"X-HEADROOM-anything: x", b"x-headroom-: x"),
        *(b"x-relay-error: no_credential", b"X-Relay-Call: x", b"X-RELAY-anything: x", b"x-relay-: x", b"x-relay-probe: 1"),
        *(b"x_api_key: x", b"x_headroom_base_url: x", b"X_Forwarded_For: x", b"content_length: 5", b"transfer_encoding: chunked"),
        *(b"_: x", b"a_: x", b"_a: x", b"X-A_b: c", b"anthropic_beta: x", b"Host_: x", b"Expect: something-else"),
    )
]  # fmt: skip

NAMED: Final = [
    sending(f"{connection.decode()} takes {line.decode()} with it", connection, line, b"X-Stays: here", crosses=(b"X-Stays: here",))
    for connection, line in (
        (b"Connection: x-secret", b"X-Secret: y"),
        (b"Connection: X-SECRET", b"x-secret: y"),
        (b"connection: keep-alive, X-Secret", b"X-Secret: y"),
        (b"Connection: close, X-Secret", b"X-Secret: y"),
        (b"Connection: X-Secret,", b"X-Secret: y"),
        (b"Connection: , ,X-Secret", b"X-Secret: y"),
        (b"Connection:\t X-Secret \t", b"X-Secret: y"),
        (b"Connection: a,b,x-secret,c", b"X-Secret: y"),
        (b"Connection: keep-alive\r\nConnection: x-secret", b"X-Secret: y"),
        (b"Connection: x-secret", b"X-Secret: y\r\nX-Secret: z"),
        (b"Connection: accept", b"Accept: x"),
        (b"Connection: anthropic-version", b"anthropic-version: 1999-01-01"),
        (b"Connection: anthropic-beta", b"anthropic-beta: x"),
    )
] + [
    sending("Connection names its own length", b"Connection: content-length"),
    sending("Connection names Host and Connection", b"Connection: host, connection"),
    sending("Connection names what is not there", b"Connection: x-nothing"),
    sending("Connection names in quotes", b'Connection: "x-a"', b"X-A: b", crosses=(b"X-A: b",)),
    sending("what Connection names in part stays", b"Connection: x-a", b"X-Ab: c", crosses=(b"X-Ab: c",)),
    relayed(
        "Connection names Transfer-Encoding",
        request(b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"),
        Seen(chunked=True),
    ),
]  # fmt: skip

CROSSES: Final = [
    sending(f"{line.decode('latin-1')} crosses", line, crosses=(line,))
    for line in (
        *(b"Accept: */*", b"Accept-Encoding: gzip", b"accept-encoding: gzip, deflate", b"Content-Type: application/json"),
        *(b'content-type: a/b; c="d"', b"Content-Encoding: gzip", b"User-Agent: claude-cli/2.0 (external, cli)", b"x-app: cli"),
        *(b"X-Stainless-Retry-Count: 0", b"anthropic-beta: a-1,b-2", b"anthropic-beta: a-1 ,  b-2,", b"Anthropic-Beta: x"),
        *(b"anthropic-dangerous-direct-browser-access: true", b"x-request-id: abc", b"traceparent: 00-1-2-01"),
        *(b"Range: bytes=0-5", b'If-None-Match: "x"', b"Via: 1.1 x", b"X-Unheard-Of: \xc3\xa9", b"Accept-Language: *"),
        *(b"X-Real-IP: 1.2.3.4", b"Authorization-Info: x", b"x-api-keys: y", b"x-api-key-2: y", b"xx-api-key: y", b"Cookies: y"),
        *(b"ProxyConnection: x", b"X-Forwarded: x", b"X-Originals: x", b"X-Headroom: x", b"X-Relay: x", b"Upgrade-Insecure-Requests: 1"),
        *(b"X-Claude-Code-Session-Id: abc", b"Idempotency-Key: x", b"Date: now", b"Content-MD5: x", b"Priority: u=1"),
    )
]  # fmt: skip

CLAUDE: Final = (VERSION, b"anthropic-beta: " + BETA)
ADDED: Final = [
    sending("the agent's version stays", b"anthropic-version: 2024-01-01", crosses=(b"anthropic-version: 2024-01-01",), own=()),
    sending("and in its spelling", b"Anthropic-Version: 2024-01-01", crosses=(b"Anthropic-Version: 2024-01-01",), own=()),
    sending("several betas become one line", b"anthropic-beta: a", b"anthropic-beta: b,c", own=(VERSION, b"anthropic-beta: a, b,c")),
    sending("betas that repeat each other", b"anthropic-beta: a,b", b"Anthropic-Beta: b", own=(VERSION, b"anthropic-beta: a, b")),
    sending("the claude grant adds its beta", relay=b"claude", own=CLAUDE),
    sending("the claude grant's beta is there", b"anthropic-beta: " + BETA, relay=b"claude", own=CLAUDE),
    sending("the claude grant's beta is there among others", b"anthropic-beta: a," + BETA, relay=b"claude", own=(VERSION, b"anthropic-beta: a," + BETA)),
    sending("the claude grant adds to others", b"anthropic-beta: a,b", relay=b"claude", own=(VERSION, b"anthropic-beta: a,b, " + BETA)),
    sending("the claude grant adds to several lines", b"anthropic-beta: a", b"anthropic-beta: b", relay=b"claude", own=(VERSION, b"anthropic-beta: a, b, " + BETA)),
    sending("a Connection that names the beta does not lose the grant's", b"Connection: anthropic-beta", b"anthropic-beta: a", relay=b"claude", own=CLAUDE),
]  # fmt: skip


@specified(DROPPED, NAMED)
async def test_what_steers_or_authenticates_is_never_forwarded(ends: Ends, case: Case) -> None:
    """Hop-by-hop headers, those that Connection names, credentials, and proxies' own."""
    await check(ends, case)


@specified(CROSSES, ADDED)
async def test_everything_else_crosses_as_it_is(ends: Ends, case: Case) -> None:
    """In its own spelling, headers that nobody has heard of included."""
    await check(ends, case)
