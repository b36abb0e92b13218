"""Lines that come in pieces: judged at each byte, and no byte looked at again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import MalformedRequest
from relay.http.chunked import ChunkReader
from relay.http.grammar import (
    FIELD_LINE_STAGES,
    LINE_LIMIT,
    REQUEST_LINE_STAGES,
    STATUS_LINE_STAGES,
    PartialLine,
    Stage,
)
from relay.http.parser import RequestHeadReader, ResponseHeadReader

ALL_STAGES: Final = (FIELD_LINE_STAGES, REQUEST_LINE_STAGES, STATUS_LINE_STAGES)
BEGINNINGS: Final = [
    b"GET /a?b=c HTTP/1.1\r",
    b"POST http://x/ HTTP/1.0",
    b"A * HTTP/1.",
    b"HTTP/1.1 200 OK, all is well\r",
    b"HTTP/1.0 503\r",
    b"Host: example.test\r",
    b"X-A:\t\xe9 \r",
    b"x:",
    b"\r",
]
ODD_BYTES: Final = st.sampled_from(
    [bytes([byte]) for byte in b" \r\n\t:/.\x00\x7f\xffHTP1a0?"] + [b"  ", b" H", b"\r\r", b""]
)


@given(
    stages=st.sampled_from(ALL_STAGES),
    line=st.sampled_from(BEGINNINGS),
    changes=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2), ODD_BYTES), max_size=3),
    sizes=st.lists(st.integers(1, 9), max_size=40),
)
def test_line_is_judged_as_if_it_came_at_once(
    stages: tuple[Stage, ...],
    line: bytes,
    changes: list[tuple[int, int, bytes]],
    sizes: list[int],
) -> None:
    """Whatever has been judged of it before: each beginning, in whatever pieces it came."""
    for at, width, odd in changes:
        line = line[:at] + odd + line[at + width :]
    judge, position = PartialLine(stages), 0
    for size in [*sizes, *[1] * len(line)]:
        position = min(position + size, len(line))
        beginning = line[:position]
        verdict = judge.may_go_on(beginning)
        assert verdict == bool(stages[0].rest.fullmatch(beginning))
        if not verdict or position == len(line):
            break


class Looks:
    """Counts the bytes of beginnings that are looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        may_go_on = PartialLine.may_go_on

        def count(judge: PartialLine, line: bytes | bytearray) -> bool:
            self.count += len(line) - judge._checked
            return may_go_on(judge, line)

        monkeypatch.setattr(PartialLine, "may_go_on", count)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """How many bytes were looked at."""
    return Looks(monkeypatch)


LONG: Final = b"a" * (LINE_LIMIT - 100)
FIELDS: Final = (b"x: " + LONG + b"\r\n" + LONG + b":\r\n") * 2
Feed = Callable[[bytes], object]
READERS: Final[dict[str, tuple[Callable[[], Feed], bytes]]] = {
    "a long target": (lambda: RequestHeadReader().feed, b"GET /" + LONG + b" HTTP/1.1\r\n"),
    "a long method": (lambda: RequestHeadReader().feed, LONG + b" / HTTP/1.1\r\n"),
    "long fields": (lambda: RequestHeadReader().feed, b"GET / HTTP/1.1\r\n" + FIELDS),
    "a long reason": (lambda: ResponseHeadReader().feed, b"HTTP/1.1 200 " + LONG + b"\r\n"),
    "long fields of an answer": (lambda: ResponseHeadReader().feed, b"HTTP/1.1 200\r\n" + FIELDS),
    "long trailers": (lambda: ChunkReader(MalformedRequest).feed, b"0\r\n" + FIELDS),
}


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("name", READERS)
def test_no_byte_is_looked_at_again_and_again(looks: Looks, name: str, size: int) -> None:
    """A peer that sends 64 KiB byte by byte would keep everybody else waiting for seconds."""
    make, data = READERS[name]
    feed = make()
    for position in range(0, len(data), size):
        feed(data[position : position + size])
    assert 0 < looks.count <= 3 * len(data)


def test_long_line_is_refused_at_its_first_wrong_byte() -> None:
    """However much of it is good, and wherever it is cut."""
    for beginning, wrong in (
        (b"GET /" + LONG, b"\x00"),
        (LONG, b"("),
        (b"GET / HTTP/1.1\r\n" + LONG, b"\r"),
        (b"GET / HTTP/1.1\r\nx: " + LONG, b"\x7f"),
        (b"GET / HTTP/1.1\r\nx: " + LONG + b"\r", b"a"),
        (b"GET /" + LONG + b" HTTP/1.1", b" "),
    ):
        for size in (1, 997):
            reader = RequestHeadReader()
            for position in range(0, len(beginning), size):
                assert not reader.feed(beginning[position : position + size])
            with pytest.raises(MalformedRequest):
                reader.feed(wrong)
