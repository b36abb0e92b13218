"""Chunked bodies: data in, however it is cut, and nothing that is not exactly that."""

from collections.abc import Iterable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import MalformedRequest, RelayError, UpstreamMalformed
from relay.http.chunked import LAST_CHUNK, SIZE_LINE_LIMIT, ChunkReader, chunk
from relay.http.parser import FIELD_COUNT_LIMIT, HEAD_LIMIT
from tests.unit.http.pieces import bytewise, cut


class Read(NamedTuple):
    """What came of some bytes; ``ended`` and ``rest`` as the reader has them."""

    data: bytes = b""
    ended: bool = False
    rest: bytes = b""
    refused: bool = False


def read(pieces: Iterable[bytes]) -> Read:
    """Feed the pieces, one after the other, up to the end or an error."""
    reader = ChunkReader(MalformedRequest)
    data = b""
    waiting = list(pieces)
    try:
        while waiting and not reader.ended:
            data += reader.feed(waiting.pop(0))
            reader.check()
    except MalformedRequest:
        return Read(data, refused=True)
    return Read(data, reader.ended, reader.rest + b"".join(waiting))


END = b"0\r\n\r\n"
VALID = {
    "nothing": (END, b""),
    "one chunk": (b"5\r\nhello\r\n" + END, b"hello"),
    "two chunks": (b"5\r\nhello\r\n6\r\n world\r\n" + END, b"hello world"),
    "hexadecimal in both cases": (
        b"a\r\n0123456789\r\nA\r\n0123456789\r\n" + END,
        b"0123456789" * 2,
    ),
    "leading zeroes": (b"005\r\nhello\r\n000\r\n\r\n", b"hello"),
    "line ends in the data": (b"6\r\n\r\n\r\n\r\n\r\n" + END, b"\r\n\r\n\r\n"),
    "what looks like an end in the data": (b"5\r\n0\r\n\r\n\r\n" + END, b"0\r\n\r\n"),
    "control bytes in the data": (b"3\r\n\x00\x16\xff\r\n" + END, b"\x00\x16\xff"),
    "an extension": (b"5;name\r\nhello\r\n" + END, b"hello"),
    "an extension with a value": (b"5;name=value;b=c\r\nhello\r\n" + END, b"hello"),
    "an extension in quotes": (b'5;n="a;b\\"c \xe9"\r\nhello\r\n' + END, b"hello"),
    "an extension of the last chunk": (b"0;n=v\r\n\r\n", b""),
    "trailers": (b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n", b"hello"),
    "framing in trailers": (b"0\r\nContent-Length: 5\r\nHost: b\r\n\r\n", b""),
}
BAD_SIZE_LINES = {
    "no size": b"",
    "a minus sign": b"-5",
    "a plus sign": b"+5",
    "a prefix": b"0x5",
    "an underscore": b"1_0",
    "no number": b"g",
    "a space before": b" 5",
    "a space behind": b"5 ",
    "a tab behind": b"5\t",
    "a number beyond any body": b"0" * 15 + b"5",
    "more than 64 bits": b"fffffffffffffffff",
    "a bare LF": b"5\nhello",
    "a bare CR": b"5\rhello",
    "a superscript digit": b"\xb2",
    "a space before an extension": b"5 ;a=b",
    "an empty extension": b"5;",
    "an extension without a name": b"5;=b",
    "an extension without a value": b"5;a=",
    "an extension with a space": b"5;a= b",
    "open quotes": b'5;a="b',
    "something behind quotes": b'5;a="b"c',
    "a control byte in an extension": b"5;a=\x01",
    "a control byte in quotes": b'5;a="\x01"',
    "a bare LF in quotes": b'5;a="\n"',
    "an overlong extension": b"5;a=" + b"b" * SIZE_LINE_LIMIT,
}
INVALID = {
    **{name: line + b"\r\nhello\r\n" + END for name, line in BAD_SIZE_LINES.items()},
    "an LF before the size": b"\n5\r\nhello\r\n" + END,
    "a chunk longer than it says": b"5\r\nhello!\r\n" + END,
    "a chunk shorter than it says": b"5\r\nhell\r\n" + END,
    "an LF behind the data": b"5\r\nhello\n" + END,
    "a CR behind the data": b"5\r\nhello\r0\r\n\r\n",
    "other bytes behind the data": b"5\r\nhelloXX",
    "a line end behind the data, turned round": b"5\r\nhello\n\r",
    "nothing behind the data": b"5\r\nhello0\r\n\r\n",
    "a trailer without a colon": b"0\r\nX\r\n\r\n",
    "a trailer without a name": b"0\r\n: a\r\n\r\n",
    "a space before a trailer's colon": b"0\r\nX : a\r\n\r\n",
    "a folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
    "a control byte in a trailer": b"0\r\nX: a\x00\r\n\r\n",
    "a bare LF in the trailers": b"0\r\nX: a\n\r\n",
    "a bare CR in the trailers": b"0\r\nX: a\rb\r\n\r\n",
    "a bare LF at the end": b"0\r\n\n",
}
EVERYTHING = [data for data, _ in VALID.values()] + list(INVALID.values())
CUTS = st.lists(st.integers(min_value=1, max_value=80), max_size=12)


@pytest.mark.parametrize("name", VALID)
def test_valid_bodies_are_read_whole_and_byte_by_byte(name: str) -> None:
    """Extensions and trailers are dropped, the data comes through."""
    coded, data = VALID[name]
    for behind in (b"", b"POST /next HTTP/1.1\r\n", b"\x00\r\n"):
        expected = Read(data, ended=True, rest=behind)
        assert read([coded + behind]) == expected
        assert read(bytewise(coded + behind)) == expected


@pytest.mark.parametrize("name", INVALID)
def test_invalid_bodies_are_refused_whole_and_byte_by_byte(name: str) -> None:
    """What another server could read differently is read by nobody."""
    assert read([INVALID[name]]).refused
    assert read(bytewise(INVALID[name])).refused


@given(coded=st.sampled_from(EVERYTHING), positions=CUTS)
def test_result_does_not_depend_on_where_the_bytes_are_cut(
    coded: bytes, positions: list[int]
) -> None:
    """The same data and the same rest, or the same refusal."""
    assert read(cut(coded, positions)) == read([coded])


@given(
    coded=st.sampled_from(EVERYTHING),
    at=st.integers(min_value=0, max_value=30),
    width=st.integers(min_value=0, max_value=3),
    junk=st.binary(max_size=4),
    positions=CUTS,
)
def test_damaged_bodies_read_the_same_however_they_are_cut(
    coded: bytes, at: int, width: int, junk: bytes, positions: list[int]
) -> None:
    """Whatever bytes are put in or taken out, cuts change nothing."""
    damaged = coded[:at] + junk + coded[at + width :]
    whole = read([damaged])
    assert read(bytewise(damaged)) == whole
    assert read(cut(damaged, positions)) == whole


@given(
    pieces=st.lists(st.binary(max_size=40), max_size=8),
    rest=st.binary(max_size=20),
    positions=st.lists(st.integers(min_value=1, max_value=500), max_size=20),
)
def test_what_is_written_in_chunks_is_read_back(
    pieces: list[bytes], rest: bytes, positions: list[int]
) -> None:
    """Writer and reader are each other's inverse, whatever the cuts."""
    coded = b"".join(chunk(piece) for piece in pieces) + LAST_CHUNK + rest
    assert read(cut(coded, positions)) == Read(b"".join(pieces), ended=True, rest=rest)


def test_empty_data_gives_no_chunk() -> None:
    """A chunk of size 0 would end the body."""
    assert chunk(b"") == b""
    assert chunk(b"hello") == b"5\r\nhello\r\n"
    assert chunk(b"x" * 255) == b"ff\r\n" + b"x" * 255 + b"\r\n"


def test_data_passes_as_it_arrives() -> None:
    """A large chunk is never gathered: each piece is handed on at once."""
    reader = ChunkReader(MalformedRequest)
    assert reader.feed(b"100000\r\nfirst") == b"first"
    assert reader.feed(b"second") == b"second"
    assert reader.feed(b"") == b""
    assert not reader.ended


def test_body_ends_only_behind_the_last_empty_line() -> None:
    """A last chunk without its end is a body that broke off."""
    reader = ChunkReader(MalformedRequest)
    for piece in (b"0", b"\r\n", b"X: a\r\n", b"\r"):
        assert reader.feed(piece) == b""
        assert not reader.ended
    reader.feed(b"\nrest")
    assert reader.ended
    assert reader.rest == b"rest"


@pytest.mark.parametrize("error", [MalformedRequest, UpstreamMalformed])
def test_whoever_sent_the_chunks_is_to_blame(error: type[RelayError]) -> None:
    """One reader serves both sides; only the error differs."""
    with pytest.raises(error):
        ChunkReader(error).feed(b"g\r\n")


@pytest.mark.parametrize(
    ("accepted", "impossible"),
    [
        (b"", b"g"),
        (b"", b"\n"),
        (b"5", b" "),
        (b"5", b"\n"),
        (b"5\r", b"h"),
        (b"5;a", b"\x00"),
        (b"0" * 15, b"0"),
        (b"5\r\nhello", b"!"),
        (b"5\r\nhello", b"\n"),
        (b"5\r\nhello\r", b"0"),
        (b"0\r\n", b"\n"),
        (b"0\r\nX: a", b"\x00"),
        (b"0\r\nX: a\r", b"b"),
    ],
)
def test_body_is_refused_at_its_first_impossible_byte(accepted: bytes, impossible: bytes) -> None:
    """The call ends then, not when a timer does."""
    assert not read(bytewise(accepted)).refused
    assert read(bytewise(accepted + impossible)).refused


def test_size_line_may_be_as_long_as_its_limit_and_no_longer() -> None:
    """No client in use sends extensions; a flood of them is refused before it ends."""
    line = b"5;a=" + b"b" * (SIZE_LINE_LIMIT - 4)
    good = line + b"\r\nhello\r\n" + END
    assert read([good]).data == b"hello"
    assert read(bytewise(good)).data == b"hello"
    assert read([line + b"b\r\nhello\r\n" + END]).refused
    assert read([line + b"b"]).refused
    assert read(bytewise(line + b"b")).refused


def test_largest_size_is_accepted() -> None:
    """Fifteen hexadecimal digits stay below what 64 bits hold."""
    reader = ChunkReader(MalformedRequest)
    assert reader.feed(b"f" * 15 + b"\r\ndata") == b"data"


def test_trailers_may_be_as_many_as_fields_and_no_more() -> None:
    """They are dropped, yet a flood of them is refused."""
    good = b"0\r\n" + b"X: a\r\n" * FIELD_COUNT_LIMIT + b"\r\n"
    assert read([good]).ended
    over = b"0\r\n" + b"X: a\r\n" * (FIELD_COUNT_LIMIT + 1) + b"\r\n"
    assert read([over]).refused
    assert read(bytewise(over)).refused


def test_trailers_may_not_be_larger_than_a_head() -> None:
    """They are dropped, yet a flood of them is refused."""
    line = b"X: " + b"a" * 10000 + b"\r\n"
    assert read([b"0\r\n" + line * 6 + b"\r\n"]).ended
    assert read([b"0\r\n" + line * (HEAD_LIMIT // len(line) + 1) + b"\r\n"]).refused
    assert read([b"0\r\nX: " + b"a" * HEAD_LIMIT]).refused


# Many small chunks in one read


EVENT = b'data: {"type":"ping"}\n\n'
ODD = {
    "one like most": chunk(EVENT),
    "line ends in the data": chunk(b"data: a\r\n\r\n"),
    "data that looks like chunks": chunk(b"1\r\na\r\n"),
    "nothing but line ends": chunk(b"\r\n\r\n"),
    "a size in capitals": b"1A\r\n" + b"x" * 26 + b"\r\n",
    "leading zeroes": b"005\r\nhello\r\n",
    "an extension": b"5;name=value\r\nhello\r\n",
    "a large one": chunk(b"x" * 5000),
    "the last one": END,
    "the last one, with trailers": b"0\r\nX-Sum: 1\r\n\r\n",
    "half a one": chunk(EVENT)[:-9],
    "one too long": b"5\r\nhello!\r\n",
    "one too short": b"5\r\nhell\r\n",
    "no data": b"5\r\n\r\n",
    "no size": b"\r\nhello\r\n",
    "a size that is none": b"0x5\r\nhello\r\n",
    "a size with a sign": b"+5\r\nhello\r\n",
    "a size with a space": b"5 \r\nhello\r\n",
    "bare line feeds": b"5\nhello\n",
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("before", [0, 1, 7, 40])
def test_row_of_chunks_reads_as_each_of_them_would(name: str, before: int) -> None:
    """Whatever stands within it, in front of it or behind it."""
    coded = chunk(EVENT) * before + ODD[name] + chunk(EVENT) * 40 + END + b"rest"
    expected = read(bytewise(coded))
    assert read([coded]) == expected
    for position in (1, 3, 15, len(coded) - 7, len(coded) - 8, len(coded) - 20):
        assert read([coded[:position], coded[position:]]) == expected


@given(
    coded=st.lists(st.sampled_from([*ODD.values(), chunk(EVENT) * 9]), max_size=12).map(b"".join),
    at=st.integers(min_value=0, max_value=300),
    width=st.integers(min_value=0, max_value=3),
    junk=st.binary(max_size=4),
    positions=CUTS,
)
def test_damaged_row_of_chunks_reads_as_each_of_them_would(
    coded: bytes, at: int, width: int, junk: bytes, positions: list[int]
) -> None:
    """Nothing is accepted in a row that would not be alone, and nothing refused."""
    damaged = coded[:at] + junk + coded[at + width :]
    expected = read(bytewise(damaged))
    assert read([damaged]) == expected
    assert read(cut(damaged, positions)) == expected


def test_what_came_before_a_wrong_byte_is_returned() -> None:
    """One read may hold both; the error comes behind the data, and stays."""
    reader = ChunkReader(UpstreamMalformed)
    assert reader.feed(b"4\r\nhalf\r\nzz\r\n") == b"half"
    with pytest.raises(UpstreamMalformed):
        reader.check()
    with pytest.raises(UpstreamMalformed):
        reader.feed(b"5\r\nlater\r\n")
