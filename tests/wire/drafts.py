"""Well-formed messages in parts, so that a mutation knows what it alters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.harness.secrets import QUERY_SECRET, TOKEN

_KEY: Final = b"x-api-key: " + TOKEN.encode()
_BEARER: Final = b"Authorization: Bearer " + TOKEN.encode()
_QUERY: Final = QUERY_SECRET.encode()
PLAIN: Final = (
    b"Content-Type: application/json",
    b"User-Agent: claude-cli/2.0",
    b"anthropic-beta: a-1,b-2",
)


@dataclass(slots=True)
class Draft:
    """A start line, header lines, and a body in pieces, of which framing is some."""

    start: bytes
    lines: list[bytes]
    body: list[bytes]

    def copy(self) -> Draft:
        """Return another of the same."""
        return Draft(self.start, list(self.lines), list(self.body))


def _request(start: bytes, *lines: bytes, body: tuple[bytes, ...] = ()) -> Draft:
    return Draft(start, [b"Host: relay.test", *lines], list(body))


def _chunks(*pieces: bytes) -> tuple[bytes, ...]:
    framed = [part for piece in pieces for part in (b"%x" % len(piece), b"\r\n", piece, b"\r\n")]
    return (*framed, b"0", b"\r\n", b"\r\n")


# NAME and PATH stand for the relay's name and one of its endpoints.
REQUESTS: Final = (
    _request(b"POST /relay/NAMEPATH HTTP/1.1", _KEY, *PLAIN, b"Content-Length: 14", body=(b'{"model": "x"}',)),
    _request(b"POST /relay/NAMEPATH?beta=" + _QUERY + b" HTTP/1.1", _BEARER, b"Transfer-Encoding: chunked", body=_chunks(b'{"model"', b': "x"}')),
    _request(b"GET /relay/NAMEPATH/x%20y HTTP/1.1", _KEY, _BEARER, b"Accept: */*"),
    _request(b"HEAD /relay/NAMEPATH HTTP/1.1", _KEY),
    _request(b"POST /relay/NAMEPATH HTTP/1.1", _KEY, b"Expect: 100-continue", b"Content-Length: 2", body=(b"{}",)),
    _request(b"POST /relay/NAMEPATH HTTP/1.0", _KEY, b"Content-Length: 2", body=(b"{}",)),
    _request(b"DELETE /relay/NAMEPATH/x HTTP/1.1", _BEARER, b"Connection: keep-alive, x-a", b"X-A: dropped", b"Cookie: a=b"),
    _request(b"GET /relay/NAME/api/hello HTTP/1.1"),
    _request(b"POST /relay/NAMEPATH HTTP/1.1", _KEY, b"Transfer-Encoding: chunked", b"Trailer: X-T", body=(*_chunks(b"GET /relay/NAMEPATH HTTP/1.1\r\n\r\n")[:-1], b"X-T: u", b"\r\n", b"\r\n")),
    _request(b"POST /relay/NAMEPATH HTTP/1.1", _KEY, b"X-Headroom-Base-Url: http://evil.test", b"X_Under: x", b"Content-Length: 0"),
)  # fmt: skip


def _answer(start: bytes, *lines: bytes, body: tuple[bytes, ...] = ()) -> Draft:
    return Draft(start, list(lines), list(body))


ANSWERS: Final = (
    _answer(b"HTTP/1.1 200 OK", b"content-type: application/json", b"content-length: 14", body=(b'{"model": "x"}',)),
    _answer(b"HTTP/1.1 200 OK", b"content-type: text/plain", b"transfer-encoding: chunked", b"server: x", body=_chunks(b"hello ", b"world")),
    _answer(b"HTTP/1.1 429 Too Many Requests", b"retry-after: 7", b"set-cookie: a=b", b"content-length: 2", body=(b"no",)),
    _answer(b"HTTP/1.1 200 OK", b"date: now", b"x-a: b", body=(b"until the end",)),
    _answer(b"HTTP/1.1 204 No Content", b"request-id: req_1"),
    _answer(b"HTTP/1.0 200 OK", b"content-length: 5", b"Connection: close", body=(b"hello",)),
    _answer(b"HTTP/1.1 200 OK", b"transfer-encoding: chunked", b"trailer: x-t", b"connection: x-b", b"x-b: c", body=(*_chunks(b"data: {}\n\n")[:-1], b"x-t: u", b"\r\n", b"\r\n")),
    _answer(b"HTTP/1.1 304 Not Modified", b'etag: "x"', b"content-length: 5"),
    _answer(b"HTTP/1.1 302 Found", b"location: http://evil.test/", b"content-length: 0"),
    _answer(b"HTTP/1.1 101 Switching Protocols", b"upgrade: websocket", b"connection: upgrade"),
)  # fmt: skip

INTERIM: Final = (b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n", b"HTTP/1.1 100\r\n\r\nHTTP/1.1 102 X\r\n\r\n")  # fmt: skip
