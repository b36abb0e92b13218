"""Heads of requests and responses: what is one, what is none, and where that shows."""

from collections.abc import Iterable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import (
    HeadersTooLarge,
    MalformedRequest,
    RelayError,
    TargetTooLong,
    UpstreamMalformed,
    VersionNotSupported,
)
from relay.http.grammar import LINE_LIMIT, Field
from relay.http.message import MessageHead, RequestHead, ResponseHead
from relay.http.parser import (
    FIELD_COUNT_LIMIT,
    HEAD_LIMIT,
    RequestHeadReader,
    ResponseHeadReader,
)
from tests.unit.http.pieces import bytewise, cut


class Read(NamedTuple):
    """What came of some bytes: a head with what follows it, an error, or neither yet."""

    head: MessageHead | None = None
    rest: bytes = b""
    error: type[RelayError] | None = None


Reader = type[RequestHeadReader] | type[ResponseHeadReader]


def read(reader: Reader, pieces: Iterable[bytes]) -> Read:
    """Feed the pieces, one after the other, until a head or an error is there."""
    heads = reader()
    waiting = list(pieces)
    try:
        while waiting:
            if heads.feed(waiting.pop(0)):
                return Read(heads.head(), heads.rest + b"".join(waiting))
    except RelayError as error:
        return Read(error=type(error))
    return Read()


def pieces_of(data: bytes, size: int = 997) -> list[bytes]:
    """Cut data into pieces of one size, which is no power of two."""
    return cut(data, range(0, len(data), size))


def request(line: str = "POST /v1/messages HTTP/1.1", *fields: str) -> bytes:
    """Return a request's head of this line and these fields."""
    return "\r\n".join([line, *fields, "", ""]).encode("latin-1")


def response(line: str = "HTTP/1.1 200 OK", *fields: str) -> bytes:
    """Return a response's head of this line and these fields."""
    return request(line, *fields)


def read_request(data: bytes) -> RequestHead:
    """Return the head of a request that is one."""
    head = read(RequestHeadReader, [data]).head
    assert isinstance(head, RequestHead)
    return head


def read_response(data: bytes) -> ResponseHead:
    """Return the head of a response that is one."""
    head = read(ResponseHeadReader, [data]).head
    assert isinstance(head, ResponseHead)
    return head


VALID_REQUESTS = {
    "plain": request(),
    "http/1.0": request("GET / HTTP/1.0"),
    "a length": request("POST / HTTP/1.1", "Host: a", "Content-Length: 5") + b"hello",
    "chunks": request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "coding in capitals": request("POST / HTTP/1.1", "TRANSFER-ENCODING: Chunked"),
    "an empty line before": b"\r\n" + request(),
    "no space after the colon": request("GET / HTTP/1.1", "Host:a"),
    "tabs around the value": request("GET / HTTP/1.1", "Host:\t a \t"),
    "an empty value": request("GET / HTTP/1.1", "X-Empty:", "X-Blank:   "),
    "obsolete text": request("GET / HTTP/1.1", "X-Name: caf\xe9 \xff"),
    "every token character": request("GET / HTTP/1.1", "!#$%&'*+-.^_`|~09azAZ: x"),
    "an unknown method": request("M-SEARCH * HTTP/1.1"),
    "an authority": request("CONNECT localhost:8787 HTTP/1.1"),
    "a second request behind it": request() + request("GET /other HTTP/1.1"),
    "bytes of any kind behind it": request() + b"\x00\n\r\x16\xff",
}
VALID_RESPONSES = {
    "plain": response(),
    "http/1.0": response("HTTP/1.0 200 OK"),
    "no reason": response("HTTP/1.1 200 "),
    "no reason and no space": response("HTTP/1.1 200"),
    "a reason of many bytes": response("HTTP/1.1 404 Pas trouv\xe9\t!"),
    "an unknown status": response("HTTP/1.1 529 Overloaded"),
    "an interim answer": response("HTTP/1.1 100 Continue") + response(),
    "a length": response("HTTP/1.1 200 OK", "content-length: 2") + b"{}",
    "chunks": response("HTTP/1.1 200 OK", "transfer-encoding: chunked") + b"0\r\n\r\n",
}

BAD_FRAMING = {
    "length and coding": ("Content-Length: 5", "Transfer-Encoding: chunked"),
    "coding and length": ("Transfer-Encoding: chunked", "Content-Length: 5"),
    "two lengths": ("Content-Length: 5", "Content-Length: 6"),
    "one length twice": ("Content-Length: 5", "content-length: 5"),
    "a list of lengths": ("Content-Length: 5, 5",),
    "a plus sign": ("Content-Length: +5",),
    "a minus sign": ("Content-Length: -5",),
    "hexadecimal": ("Content-Length: 0x5",),
    "an underscore": ("Content-Length: 1_0",),
    "a space within": ("Content-Length: 1 0",),
    "an empty length": ("Content-Length:",),
    "a fraction": ("Content-Length: 5.0",),
    "a superscript digit": ("Content-Length: \xb2",),
    "an overlong length": ("Content-Length: " + "9" * 19,),
    "leading zeroes beyond reason": ("Content-Length: " + "0" * 18 + "5",),
    "another coding": ("Transfer-Encoding: gzip",),
    "identity": ("Transfer-Encoding: identity",),
    "an empty coding": ("Transfer-Encoding:",),
    "a coding before chunked": ("Transfer-Encoding: gzip, chunked",),
    "chunked before a coding": ("Transfer-Encoding: chunked, gzip",),
    "chunked twice": ("Transfer-Encoding: chunked, chunked",),
    "two codings": ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "an empty second coding": ("Transfer-Encoding: chunked", "Transfer-Encoding:"),
    "a coding with a parameter": ("Transfer-Encoding: chunked;q=1",),
    "a coding with something before it": ("Transfer-Encoding: \x0bchunked",),
    "a coding in quotes": ('Transfer-Encoding: "chunked"',),
}
BAD_FIELDS = {
    "a space before the colon": "Host : a",
    "a tab before the colon": "Host\t: a",
    "a folded line": " folded",
    "a line folded with a tab": "\tfolded",
    "no colon": "Host",
    "an empty name": ": a",
    "a name with a space": "X Name: a",
    "a name with a slash": "X/Name: a",
    "a name in brackets": "(X): a",
    "a name beyond ASCII": "X-N\xe4me: a",
    "a control byte in a name": "X\x01: a",
    "a NUL in a value": "X: a\x00b",
    "a control byte in a value": "X: a\x08b",
    "a delete byte in a value": "X: a\x7fb",
    "a bare LF in a value": "X: a\nb",
    "a bare CR in a value": "X: a\rb",
    "a doubled CR at the end": "X: a\r",
}
BAD_REQUEST_LINES = {
    "no version": "GET /",
    "nothing but a method": "GET",
    "two spaces": "GET  / HTTP/1.1",
    "two spaces before the version": "GET /  HTTP/1.1",
    "a tab": "GET\t/ HTTP/1.1",
    "a space at the end": "GET / HTTP/1.1 ",
    "a space at the start": " GET / HTTP/1.1",
    "a space in the target": "GET /a b HTTP/1.1",
    "a target beyond ASCII": "GET /\xe4 HTTP/1.1",
    "a control byte in the target": "GET /\x01 HTTP/1.1",
    "a delete byte in the target": "GET /\x7f HTTP/1.1",
    "a method with a slash": "GE/T / HTTP/1.1",
    "a version in lower case": "GET / http/1.1",
    "another protocol": "GET / FTP/1.1",
    "a version of two digits": "GET / HTTP/1.10",
    "a version without a point": "GET / HTTP/1",
    "a bare LF": "GET / HTTP/1.1\nHost: a",
    "a bare CR": "GET / HTTP/1.1\rHost: a",
    "a response": "HTTP/1.1 200 OK",
}
BAD_STATUS_LINES = {
    "a request": "GET / HTTP/1.1",
    "another version": "HTTP/2 200 OK",
    "version 0.9": "HTTP/0.9 200 OK",
    "version 1.2": "HTTP/1.2 200 OK",
    "a short status": "HTTP/1.1 20 OK",
    "a long status": "HTTP/1.1 2000 OK",
    "a status beyond the classes": "HTTP/1.1 600 OK",
    "a status below the classes": "HTTP/1.1 099 OK",
    "a signed status": "HTTP/1.1 +20 OK",
    "two spaces": "HTTP/1.1  200 OK",
    "lower case": "http/1.1 200 OK",
    "an empty line": "",
    "a control byte in the reason": "HTTP/1.1 200 O\x01K",
    "a bare LF": "HTTP/1.1 200 OK\nX: a",
}

INVALID_REQUESTS = {
    **{name: request("POST / HTTP/1.1", *fields) for name, fields in BAD_FRAMING.items()},
    **{name: request("GET / HTTP/1.1", "A: b", field) for name, field in BAD_FIELDS.items()},
    **{f"line: {name}": request(line) for name, line in BAD_REQUEST_LINES.items()},
    "coding in http/1.0": request("POST / HTTP/1.0", "Transfer-Encoding: chunked"),
    "two empty lines before": b"\r\n\r\n" + request(),
    "a bare LF before": b"\n" + request(),
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an SSH greeting": b"SSH-2.0-OpenSSH_9.6\r\n",
}
INVALID_RESPONSES = {
    **{name: response("HTTP/1.1 200 OK", *fields) for name, fields in BAD_FRAMING.items()},
    **{name: response("HTTP/1.1 200 OK", "A: b", field) for name, field in BAD_FIELDS.items()},
    **{f"line: {name}": response(line) for name, line in BAD_STATUS_LINES.items()},
    "coding in http/1.0": response("HTTP/1.0 200 OK", "Transfer-Encoding: chunked"),
    "an empty line before": b"\r\n" + response(),
    "garbage": b"\x00\x01\x02garbage",
    "a page without a head": b"<html>oops</html>\r\n\r\n",
}
OTHER_VERSIONS = ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/3.0", "HTTP/9.9"]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

EVERYTHING: list[tuple[Reader, bytes]] = [
    *((RequestHeadReader, data) for data in (*VALID_REQUESTS.values(), PREFACE)),
    *((RequestHeadReader, data) for data in INVALID_REQUESTS.values()),
    *((ResponseHeadReader, data) for data in VALID_RESPONSES.values()),
    *((ResponseHeadReader, data) for data in INVALID_RESPONSES.values()),
]
CUTS = st.lists(st.integers(min_value=1, max_value=120), max_size=12)


# What is a head


def test_request_line_and_fields_are_read_as_they_came() -> None:
    """Names keep their spelling, values lose only the white space around them."""
    head = read_request(request("PoST /a%2Fb?q=1 HTTP/1.1", "HoSt: a", "X-Foo:  b c \t", "x-foo:"))
    assert (head.method, head.target, head.minor) == (b"PoST", b"/a%2Fb?q=1", 1)
    assert head.fields == (
        Field(b"HoSt", b"host", b"a"),
        Field(b"X-Foo", b"x-foo", b"b c"),
        Field(b"x-foo", b"x-foo", b""),
    )
    assert head.values(b"x-foo") == [b"b c", b""]
    assert head.values(b"x-bar") == []


def test_status_line_and_fields_are_read_as_they_came() -> None:
    """The reason is kept byte for byte; it may be empty or missing."""
    head = read_response(response("HTTP/1.1 529 Sit\xe9 Overloaded", "X-A: b"))
    assert (head.status, head.reason, head.minor) == (529, b"Sit\xe9 Overloaded", 1)
    assert head.fields == (Field(b"X-A", b"x-a", b"b"),)
    assert read_response(response("HTTP/1.1 204")).reason == b""
    assert read_response(response("HTTP/1.0 200 OK")).minor == 0


@pytest.mark.parametrize(
    ("fields", "framing"),
    [
        ((), (None, False)),
        (("Content-Length: 0",), (0, False)),
        (("Content-Length: 0042",), (42, False)),
        (("Content-Length: " + "9" * 18,), (10**18 - 1, False)),
        (("Transfer-Encoding: chunked",), (None, True)),
        (("transfer-encoding:  CHUNKED ",), (None, True)),
    ],
)
def test_framing_is_a_length_or_chunks_or_neither(
    fields: tuple[str, ...], framing: tuple[int | None, bool]
) -> None:
    """Both sides are read by the same rules."""
    for head in (
        read_request(request("POST / HTTP/1.1", *fields)),
        read_response(response("HTTP/1.1 200 OK", *fields)),
    ):
        assert (head.length, head.chunked) == framing


@pytest.mark.parametrize("name", VALID_REQUESTS)
def test_valid_requests_are_read_whole_and_byte_by_byte(name: str) -> None:
    """However a head arrives, it reads the same and keeps what follows it."""
    data = VALID_REQUESTS[name]
    whole = read(RequestHeadReader, [data])
    assert whole.head is not None
    assert read(RequestHeadReader, bytewise(data)) == whole
    assert data.endswith(whole.rest)


@pytest.mark.parametrize("name", VALID_RESPONSES)
def test_valid_responses_are_read_whole_and_byte_by_byte(name: str) -> None:
    """However a head arrives, it reads the same and keeps what follows it."""
    data = VALID_RESPONSES[name]
    whole = read(ResponseHeadReader, [data])
    assert whole.head is not None
    assert read(ResponseHeadReader, bytewise(data)) == whole


def test_what_follows_a_head_is_left_alone() -> None:
    """A body's bytes are nobody's business here, whatever they are."""
    assert read(RequestHeadReader, [request() + b"\x00\xff"]).rest == b"\x00\xff"
    assert read(RequestHeadReader, [request()]).rest == b""


def test_reader_knows_whether_a_head_has_begun() -> None:
    """An idle connection and one that stalls within a head differ."""
    heads = RequestHeadReader()
    assert not heads.begun
    heads.feed(b"")
    assert not heads.begun
    heads.feed(b"G")
    assert heads.begun


# What is none


@pytest.mark.parametrize("name", INVALID_REQUESTS)
def test_invalid_requests_are_refused_whole_and_byte_by_byte(name: str) -> None:
    """The agent is to blame, however the bytes arrive."""
    data = INVALID_REQUESTS[name]
    assert read(RequestHeadReader, [data]).error is MalformedRequest
    assert read(RequestHeadReader, bytewise(data)).error is MalformedRequest


@pytest.mark.parametrize("name", INVALID_RESPONSES)
def test_invalid_responses_are_refused_whole_and_byte_by_byte(name: str) -> None:
    """The upstream is to blame, however the bytes arrive."""
    data = INVALID_RESPONSES[name]
    assert read(ResponseHeadReader, [data]).error is UpstreamMalformed
    assert read(ResponseHeadReader, bytewise(data)).error is UpstreamMalformed


@pytest.mark.parametrize("version", OTHER_VERSIONS)
def test_other_versions_of_http_are_refused_as_such(version: str) -> None:
    """A 505 tells the client what to change."""
    data = request(f"GET / {version}", "Host: a")
    assert read(RequestHeadReader, [data]).error is VersionNotSupported
    assert read(RequestHeadReader, bytewise(data)).error is VersionNotSupported


def refused_at(reader: Reader, data: bytes) -> int | None:
    """Return how many bytes it took to refuse data that comes byte by byte."""
    heads = reader()
    for count, piece in enumerate(bytewise(data), start=1):
        try:
            heads.feed(piece)
        except RelayError:
            return count
    return None


@pytest.mark.parametrize(
    ("reader", "accepted", "impossible"),
    [
        (RequestHeadReader, b"", b"\x16"),
        (RequestHeadReader, b"", b"\x00"),
        (RequestHeadReader, b"", b" "),
        (RequestHeadReader, b"", b"\n"),
        (RequestHeadReader, b"", b"\x80"),
        (RequestHeadReader, b"", b"{"),
        (RequestHeadReader, b"", b"<"),
        (RequestHeadReader, b"\r", b"G"),
        (RequestHeadReader, b"\r\n", b"\n"),
        (RequestHeadReader, b"GET / HTTP/1.1", b"\n"),
        (RequestHeadReader, b"GET / HTTP/1.1\r", b"H"),
        (RequestHeadReader, b"GET / HTTP/1.1\r", b"\r"),
        (RequestHeadReader, b"GET /", b"\x00"),
        (RequestHeadReader, b"GET /", b"\x80"),
        (RequestHeadReader, b"GET ", b" "),
        (RequestHeadReader, b"GET / ", b"F"),
        (RequestHeadReader, b"GET / HTT", b"Q"),
        (RequestHeadReader, b"GET / HTTP/1.1", b" "),
        (RequestHeadReader, b"GET / HTTP/1.1", b"0"),
        (RequestHeadReader, b"GET / HTTP/1", b" "),
        (RequestHeadReader, b"GET / ", b"h"),
        (RequestHeadReader, b"GE", b"/"),
        (RequestHeadReader, b"GET / HTTP/1.1\r\n", b" "),
        (RequestHeadReader, b"GET / HTTP/1.1\r\n", b"\t"),
        (RequestHeadReader, b"GET / HTTP/1.1\r\n", b":"),
        (RequestHeadReader, b"GET / HTTP/1.1\r\n", b"\n"),
        (RequestHeadReader, b"GET / HTTP/1.1\r\nx", b"("),
        (RequestHeadReader, b"GET / HTTP/1.1\r\nHost", b" "),
        (RequestHeadReader, b"GET / HTTP/1.1\r\nHost", b"\r"),
        (RequestHeadReader, b"GET / HTTP/1.1\r\nHost", b"\x80"),
        (RequestHeadReader, b"GET / HTTP/1.1\r\nHost: a\r\n", b" "),
        (RequestHeadReader, b"GET / HTTP/1.1\r\nHost: a", b"\n"),
        (RequestHeadReader, b"GET / HTTP/1.1\r\nHost: a", b"\x00"),
        (RequestHeadReader, b"GET / HTTP/1.1\r\nHost: a", b"\x7f"),
        (RequestHeadReader, b"GET / HTTP/1.1\r\nHost: a\r", b"b"),
        (RequestHeadReader, b"GET / HTTP/1.1\r\nHost: a\r\n\r", b"x"),
        (ResponseHeadReader, b"", b"\x15"),
        (ResponseHeadReader, b"", b"<"),
        (ResponseHeadReader, b"", b"\r"),
        (ResponseHeadReader, b"HTTP/", b"2"),
        (ResponseHeadReader, b"HTTP/1.", b"2"),
        (ResponseHeadReader, b"HTTP/1.1 ", b"6"),
        (ResponseHeadReader, b"HTTP/1.1 2", b"x"),
        (ResponseHeadReader, b"HTTP/1.1 20", b" "),
        (ResponseHeadReader, b"HTTP/1.1 200", b"0"),
        (ResponseHeadReader, b"HTTP/1.1 200 OK", b"\n"),
        (ResponseHeadReader, b"HTTP/1.1 200 OK\r\n", b" "),
    ],
)
def test_head_is_refused_at_its_first_impossible_byte(
    reader: Reader, accepted: bytes, impossible: bytes
) -> None:
    """Neither a full buffer nor a timer has to end what is no HTTP, whoever sends it."""
    assert refused_at(reader, accepted) is None
    assert refused_at(reader, accepted + impossible) == len(accepted) + 1


def test_http2_preface_is_refused_within_its_first_line() -> None:
    """A client with prior knowledge of HTTP/2 learns at once that it is wrong."""
    at = refused_at(RequestHeadReader, PREFACE)
    assert at is not None
    assert at <= len(b"PRI * HTTP/2.0\r\n")


# However it is cut


@given(case=st.sampled_from(EVERYTHING), positions=CUTS)
def test_result_does_not_depend_on_where_the_bytes_are_cut(
    case: tuple[Reader, bytes], positions: list[int]
) -> None:
    """Two parsers that see different cuts must never see different requests."""
    reader, data = case
    assert read(reader, cut(data, positions)) == read(reader, [data])


@given(
    base=st.sampled_from(EVERYTHING),
    at=st.integers(min_value=0, max_value=80),
    width=st.integers(min_value=0, max_value=3),
    junk=st.binary(max_size=4),
    positions=CUTS,
)
def test_damaged_heads_read_the_same_however_they_are_cut(
    base: tuple[Reader, bytes], at: int, width: int, junk: bytes, positions: list[int]
) -> None:
    """Whatever bytes are put in or taken out, cuts change nothing."""
    reader, data = base
    damaged = data[:at] + junk + data[at + width :]
    whole = read(reader, [damaged])
    assert read(reader, bytewise(damaged)) == whole
    assert read(reader, cut(damaged, positions)) == whole


NAMES = st.text("!#$%&'*+-.^_`|~059azAZ", min_size=1, max_size=12).filter(
    lambda name: name.lower() not in ("content-length", "transfer-encoding")
)
VALUES = st.binary(max_size=20).map(lambda raw: bytes(b for b in raw if b >= 32 and b != 127))


@given(
    method=NAMES,
    target=st.text([chr(c) for c in range(0x21, 0x7F)], min_size=1, max_size=30),
    fields=st.lists(st.tuples(NAMES, VALUES), max_size=8),
    rest=st.binary(max_size=20),
    positions=CUTS,
)
def test_any_well_formed_request_comes_back_as_it_was_written(
    method: str,
    target: str,
    fields: list[tuple[str, bytes]],
    rest: bytes,
    positions: list[int],
) -> None:
    """Method, target, fields in order and spelling, and the bytes behind them."""
    lines = [f"{method} {target} HTTP/1.1".encode()]
    lines += [name.encode() + b": " + value for name, value in fields]
    data = b"\r\n".join([*lines, b"", rest])
    result = read(RequestHeadReader, cut(data, positions))
    assert isinstance(result.head, RequestHead)
    assert (result.head.method, result.head.target) == (method.encode(), target.encode())
    assert [(f.name, f.value) for f in result.head.fields] == [
        (name.encode(), value.strip(b" \t")) for name, value in fields
    ]
    assert result.rest == rest


# Limits


def test_request_line_may_be_as_long_as_its_limit_and_no_longer() -> None:
    """One byte more is a 414, even before the line has ended."""
    line = "GET /" + "a" * (LINE_LIMIT - len("GET / HTTP/1.1")) + " HTTP/1.1"
    assert len(line) == LINE_LIMIT
    assert read_request(request(line)).target == line.split(" ")[1].encode()
    over = line.replace("/a", "/aa", 1)
    assert read(RequestHeadReader, [request(over)]).error is TargetTooLong
    assert read(RequestHeadReader, pieces_of(request(over))).error is TargetTooLong


def test_request_line_over_its_limit_is_refused_before_it_ends() -> None:
    """At the first byte that is too many."""
    heads = RequestHeadReader()
    heads.feed(b"GET /" + b"a" * (LINE_LIMIT - 5))
    with pytest.raises(TargetTooLong):
        heads.feed(b"a")


def test_field_line_may_be_as_long_as_its_limit_and_no_longer() -> None:
    """One byte more is a 431."""
    line = "X: " + "a" * (LINE_LIMIT - 3)
    head = read_request(request("GET / HTTP/1.1", line))
    assert head.values(b"x") == [b"a" * (LINE_LIMIT - 3)]
    over = request("GET / HTTP/1.1", line + "a")
    assert read(RequestHeadReader, [over]).error is HeadersTooLarge
    assert read(RequestHeadReader, pieces_of(over)).error is HeadersTooLarge


@pytest.mark.parametrize("prefix", [b"", b"\r\n"])
def test_head_may_be_as_large_as_its_limit_and_no_larger(prefix: bytes) -> None:
    """All bytes up to the last line's end count; those behind it do not."""
    start = prefix + b"GET / HTTP/1.1\r\n" + (b"X: " + b"a" * 9995 + b"\r\n") * 6
    room = HEAD_LIMIT - len(start) - len(b"Y: \r\n\r\n")
    for extra, error in ((0, None), (1, HeadersTooLarge)):
        data = start + b"Y: " + b"a" * (room + extra) + b"\r\n\r\n"
        assert len(data) == HEAD_LIMIT + extra
        for behind in (b"", b"body" * 1000):
            assert read(RequestHeadReader, [data + behind]).error is error
            assert read(RequestHeadReader, [*pieces_of(data), behind]).error is error


def test_head_over_its_limit_is_refused_before_it_ends() -> None:
    """Memory is not filled until an end comes that never does."""
    line = b"X: " + b"a" * 1000 + b"\r\n"
    heads = RequestHeadReader()
    heads.feed(b"GET / HTTP/1.1\r\n")
    for _ in range((HEAD_LIMIT - 16) // len(line)):
        heads.feed(line)
    with pytest.raises(HeadersTooLarge):
        heads.feed(line)


def test_there_may_be_as_many_fields_as_the_limit_and_no_more() -> None:
    """One more is a 431."""
    fields = ["X: a"] * FIELD_COUNT_LIMIT
    assert len(read_request(request("GET / HTTP/1.1", *fields)).fields) == FIELD_COUNT_LIMIT
    over = request("GET / HTTP/1.1", *fields, "X: a")
    assert read(RequestHeadReader, [over]).error is HeadersTooLarge
    assert read(RequestHeadReader, bytewise(over)).error is HeadersTooLarge


@pytest.mark.parametrize(
    "data",
    [
        response("HTTP/1.1 200 " + "a" * LINE_LIMIT),
        response("HTTP/1.1 200 OK", "X: " + "a" * LINE_LIMIT),
        response("HTTP/1.1 200 OK", *["X: a"] * (FIELD_COUNT_LIMIT + 1)),
        response("HTTP/1.1 200 OK", *["X: " + "a" * 10000] * 7),
    ],
    ids=["status line", "field line", "count", "head"],
)
def test_response_over_a_limit_is_the_upstreams_fault(data: bytes) -> None:
    """The agent gets a 502, not a complaint about its own request."""
    assert read(ResponseHeadReader, [data]).error is UpstreamMalformed


@pytest.mark.parametrize(
    "fields", [(" folded",), ("Content-Length: 5, 5",), ("X: " + "a" * 20000,)]
)
def test_malformed_response_keeps_its_status_for_the_metrics(fields: tuple[str, ...]) -> None:
    """What the upstream said is known, even if the rest of it cannot be passed on."""
    heads = ResponseHeadReader()
    data = response("HTTP/1.1 503 Unavailable", *fields)
    with pytest.raises(UpstreamMalformed) as caught:
        take(heads, data)
    assert caught.value.upstream_status == 503


def test_response_without_a_status_has_none_for_the_metrics() -> None:
    """Garbage says nothing."""
    with pytest.raises(UpstreamMalformed) as caught:
        take(ResponseHeadReader(), b"garbage\r\n")
    assert caught.value.upstream_status is None


def take(heads: ResponseHeadReader, data: bytes) -> ResponseHead:
    """Return the head of what is fed at once."""
    heads.feed(data)
    return heads.head()


def test_limits_are_those_that_are_promised() -> None:
    """16 KiB a line, 64 KiB a head, 128 fields."""
    assert (LINE_LIMIT, HEAD_LIMIT, FIELD_COUNT_LIMIT) == (16384, 65536, 128)
