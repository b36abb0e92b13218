"""The upstream's answers that pass: status, reason, headers and body as they are."""

from __future__ import annotations

from typing import Final

import pytest

from tests.wire.answer import (
    END,
    HEAD,
    OK_LINE,
    OLD,
    Row,
    check_framing,
    chunks,
    play,
    row,
    rows,
    sized,
)
from tests.wire.ends import Ends

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSES: Final = [
    row("a length", sized()),
    row("a length of 0", sized(body=b""), b""),
    row("a length, then the end", sized(), then="end"),
    row("a length, then a reset", sized(), then="reset"),
    row("chunks", chunks(b"2\r\nok\r\n0\r\n\r\n"), framing="chunked"),
    row("chunks, then the end", chunks(b"2\r\nok\r\n0\r\n\r\n"), then="end", framing="chunked"),
    row("no chunk but the last", chunks(b"0\r\n\r\n"), b"", framing="chunked"),
    row("chunk extensions", chunks(b'2;a=b;c="d"\r\nok\r\n0;e\r\n\r\n'), framing="chunked"),
    row("trailers", chunks(b"2\r\nok\r\n0\r\nX-A: b\r\nset-cookie: a\r\nx-relay-error: x\r\nalt-svc: clear\r\n\r\n"), framing="chunked"),
    row("CHUNKED", OK_LINE + b"Transfer-Encoding: CHUNKED" + END + b"2\r\nok\r\n0\r\n\r\n", framing="chunked"),
    row("no framing, then the end", OK_LINE + b"\r\nok", then="end", framing="chunked"),
    row("no framing and no body, then the end", OK_LINE + b"\r\n", b"", then="end", framing="chunked"),
    row("HTTP/1.0 with a length", sized(start=b"HTTP/1.0 200 OK\r\n")),
    row("HTTP/1.0 without one", b"HTTP/1.0 200 OK\r\n\r\nok", then="end", framing="chunked"),
    row("every byte", sized(body=bytes(range(256))), bytes(range(256))),
    row("no reason", sized(start=b"HTTP/1.1 200\r\n"), reason=b""),
    row("an empty reason", sized(start=b"HTTP/1.1 200 \r\n"), reason=b""),
    row("another reason", sized(start=b"HTTP/1.1 200 Very well, thanks\r\n"), reason=b"Very well, thanks"),
    row("a reason beyond ASCII", sized(start=b"HTTP/1.1 200 \xc3\xa9\r\n"), reason=b"\xc3\xa9"),
    row("Connection: close", sized(b"Connection: close"), then="end"),
    row("more than its length", sized() + b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad"),
    row("more than its last chunk", chunks(b"2\r\nok\r\n0\r\n\r\n") + sized(body=b"bad"), framing="chunked"),
    row("an agent of HTTP/1.0, a length", sized(), sent=OLD),
    row("an agent of HTTP/1.0, chunks", chunks(b"2\r\nok\r\n0\r\n\r\n"), sent=OLD, framing="until close", ending="end"),
    row("an agent of HTTP/1.0, no framing", OK_LINE + b"\r\nok", then="end", sent=OLD, framing="until close", ending="end"),
    *(
        row(f"status {status}", sized(b"retry-after: 7", start=b"HTTP/1.1 %d X\r\n" % status), status=status, reason=b"X", fields=(b"retry-after: 7",))
        for status in (200, 201, 202, 203, 206, 207, 226, 299, 400, 401, 402, 403, 404, 405, 409, 413, 421, 422, 426, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 529, 599)
    ),
    row("204", b"HTTP/1.1 204 No Content\r\n\r\n", b"", status=204, reason=b"No Content", framing="none"),
    row("304", b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n", b"", status=304, reason=b"Not Modified", fields=(b"etag: x",), framing="none"),
    row("205 with a body", sized(start=b"HTTP/1.1 205 X\r\n"), status=205, reason=b"X"),
    row("HEAD with a length", OK_LINE + b"content-length: 5" + END, b"", sent=HEAD, length=5),
    row("HEAD with chunks", OK_LINE + b"transfer-encoding: chunked" + END, b"", sent=HEAD, framing="none"),
    row("HEAD without framing", OK_LINE + b"\r\n", b"", sent=HEAD, framing="none"),
]  # fmt: skip

FIELDS: Final = [
    row(f"{line.decode('latin-1')} crosses", sized(line), fields=(line,))
    for line in (
        *(b"Server: uvicorn", b"server: cloudflare", b"Date: Thu, 01 Jan 1970 00:00:00 GMT", b"request-id: req_1", b"x-request-id: 1"),
        *(b"Content-Type: application/json", b"Content-Encoding: gzip", b"anthropic-ratelimit-requests-remaining: 5", b"retry-after: 7"),
        *(b"x-headroom-tokens-saved: 5", b"vary: Origin", b"x-should-retry: true", b"Via: 1.1 x", b"X-Unheard-Of: \xc3\xa9", b"x_under: score", b"X-Relay: x"),
        *(b"Location: /elsewhere", b"WWW-Authenticate: Basic", b'ETag: "x"', b"X-Empty: ", b"Cache-Control: no-store", b"Content-Length-X: 5"),
        *(b"X-Two: a\r\nX-Two: b", b"date: a\r\ndate: b"),
    )
] + [
    row(f"{line.decode()} is dropped", sized(line, b"X-Stays: here"), fields=(b"X-Stays: here",), then="end" if b"close" in line else "keep")
    for line in (
        *(b"Set-Cookie: a=b", b"set-cookie: a=b; HttpOnly", b"Set-Cookie2: a", b"Set-Cookie: a=b\r\nSet-Cookie: c=d"),
        *(b"Connection: keep-alive", b"Keep-Alive: timeout=5", b"Connection: close", b"Upgrade: h2c", b"Trailer: X-A", b"TE: x"),
        *(b"Proxy-Authenticate: Basic", b"Proxy-Connection: close", b"Proxy-Anything: x", b"Connection: x-a\r\nX-A: secret"),
        *(b"Access-Control-Allow-Origin: *", b"access-control-allow-credentials: true", b"Access-Control-Anything: x"),
        *(b"x-relay-error: rejected", b"X-Relay-Error: x", b"X-RELAY-Anything: x", b'Alt-Svc: h3=":443"', b"alt-svc: clear"),
    )
]  # fmt: skip

INTERIM: Final = [
    row(name, before + sized())
    for name, before in {
        "100 before it": b"HTTP/1.1 100 Continue\r\n\r\n",
        "102 before it": b"HTTP/1.1 102 Processing\r\n\r\n",
        "103 with headers before it": b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\nset-cookie: a=b\r\nx-relay-error: x\r\nalt-svc: clear\r\n\r\n",
        "199 before it": b"HTTP/1.1 199 X\r\n\r\n",
        "three before it": b"HTTP/1.1 100 X\r\n\r\nHTTP/1.1 102 X\r\n\r\nHTTP/1.1 103 X\r\n\r\n",
    }.items()
]


@rows(PASSES, FIELDS, INTERIM)
async def test_an_answer_passes_as_it_is(ends: Ends, row: Row) -> None:
    """Status, reason, headers and body; framing and connection are this connection's own."""
    answer = await play(ends, row)
    assert (answer.status, answer.reason) == (row.status, row.reason)
    assert answer.body == row.body
    assert answer.complete
    assert not answer.interim
    check_framing(answer, row)
    own = (b"content-length", b"transfer-encoding", b"connection")
    crossed = [b"%b: %b" % pair for pair in answer.fields if pair[0].lower() not in own]
    assert crossed == [line for lines in row.fields for line in lines.split(b"\r\n")]


SURPLUS: Final = [
    row("a byte more than its length", sized() + b"x"),
    row("an answer more than its length", sized() + sized(body=b"bad")),
    row("half an answer more than its length", sized() + b"HTTP/1.1 200 OK\r\ncontent-"),
    row("a line end more than its length", sized() + b"\r\n"),
    row("an answer more than its last chunk", chunks(b"2\r\nok\r\n0\r\n\r\n") + sized(body=b"bad")),
    row("a byte more than no body", b"HTTP/1.1 204 X\r\n\r\nx", b""),
    row("a body to HEAD", sized(), b"", sent=HEAD),
]


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in SURPLUS])
async def test_a_connection_with_more_than_an_answer_on_it_is_not_used_again(
    ends: Ends, row: Row
) -> None:
    """What else is to come on it would be taken for the next call's answer."""
    ends.begin()
    await ends.call_well()
    (kept,) = ends.upstream.connections
    await play(ends, row)
    assert kept.lost
    assert ends.upstream.connections != [kept]
