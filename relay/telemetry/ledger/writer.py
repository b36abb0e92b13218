"""Writes rows to a ledger's file by a thread of its own: no call ever waits for the disk.

Twice a second it takes what has come and writes it as one transaction, so a relay that is killed
loses less than a second of calls; what is written stands on the disk itself after the next
checkpoint, once a minute. Where the file cannot be written the batch is dropped and counted, and
the next one tries anew. Where another relay keeps it, rows wait until that one ends.

It never logs, for a handler of the log may call what is the event loop's: ``take_notices``
returns what there is to say.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from relay import threads
from relay.telemetry.ledger.batch import Batches
from relay.telemetry.ledger.file import LedgerFile, Taken, Unusable, explained
from relay.telemetry.ledger.retention import Limits, Retention, newest_time
from relay.telemetry.ledger.row import Row
from relay.telemetry.ledger.schema import name_of, note
from relay.telemetry.ledger.spent import (
    Found,
    SessionQuestion,
    last_row,
    spent_in_session,
    spent_since,
)

TICK_SECONDS: Final = 0.5
CHECKPOINT_SECONDS: Final = 60.0
# How often a file is tried that another relay keeps, or that nobody needs just now. It is had
# within five seconds, with a tick's delay and what opening takes.
_RETRY_SECONDS: Final = 4.0
# Rows that wait, for another relay's end or a disk that is slow: some 20 MB of memory.
QUEUE_LIMIT: Final = 20_000
TIMEZONE: Final = "timezone"
"""Under which name the file keeps the zone in which days are cut."""

Answer = Callable[[tuple[int, int] | None], object]
"""Takes micro-dollars and tokens, or None where they cannot be read."""


class Writer:
    """Takes rows and writes them later."""

    def __init__(
        self,
        path: str,
        limits: Limits,
        timezone: str,
        since: float | None = None,
        begun: dict[str, int] | None = None,
    ) -> None:
        """Begin; what was spent ``since`` a moment is read first, if there is one.

        ``begun`` are the ledgers that this process has written, by name, each with its last row
        before that.
        """
        self.path = path
        self.limits = limits
        """May be changed at any time, as a whole."""
        self.timezone = timezone
        """The same."""
        self.problem = ""
        """Why nothing can be written now; empty while it can be."""
        self.found: list[Found] | None = None
        """What was spent before, once that is read."""
        self.name = ""
        """Which ledger it is, wherever its file is."""
        self._since = since
        self._rows: deque[Row] = deque()
        self._questions: deque[tuple[SessionQuestion, Answer]] = deque()
        self._wake = threading.Event()
        self._overflowed = 0
        self._lost = 0
        self._told = 0
        """How many of the calls that are missing a notice has told of."""
        self._notices: deque[str] = deque()
        self._end = threading.Event()
        self._file: LedgerFile | None = None
        self._batches: Batches | None = None
        self._begun: dict[str, int] = {} if begun is None else begun
        self._retention: Retention | None = None
        self._noted_timezone = ""
        self._retry_at = 0.0
        self._checkpoint_at = 0.0
        self._is_dirty = False
        self._looked = threading.Event()
        self._thread = threads.start(self._run)

    def put(self, row: Row) -> None:
        """Have a row written; by the event loop's thread alone."""
        if len(self._rows) >= QUEUE_LIMIT:
            self._overflowed += row.calls
        else:
            self._rows.append(row)

    def ask(self, question: SessionQuestion, answer: Answer) -> None:
        """Have the thread read what a session has spent, and hand it to ``answer``."""
        self._questions.append((question, answer))
        self._wake.set()

    @property
    def dropped(self) -> int:
        """How many calls are missing in the file."""
        return self._overflowed + self._lost

    def take_notices(self) -> list[str]:
        """Return what there is to say since this was last asked."""
        return [self._notices.popleft() for _ in range(len(self._notices))]

    def wait_for_first_look(self, limit_seconds: float) -> bool:
        """Wait until the file was tried once; return whether that was within the limit."""
        return self._looked.wait(limit_seconds)

    def end(self) -> None:
        """Have what has been put written, and the file closed."""
        self._end.set()
        self._wake.set()

    def join(self, limit_seconds: float) -> None:
        """Wait for the end, up to a limit."""
        self._thread.join(limit_seconds)
        if self._thread.is_alive() and self._rows:
            self._notices.append(f"{_calls_in(tuple(self._rows))} calls were not written in time")

    # The thread

    def _run(self) -> None:
        self._tick()
        self._looked.set()
        while not self._end.is_set():
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()
            self._tick()
        self._tick()
        if self._rows:
            left = _calls_in(self._take())
            self._lost += left
            self._notices.append(f"{left} calls were not written: it {self.problem}")
        self._close()

    def _tick(self) -> None:
        questions = [self._questions.popleft() for _ in range(len(self._questions))]
        try:
            self._work()
        except Unusable as error:
            self._give_up(str(error))
        except Exception as error:  # noqa: BLE001  # the thread must go on
            self._give_up(f"is not written, by a fault of the relay: {error!r}")
        for question, answer in questions:
            self._answer(question, answer)

    def _answer(self, question: SessionQuestion, answer: Answer) -> None:
        found = None
        if self._file is not None:
            with contextlib.suppress(sqlite3.Error):
                last = self._begun[self.name]
                found = spent_in_session(self._file.connection, question, last)
        with contextlib.suppress(RuntimeError):  # the event loop is gone
            answer(found)

    def _work(self) -> None:
        if self._file is not None and not self._file.is_there:
            self._close()
        if self._file is None and not self._open():
            return
        assert self._file is not None
        assert self._batches is not None
        assert self._retention is not None
        connection = self._file.connection
        with explained(self.path):
            written = self._write(self._batches)
            if self.timezone != self._noted_timezone:
                note(connection, TIMEZONE, self.timezone)
                self._noted_timezone = self.timezone
            self._retention.tend(connection, self.limits, written)
            self._is_dirty = self._is_dirty or written > 0
            if self._is_dirty and time.monotonic() >= self._checkpoint_at:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                self._is_dirty = False
                self._checkpoint_at = time.monotonic() + CHECKPOINT_SECONDS
        self._recover()

    def _open(self) -> bool:
        """Open the file, if it is time to; return whether it is open."""
        taken = self.problem == str(Taken())
        if time.monotonic() < self._retry_at and (taken or not self._rows):
            return False
        self._retry_at = time.monotonic() + _RETRY_SECONDS
        try:
            file = self._file = LedgerFile(self.path)
            with explained(self.path):
                self._retention = Retention(newest_time(file.connection))
                self.name = name_of(file.connection)
                self._begun.setdefault(self.name, last_row(file.connection))
                if self._since is not None and self.found is None:
                    self.found = spent_since(file.connection, self._since)
        except Taken:
            raise
        except BaseException:
            self._lost += _calls_in(self._take())
            raise
        self._batches = Batches(self._file.connection)
        self._noted_timezone = ""
        self._checkpoint_at = time.monotonic() + CHECKPOINT_SECONDS
        return True

    def _write(self, batches: Batches) -> int:
        rows = self._take()
        if not rows:
            return 0
        try:
            return batches.write(rows)
        except BaseException:
            self._lost += _calls_in(rows)
            raise

    def _take(self) -> list[Row]:
        """Return the rows that wait; those that come meanwhile are for the next batch."""
        return [self._rows.popleft() for _ in range(len(self._rows))]

    def _give_up(self, problem: str) -> None:
        """Close the file, and say why if nobody knows yet."""
        self._close()
        if not self.problem:
            self._notices.append(problem)
        self.problem = problem

    def _recover(self) -> None:
        """Say that it works again, and what is missing."""
        missing = self.dropped - self._told
        if not self.problem and not missing:
            return
        self._told += missing
        self.problem = ""
        self._notices.append(f"is written again; {missing} calls are missing in it")

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._batches = self._retention = None


def _calls_in(rows: Sequence[Row]) -> int:
    """Return how many calls rows stand for: none, where they fill another's place."""
    return sum(row.calls for row in rows)
