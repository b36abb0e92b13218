"""The heads and answers that the relay itself writes, as a strict reader reads them."""

from relay.http.grammar import Field
from relay.http.headers import field
from relay.http.message import ResponseHead
from relay.proxy.response import relayed_head
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
