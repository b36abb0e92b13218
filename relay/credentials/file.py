"""The value that a file holds, followed through changes and renames.

The file is looked at on every question (one ``stat``), and read when it changed. One that may keep
its reader waiting is looked at by a thread, once a second: its last value serves meanwhile, and
nobody waits for a mount that is dead.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from relay.config import FileSource
from relay.credentials.document import VALUE
from relay.credentials.looks import RACY_NANOSECONDS, LooksApart, Turn
from relay.credentials.mounts import may_hang
from relay.credentials.reading import Reading, Result, Value, compare
from relay.credentials.sources import NOT_THERE, read_file

# A file may be caught between truncation and writing: its last value holds this long.
HALF_WRITTEN_GRACE_SECONDS: Final = 2.0

_Stamp = tuple[int, ...]
"""What tells a file from the same one, changed, and from another."""
_Found = tuple[_Stamp | None, Reading | None]
"""How a file looks, if it is there, and what it holds; None if it is as it was."""


class FileValue(Value):
    """A file's value."""

    def __init__(
        self,
        source: FileSource,
        on_read: Callable[[Result], None],
        fields: tuple[str, ...] = VALUE,
    ) -> None:
        self._apart = may_hang(source.file)
        """Whether a thread looks at it."""
        super().__init__(Reading(problem="does not answer" if self._apart else NOT_THERE))
        self._source = source
        self._fields = fields
        self._on_read = on_read
        self._refreshing = False
        self._last_read: Reading | None = None
        self._stamp: _Stamp | None = None
        self._racy = True
        self._turn = Turn()
        self._looks = LooksApart(self._look_now)
        self._bad_since: float | None = None

    @property
    def reading(self) -> Reading:
        """The value now, or why there is none."""
        if self._apart:
            found = self._looks.latest()
            if found is not None:
                self._take(*found)
        elif not self._turn.seen:
            self._take(*self._look_now())
            self._turn.see()
        return self._reading

    def _look_now(self) -> _Found:
        try:
            status = os.stat(self._source.file)  # noqa: PTH116  # on every call: no Path objects
        except OSError:
            return None, read_file(self._source, self._fields)
        stamp = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode)
        known = stamp == self._stamp and not self._racy
        return stamp, None if known else read_file(self._source, self._fields)

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

    def refresh(self) -> None:
        """Read at the next question, even if the file looks the same."""
        self._racy = self._refreshing = True
        self._turn.look_again()
        self._looks.hurry()
