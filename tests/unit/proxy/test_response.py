"""The heads and answers that the relay itself writes, as a strict reader reads them."""

from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest

from relay import errors
from relay.errors import RelayError
from relay.http import answer as answer_module
from relay.http.body import has_body
from relay.http.grammar import Field
from relay.http.headers import field
from relay.http.message import ResponseHead
from relay.http.parser import ResponseHeadReader
from relay.proxy.response import relayed_head


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


def read(data: bytes) -> tuple[ResponseHead, bytes]:
    """Return a written answer's head and what follows it."""
    reader = ResponseHeadReader()
    assert reader.feed(data)
    return reader.head(), reader.rest


def names(head: ResponseHead) -> list[bytes]:
    """Return the names of a head's fields."""
    return [f.key for f in head.fields]


def every_error(kind: type[RelayError] = RelayError) -> Iterator[type[RelayError]]:
    """Yield every class of error there is."""
    yield kind
    for subclass in kind.__subclasses__():
        yield from every_error(subclass)


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
    head, _ = read(relayed_head(chunked, chunked=True, close=False))
    assert (head.chunked, head.length, names(head)) == (True, None, [b"transfer-encoding"])
    sized = upstream_head(200, (b"Content-Length", b"7"), length=7)
    head, _ = read(relayed_head(sized, chunked=False, close=False))
    assert (head.chunked, head.length, names(head)) == (False, 7, [b"content-length"])


def test_answer_without_framing_says_that_the_connection_ends() -> None:
    """That is how an HTTP/1.0 agent learns where the body ends."""
    head, _ = read(relayed_head(upstream_head(chunked=True), chunked=False, close=True))
    assert head.fields == (Field(b"connection", b"connection", b"close"),)


def test_204_has_no_length() -> None:
    """RFC 9110 §8.6 forbids it."""
    head, _ = read(relayed_head(upstream_head(204, length=0), chunked=False, close=False))
    assert head.length is None


def test_304_keeps_the_length_of_what_was_not_sent() -> None:
    """RFC 9110 §8.6 allows it, and no body follows."""
    head, _ = read(relayed_head(upstream_head(304, length=9), chunked=False, close=False))
    assert head.length == 9


def test_cookies_and_hop_by_hop_fields_do_not_cross() -> None:
    """Here as everywhere."""
    fields = ((b"Set-Cookie", b"a=b"), (b"Keep-Alive", b"5"), (b"A", b"1"))
    head, _ = read(relayed_head(upstream_head(200, *fields), chunked=False, close=False))
    assert names(head) == [b"a"]


@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [
        (200, b"POST", True),
        (500, b"GET", True),
        (200, b"HEAD", False),
        (204, b"POST", False),
        (304, b"GET", False),
    ],
)
def test_body_is_expected_by_status_and_method(
    status: int, method: bytes, *, expected: bool
) -> None:
    """RFC 9112 §6.3."""
    assert has_body(upstream_head(status), method) is expected


def test_continue_is_a_whole_answer() -> None:
    """It has neither fields nor a body."""
    head, rest = read(answer_module.CONTINUE)
    assert (head.status, head.fields, rest) == (100, (), b"")


# The relay's own answers


@pytest.mark.parametrize("error", list(every_error()))
def test_own_answer_says_what_its_error_says(error: type[RelayError]) -> None:
    """Status, outcome, headers and body, in one well-formed answer."""
    head, body = read(answer_module.own_answer(error(), "openai", head_only=False, close=False))
    assert head.status == error.status
    assert head.values(b"x-relay-error") == [error.outcome.encode()]
    assert head.values(b"content-type") == [b"application/json"]
    assert head.length == len(body)
    assert body == error().body("openai")
    for name, value in error.headers:
        assert value in head.values(name)


@pytest.mark.parametrize("error", list(every_error()))
def test_own_answer_closes_where_its_error_does(error: type[RelayError]) -> None:
    """Or where the agent asked for it."""
    head, _ = read(answer_module.own_answer(error(), "anthropic", head_only=False, close=False))
    assert (b"close" in head.values(b"connection")) is error.closes
    head, _ = read(answer_module.own_answer(error(), "anthropic", head_only=False, close=True))
    assert b"close" in head.values(b"connection")


@pytest.mark.parametrize("error", list(every_error()))
def test_own_answer_names_no_software(error: type[RelayError]) -> None:
    """Neither Python nor aiohttp nor a server of any name, and no CORS header."""
    written = answer_module.own_answer(error(), "anthropic", head_only=False, close=False)
    head, _ = read(written)
    assert b"server" not in names(head)
    assert not any(name.startswith(b"access-control-") for name in names(head))
    assert b"python" not in written.lower()
    assert b"aiohttp" not in written.lower()


def test_answer_to_head_has_the_length_but_no_body() -> None:
    """RFC 9110 §9.3.2: as for GET, without the content."""
    error = errors.UnknownRelay()
    head, rest = read(answer_module.own_answer(error, "anthropic", head_only=True, close=False))
    assert head.length == len(error.body("anthropic"))
    assert rest == b""


def test_plain_answer_is_whole_and_dated() -> None:
    """What the admin pages and the probes get."""
    headers = [(b"content-type", b"text/plain")]
    written = answer_module.plain_answer(200, headers, b"fine\n", head_only=False, close=False)
    head, body = read(written)
    assert (head.status, head.reason, body) == (200, b"OK", b"fine\n")
    assert names(head) == [b"content-type", b"date", b"content-length"]
    (date,) = head.values(b"date")
    assert date.endswith(b"GMT")
    assert parsedate_to_datetime(date.decode()).tzinfo is not None


def test_plain_answer_may_be_empty() -> None:
    """A length of 0 says so."""
    head, body = read(answer_module.plain_answer(200, [], b"", head_only=False, close=True))
    assert (head.length, body, head.values(b"connection")) == (0, b"", [b"close"])
