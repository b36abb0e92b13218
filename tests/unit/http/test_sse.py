"""Event streams: bytes in, however they are cut; the events of the standard out."""

import time
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.http.sse import LINE_COUNT_LIMIT, Event, EventReader
from tests.unit.telemetry.usage.samples import bytewise, cut

STREAMS = {
    "one event": (b"data: a\n\n", [(b"", b"a")]),
    "a name": (b"event: ping\ndata: {}\n\n", [(b"ping", b"{}")]),
    "a name behind the data": (b"data: {}\nevent: ping\n\n", [(b"ping", b"{}")]),
    "two events": (b"data: a\n\ndata: b\n\n", [(b"", b"a"), (b"", b"b")]),
    "a name that is not kept": (b"event: x\ndata: a\n\ndata: b\n\n", [(b"x", b"a"), (b"", b"b")]),
    "CRLF": (b"event: x\r\ndata: a\r\n\r\ndata: b\r\n\r\n", [(b"x", b"a"), (b"", b"b")]),
    "CR": (b"event: x\rdata: a\r\rdata: b\r\r", [(b"x", b"a"), (b"", b"b")]),
    "all line ends mixed": (
        b"event: x\rdata: a\ndata: b\r\n\ndata: c\n\r\ndata: d\r\r\ndata: e\r\n\r",
        [(b"x", b"a\nb"), (b"", b"c"), (b"", b"d"), (b"", b"e")],
    ),
    "several data lines": (b"data: a\ndata:\ndata: b\n\n", [(b"", b"a\n\nb")]),
    "no space": (b"event:x\ndata:a\n\n", [(b"x", b"a")]),
    "only one space is taken": (b"data:  a \n\n", [(b"", b" a ")]),
    "colons in the data": (b"data: a:b: c\n\n", [(b"", b"a:b: c")]),
    "empty data": (b"data:\n\ndata\n\n", [(b"", b""), (b"", b"")]),
    "no data": (b"event: x\n\nid: 1\n\ndata: a\n\n", [(b"", b"a")]),
    "comments": (b": hello\n\n:\ndata: a\n: b\n\n", [(b"", b"a")]),
    "unknown fields": (b"id: 1\nretry: 5\nfoo: bar\nbaz\ndata: a\n\n", [(b"", b"a")]),
    "fields are told by their case": (b"Data: a\nEVENT: b\ndata: c\n\n", [(b"", b"c")]),
    "a byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [(b"", b"a")]),
    "a mark only at the start": (
        b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\ndata: c\n\n",
        [(b"", b"c")],
    ),
    "half a mark": (b"\xef\xbbdata: a\n\ndata: b\n\n", [(b"", b"b")]),
    "empty lines in excess": (b"\n\n\ndata: a\n\n\n\n\ndata: b\n\n\n", [(b"", b"a"), (b"", b"b")]),
    "what is not UTF-8": (b"data: \xff\x00\xc3\n\n", [(b"", b"\xff\x00\xc3")]),
    "a line end of another kind": (
        "data: a\u2028b\x0bc\x85\n\n".encode(),
        [(b"", "a\u2028b\x0bc\x85".encode())],
    ),
    "an event without its end": (b"data: a\n\ndata: b\n", [(b"", b"a")]),
    "nothing": (b"", []),
}
RESTS = {
    "no empty line": (b"data: a\n\nevent: x\ndata: b\n", [(b"x", b"b")]),
    "no line end": (b"data: a\n\nevent: x\ndata: b", [(b"x", b"b")]),
    "CRLF and no empty line": (b"data: a\r\n\r\nevent: x\r\ndata: b\r\n", [(b"x", b"b")]),
    "CR and no empty line": (b"data: a\r\revent: x\rdata: b\r", [(b"x", b"b")]),
    "the only event": (b"data: b", [(b"", b"b")]),
    "no data": (b"data: a\n\nevent: x\n", []),
    "a comment": (b"data: a\n\n: b", []),
    "a whole event": (b"data: a\n\n", []),
    "nothing": (b"", []),
}
EVENTS = st.lists(
    st.sampled_from(
        [b"data: a", b"data:", b"event: x", b": c", b"id", b"", b"\xef\xbb\xbf", b"data: \xff"]
    ),
    max_size=12,
)
LINE_ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
CUTS = st.lists(st.integers(min_value=1, max_value=90), max_size=10)


def read(pieces: Iterable[bytes], limit: int = 1000) -> list[Event]:
    """Return the events in the pieces."""
    reader = EventReader(limit)
    return [event for piece in pieces for event in reader.feed(piece)]


@pytest.mark.parametrize("name", STREAMS)
def test_streams_are_read_whole_byte_by_byte_and_in_two(name: str) -> None:
    """The events are the same wherever a stream is cut."""
    stream, pairs = STREAMS[name]
    expected = [Event(*pair) for pair in pairs]
    assert read([stream]) == expected
    assert read(bytewise(stream)) == expected
    for position in range(1, len(stream)):
        assert read([stream[:position], b"", stream[position:]]) == expected


@pytest.mark.parametrize("name", RESTS)
def test_what_lacks_its_empty_line_is_left_over(name: str) -> None:
    """It is an event only for who knows that no more comes."""
    stream, pairs = RESTS[name]
    for pieces in ([stream], bytewise(stream)):
        reader = EventReader()
        for piece in pieces:
            reader.feed(piece)
        assert reader.rest() == [Event(*pair) for pair in pairs]


def test_what_is_over_the_limit_is_not_left_over() -> None:
    """Nobody can say whether it was whole."""
    reader = EventReader(limit=20)
    assert reader.feed(b"event: x\ndata: " + b"a" * 30) == []
    assert reader.rest() == []


@given(st.lists(st.tuples(EVENTS, LINE_ENDS), max_size=6), CUTS)
def test_any_stream_reads_the_same_at_any_cut(
    blocks: list[tuple[list[bytes], bytes]], positions: list[int]
) -> None:
    """Line ends of every kind, in one stream, cut at random."""
    stream = b"".join(b"".join(line + end for line in lines) + end for lines, end in blocks)
    assert read(cut(stream, positions)) == read([stream]) == read(bytewise(stream))


@given(st.binary(max_size=200), CUTS)
def test_any_bytes_read_the_same_at_any_cut(stream: bytes, positions: list[int]) -> None:
    """Nothing raises, whatever comes."""
    assert read(cut(stream, positions)) == read([stream])


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_event_over_the_limit_is_reported_without_its_data(size: int) -> None:
    """Its name is kept where it came early, and what follows is read."""
    stream = b"event: big\ndata: %b\n\ndata: b\n\n" % (b"a" * 500)
    pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert read(pieces, limit=100) == [Event(b"big", b"", too_large=True), Event(b"", b"b")]


def test_an_event_over_the_limit_without_a_name() -> None:
    """There is nothing to know of it but that it was there."""
    assert read([b"data: %b\n" % (b"a" * 500), b"\n"], limit=100) == [
        Event(b"", b"", too_large=True)
    ]


def test_an_event_at_the_limit_is_read() -> None:
    """The limit is that of the lines, without the empty one."""
    stream = b"data: %b\n\n" % (b"a" * 94)
    assert read([stream], limit=100) == read(bytewise(stream), limit=100) == [Event(b"", b"a" * 94)]


def test_events_of_countless_lines_are_not_read() -> None:
    """They would keep the reader busy for as long as they like."""
    stream = b"event: x\n" + b"data\n" * (LINE_COUNT_LIMIT + 1) + b"\n"
    assert read([stream], limit=len(stream)) == [Event(b"x", b"", too_large=True)]


def test_events_that_nobody_wants_are_dropped_unread() -> None:
    """The test sees an event's lines as they came, with their ends made equal."""
    reader = EventReader()
    seen: list[bytes] = []

    def is_ignored(block: bytes) -> bool:
        seen.append(block)
        return block.startswith(b"data: no")

    reader.ignore(is_ignored)
    events = reader.feed(b"data: no 1\n\ndata: yes\n\ndata: n") + reader.feed(b"o 2\r\n\r\n")
    events += reader.feed(b"data: no 3\n\n")
    assert events == [Event(b"", b"yes")]
    assert seen == [b"data: no 1", b"data: yes", b"data: no 2", b"data: no 3"]


COMMON = b'event: more\ndata: {"more"'
COMMON_EVENT = COMMON + b':"a"}\n\n'
BESIDE = [
    b"event: end\ndata: {}\n\n",
    b"data: {}\n\n",
    b'event: more\ndata: {"else":1}\n\n',
    COMMON + b"\ndata: and another line\n\n",
    b"\n",
    b"\n\n",
    b"\r\n\r\n",
    b": comment\n\n",
    COMMON + b"\r\rdata: behind\n\n",
    COMMON + b"\n",
    COMMON,
    b"x" + COMMON_EVENT,
    COMMON_EVENT.replace(b"\n", b"\r\n"),
    COMMON_EVENT[:-1],
]


@given(
    pieces=st.lists(
        st.one_of(
            st.integers(min_value=1, max_value=4).map(lambda count: COMMON_EVENT * count),
            st.sampled_from(BESIDE),
        ),
        max_size=8,
    ),
    positions=CUTS,
    whole=st.booleans(),
)
@example(pieces=[b"\n", COMMON_EVENT], positions=[14], whole=False)
def test_what_is_dropped_as_a_whole_is_only_what_would_be_dropped(
    pieces: list[bytes], positions: list[int], whole: bool
) -> None:
    """However the stream is cut, and whatever stands between the common events."""

    def is_common(lines: bytes) -> bool:
        return lines.startswith(COMMON)

    stream = b"data: first\n\n" + b"".join(pieces)
    expected = EventReader()
    expected.ignore(is_common)
    reader = EventReader()
    reader.ignore(is_common, COMMON)
    parts = [b"data: first\n\n", *pieces] if whole else cut(stream, positions)
    assert [event for piece in parts for event in reader.feed(piece)] == [
        event for byte in bytewise(stream) for event in expected.feed(byte)
    ]


def test_common_events_are_dropped_as_many_as_there_are() -> None:
    """Where there is nothing else in a piece."""
    reader = EventReader()
    dropped: list[bytes] = []
    reader.ignore(lambda lines: lines.startswith(COMMON), COMMON, dropped.append)
    assert reader.feed(b"data: first\n\n") == [Event(b"", b"first")]
    assert reader.feed(COMMON_EVENT) == reader.feed(COMMON_EVENT * 1000) == []
    assert dropped == [COMMON_EVENT, COMMON_EVENT * 1000]
    dropped.clear()
    assert reader.feed(COMMON_EVENT * 2 + BESIDE[0]) == [Event(b"end", b"{}")]
    assert dropped == [COMMON_EVENT.removesuffix(b"\n\n")] * 2


def test_what_stands_behind_common_events_is_read() -> None:
    """Also where neither they nor it came in one piece."""
    reader = EventReader()
    reader.ignore(lambda lines: lines.startswith(COMMON), COMMON)
    end = BESIDE[0]
    assert reader.feed(b"data: first\n\n" + COMMON_EVENT[:20]) == [Event(b"", b"first")]
    assert reader.feed(COMMON_EVENT[20:] + COMMON_EVENT * 3 + end[:10]) == []
    assert reader.feed(end[10:] + COMMON_EVENT) == [Event(b"end", b"{}")]


def test_an_event_in_small_pieces_takes_no_more_memory_than_it_has_bytes() -> None:
    """Each piece by itself would take twenty times its own size."""
    reader = EventReader()
    tracemalloc.start()
    try:
        for _ in range(200_000):
            reader.feed(b"da")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 * 400_000


def test_reading_takes_time_in_proportion() -> None:
    """Sixteen times the bytes, cut small, do not take a hundred times as long."""

    def seconds(size: int) -> float:
        stream = b"data: %b\n\n" % (b"a" * size)
        pieces = [stream[i : i + 64] for i in range(0, len(stream), 64)]
        began = time.thread_time()
        assert len(read(pieces, limit=2 * size)) == 1
        return time.thread_time() - began

    small, large = (min(seconds(size) for _ in range(3)) for size in (100_000, 1_600_000))
    assert large < 100 * small
