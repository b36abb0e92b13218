"""Lines written to a stream by a thread of their own, so that nobody else waits for its reader.

A pager that is stopped, a full pipe or a slow driver of logs holds a write for as long as it
likes. Lines then wait here, up to a limit; what comes after that is dropped and counted, and a
line says so once there is a reader again. Order is kept. Knows nothing of what the lines say.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, TextIO

from relay import threads

# Bytes: some ten thousand calls. Docker's own queue, with `mode: non-blocking`, holds 1 MiB.
QUEUE_LIMIT: Final = 4 * 1024 * 1024


class LineWriter:
    """Takes lines and writes them later."""

    def __init__(self, stream: TextIO, tell: Callable[[int], str]) -> None:
        # By its descriptor: no process ends well while a thread is stuck in the stream itself.
        self._descriptor = stream.fileno()
        self._stream = stream
        self._tell = tell
        """Makes the line that says how many are missing."""
        self._queue: SimpleQueue[bytes | int | threading.Event | None] = SimpleQueue()
        """Lines; how many are missing; whom to tell that it is written so far; the end."""
        self._lock = threading.Lock()
        self._waiting = 0
        """Bytes that are in the queue, or being written."""
        self._full = False
        self._untold = 0
        """Lines that are missing, and no line says so yet."""
        self._dropped = 0
        """The same, since it was last asked for."""
        self._torn = False
        """Whether what was written last is no whole line."""
        threads.start(self._run)

    def put(self, text: str) -> None:
        """Have whole lines written, unless too much waits already."""
        lines = self._encode(text)
        with self._lock:
            # What was full must have got half empty: the reader may be slow, and not gone.
            limit = QUEUE_LIMIT // 2 if self._full else QUEUE_LIMIT
            self._full = self._waiting + len(lines) > limit
            if self._full:
                self._lose(lines.count(b"\n"))
                return
            if self._untold:
                self._queue.put(self._untold)
                self._untold = 0
            self._waiting += len(lines)
            self._queue.put(lines)

    def _encode(self, text: str) -> bytes:
        return text.encode(self._stream.encoding, "backslashreplace")

    def _lose(self, count: int) -> None:
        self._untold += count
        self._dropped += count

    def take_dropped(self) -> int:
        """Return how many lines were dropped since this was last asked."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        return dropped

    def flush(self, limit_seconds: float) -> None:
        """Wait until what has been put is written, up to a limit."""
        written = threading.Event()
        self._queue.put(written)
        written.wait(limit_seconds)

    def close(self) -> None:
        """Write what has been put, and nothing more."""
        self._queue.put(None)

    # The thread

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, bytes):
                self._write_lines(item)
            elif isinstance(item, int):
                self._write_missing(item)
            else:
                item.set()

    def _write_lines(self, lines: bytes) -> None:
        rest = self._write(lines)
        with self._lock:
            self._waiting -= len(lines)
            self._lose(rest.count(b"\n"))
            untold = 0 if self._waiting or rest else self._untold
            self._untold -= untold
        if untold:
            self._write_missing(untold)

    def _write_missing(self, count: int) -> None:
        if self._write(self._encode(self._tell(count))):
            with self._lock:
                self._untold += count

    def _write(self, lines: bytes) -> bytes:
        """Return what could not be written: the reader is gone, or the disk is full."""
        rest = b"\n" + lines if self._torn else lines
        try:
            while rest:
                try:
                    written = os.write(self._descriptor, rest)
                except BlockingIOError:  # others have made it so
                    self._await_reader()
                else:
                    self._torn = rest[written - 1 : written] != b"\n"
                    rest = rest[written:]
        except OSError:
            return rest
        return b""

    def _await_reader(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        poll.poll()
