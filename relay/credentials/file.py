"""The value that a file holds, followed through changes and renames.

The file is looked at on every question (one ``stat``), and read when it changed. One that may keep
its reader waiting is looked at by a thread, once a second: its last value serves meanwhile, and
nobody waits for a mount that is dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from relay import threads
from relay.config import FileSource
from relay.credentials.mounts import may_hang
from relay.credentials.sources import NOT_THERE, Reading, Result, compare, read_file

# A file may be caught between truncation and writing: its last value holds this long.
HALF_WRITTEN_GRACE_SECONDS: Final = 2.0
# A file changed so recently may change again without its time stamp moving (git calls such
# an entry "racily clean"; kernels stamp with the timer's tick, 1 to 10 ms).
RACY_NANOSECONDS: Final = 100_000_000
# How often a file is looked at that may keep its reader waiting; and how long its first reading is
# awaited, before there is any value. What answers at all does so in far less.
APART_SECONDS: Final = 1.0
FIRST_SECONDS: Final = 1.0

T = TypeVar("T")

_Stamp = tuple[int, ...]
"""What tells a file from the same one, changed, and from another."""
_Found = tuple[_Stamp | None, Reading | None]
"""How a file looks, if it is there, and what it holds; None if it is as it was."""


class FileValue:
    """A file's value."""

    def __init__(self, source: FileSource, on_read: Callable[[Result], None]) -> None:
        self._source = source
        self._on_read = on_read
        self._refreshing = False
        self._last_read: Reading | None = None
        self._stamp: _Stamp | None = None
        self._racy = True
        self._seen = False
        self._apart = may_hang(source.file)
        """Whether a thread looks at it."""
        self._look: Look[_Found] | None = None
        self._look_due = float("-inf")
        self._patience = FIRST_SECONDS
        self._reading = Reading(problem="does not answer" if self._apart else NOT_THERE)
        self._bad_since: float | None = None

    @property
    def reading(self) -> Reading:
        """The value now, or why there is none."""
        if self._apart:
            self._look_apart()
        elif not self._seen:
            self._take(*self._look_now())
            self._see()
        return self._reading

    def _see(self) -> None:
        """Let this look serve all calls of the same turn of the event loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no loop, no turns
            return
        loop.call_soon(self._look_again)
        self._seen = True

    def _look_again(self) -> None:
        self._seen = False

    def _look_apart(self) -> None:
        """Take what a look has found, and begin the next when it is time; never two at once."""
        now = time.monotonic()
        if self._look is None:
            if now < self._look_due:
                return
            self._look_due = now + APART_SECONDS
            self._look = Look(self._look_now, (None, None))
        found = self._look.found(self._patience)
        self._patience = 0.0
        if found is not None:
            self._look = None
            self._take(*found)

    def _look_now(self) -> _Found:
        try:
            status = os.stat(self._source.file)  # noqa: PTH116  # on every call: no Path objects
        except OSError:
            return None, read_file(self._source)
        stamp = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode)
        known = stamp == self._stamp and not self._racy
        return stamp, None if known else read_file(self._source)

    def _take(self, stamp: _Stamp | None, reading: Reading | None) -> None:
        if reading is None:
            return
        self._report(stamp, reading)
        now = time.monotonic()
        if stamp != self._stamp:
            self._apart = may_hang(self._source.file)  # something may have been mounted there
        self._stamp = stamp
        self._racy = stamp is not None and time.time_ns() - stamp[2] < RACY_NANOSECONDS
        self._racy = self._racy or not reading.certain
        gone = stamp is None and reading.certain
        if reading.value is not None or gone or self._reading.value is None:
            self._reading, self._bad_since = reading, None
            return
        # Half written, or out of reach: the last value holds a while; look again next time.
        self._bad_since = now if self._bad_since is None else self._bad_since
        if now - self._bad_since > HALF_WRITTEN_GRACE_SECONDS:
            self._reading = reading
        else:
            self._racy = True

    def _report(self, stamp: _Stamp | None, reading: Reading) -> None:
        """Tell of a further reading, unless the file only might have changed, and has not."""
        news = stamp != self._stamp or self._refreshing or reading != self._last_read
        if self._last_read is not None and news:
            self._on_read(compare(self._reading, reading))
        self._last_read, self._refreshing = reading, False

    async def settle(self) -> None:
        """Whatever can be known is known at the first question."""

    def refresh(self) -> None:
        """Read at the next question, even if the file looks the same."""
        self._racy = self._refreshing = True
        self._seen = False
        self._look_due = float("-inf")

    def close(self) -> None:
        """Nothing runs that anybody would wait for."""


class Look(Generic[T]):
    """A look at something by a thread of its own; ``nothing`` is what one finds that failed."""

    def __init__(self, look: Callable[[], T], nothing: T) -> None:
        self._look = look
        self._found = nothing
        self._over = threading.Event()
        try:
            threads.start(self._run)
        except OSError:  # no thread is left: nothing is learnt this time
            self._over.set()

    def _run(self) -> None:
        with contextlib.suppress(Exception):  # of a fault of ours nothing is learnt either
            self._found = self._look()
        self._over.set()

    def found(self, wait_seconds: float) -> T | None:
        """Return what was found, or None while that is not known."""
        return self._found if self._over.wait(wait_seconds) else None
