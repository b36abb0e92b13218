"""Lines behind a thread of their own: in order, and none in the way of whoever wrote them."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import time
from collections.abc import Iterator
from typing import Final

import pytest

from relay.telemetry import line_writer as line_writer_module
from relay.telemetry.line_writer import LineWriter
from tests.harness.expectations import wait_for

FUSE_SECONDS: Final = 10.0
PIPE_BYTES: Final = 4096
LINE_BYTES: Final = 64
QUEUE_LINES: Final = 300


class Pipe:
    """A pipe that holds little, and what comes out of it."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.stream = os.fdopen(writer, "w", encoding="utf-8")
        self._rest = b""

    def fill(self) -> None:
        """Let nothing more fit."""
        os.write(self.stream.fileno(), b"p" * PIPE_BYTES)

    def empty(self) -> None:
        """Read what it was filled with."""
        assert os.read(self.reader, PIPE_BYTES) == b"p" * PIPE_BYTES

    def line(self) -> str:
        """Return the next line, once it is there."""
        poll = select.poll()
        poll.register(self.reader, select.POLLIN)
        while b"\n" not in self._rest:
            assert poll.poll(FUSE_SECONDS * 1000)
            self._rest += os.read(self.reader, 65536)
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def numbers(self, count: int) -> list[int]:
        """Return the numbers of so many lines."""
        return [int(self.line()) for _ in range(count)]

    def stop_reading(self) -> None:
        """Be gone as a reader."""
        os.close(self.reader)
        self.reader = -1

    def close(self) -> None:
        """Close both ends."""
        self.stream.close()
        if self.reader >= 0:
            os.close(self.reader)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe."""
    pipe = Pipe()
    yield pipe
    pipe.close()


@pytest.fixture
def writer(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> Iterator[LineWriter]:
    """What writes to the pipe; its queue is short."""
    monkeypatch.setattr(line_writer_module, "QUEUE_LIMIT", QUEUE_LINES * LINE_BYTES)
    writer = LineWriter(pipe.stream, lambda count: f"{count} missing\n")
    yield writer
    writer.close()
    if pipe.reader >= 0:
        pipe.stop_reading()  # so that the thread ends


def numbered(number: int) -> str:
    """Return a line with this number, as long as any."""
    return f"{number:0{LINE_BYTES - 1}}\n"


def put(writer: LineWriter, numbers: range) -> None:
    """Put lines one by one."""
    for number in numbers:
        writer.put(numbered(number))


def test_lines_come_out_as_they_went_in(pipe: Pipe, writer: LineWriter) -> None:
    """In order, whatever is in them."""
    writer.put("one\ntwo\n")
    writer.put("caf\xe9 \ud800\n")
    assert [pipe.line() for _ in range(3)] == ["one", "two", "caf\xe9 \\ud800"]
    assert writer.take_dropped() == 0


def test_nobody_waits_for_a_reader(pipe: Pipe, writer: LineWriter) -> None:
    """What there is no room for is counted; the rest comes out, with a word of what is missing."""
    pipe.fill()
    put(writer, range(1000))
    assert writer.take_dropped() == 1000 - QUEUE_LINES
    assert writer.take_dropped() == 0
    pipe.empty()
    assert pipe.numbers(QUEUE_LINES) == list(range(QUEUE_LINES))
    assert pipe.line() == f"{1000 - QUEUE_LINES} missing"
    put(writer, range(1000, 1010))
    assert pipe.numbers(10) == list(range(1000, 1010))
    assert writer.take_dropped() == 0


def test_the_word_comes_where_the_lines_are_missing(pipe: Pipe, writer: LineWriter) -> None:
    """Also where others wait by then, before them and behind."""
    pipe.fill()
    put(writer, range(400))
    pipe.empty()
    first = pipe.numbers(200)
    wait_for(lambda: writer._waiting < QUEUE_LINES // 2 * LINE_BYTES)
    put(writer, range(1000, 1010))
    assert first + pipe.numbers(100) == list(range(QUEUE_LINES))
    assert pipe.line() == "100 missing"
    assert pipe.numbers(10) == list(range(1000, 1010))


def test_a_slow_reader_gets_lines_in_rows(pipe: Pipe, writer: LineWriter) -> None:
    """Not a line and a word in turns: what was full takes lines again when it is half empty."""
    pipe.fill()
    put(writer, range(400))
    pipe.empty()
    wait_for(lambda: writer._waiting <= QUEUE_LINES * LINE_BYTES - PIPE_BYTES)
    put(writer, range(400, 410))
    assert writer.take_dropped() == 110
    assert pipe.numbers(QUEUE_LINES) == list(range(QUEUE_LINES))
    assert pipe.line() == "110 missing"
    put(writer, range(1000, 1010))
    assert pipe.numbers(10) == list(range(1000, 1010))


def test_reader_that_is_gone_harms_nobody(pipe: Pipe, writer: LineWriter) -> None:
    """What it would have got is counted."""
    pipe.stop_reading()
    put(writer, range(50))
    writer.flush(FUSE_SECONDS)
    assert writer.take_dropped() == 50


class Disk:
    """Stands in for ``os.write``: it takes so many bytes, and is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 0
        self._write = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, descriptor: int, data: bytes) -> int:
        """Write what there is room for."""
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written


def test_full_disk_tears_one_line_at_most(
    pipe: Pipe, writer: LineWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written once there is room again begins on a line of its own."""
    disk = Disk(monkeypatch)
    disk.room = 100
    writer.put(numbered(1) + numbered(2) + numbered(3))
    writer.flush(FUSE_SECONDS)
    assert writer.take_dropped() == 2
    disk.room = 10_000
    writer.put(numbered(4))
    writer.flush(FUSE_SECONDS)
    assert writer.take_dropped() == 0
    said = [pipe.line() for _ in range(4)]
    assert said == [numbered(1).strip(), numbered(2)[:36], "2 missing", numbered(4).strip()]


def test_word_that_could_not_be_written_is_not_forgotten(
    pipe: Pipe, writer: LineWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts all that is missing by the time that there is room for it."""
    disk = Disk(monkeypatch)
    put(writer, range(2))
    writer.flush(FUSE_SECONDS)
    put(writer, range(2, 5))
    writer.flush(FUSE_SECONDS)
    disk.room = 10_000
    writer.put(numbered(5))
    assert [pipe.line(), pipe.line()] == ["5 missing", numbered(5).strip()]
    assert writer.take_dropped() == 5


def test_pipe_that_does_not_block_is_waited_for(pipe: Pipe, writer: LineWriter) -> None:
    """Another process may have made it so: a terminal's descriptors share that."""
    os.set_blocking(pipe.stream.fileno(), False)
    put(writer, range(QUEUE_LINES))
    assert pipe.numbers(QUEUE_LINES) == list(range(QUEUE_LINES))
    assert writer.take_dropped() == 0


def test_flush_waits_for_a_reader_and_no_longer_than_it_is_told(
    pipe: Pipe, writer: LineWriter
) -> None:
    """A relay that stops must stop; and no line is lost where somebody reads."""
    pipe.fill()
    put(writer, range(10))
    begun = time.monotonic()
    writer.flush(0.05)
    assert 0.05 <= time.monotonic() - begun < FUSE_SECONDS
    assert writer._waiting == 10 * LINE_BYTES
    pipe.empty()
    writer.flush(FUSE_SECONDS)
    assert writer._waiting == 0
