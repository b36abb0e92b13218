"""What the page says of use: from the ledger's file where there is one, else from memory.

The file is read in a thread, at most every ten seconds and only while a page is open. Only the
first event of a page that opens waits for it, for 0.3 s at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from relay import threads
from relay.admin.source import Source
from relay.config import Settings
from relay.telemetry.ledger.file import Unusable
from relay.telemetry.ledger.fortnight import Fortnight

READ_SECONDS: Final = 10.0
# So that a page that opens is drawn once, complete; reading a day's calls takes less.
_WAIT_SECONDS: Final = 0.3

Report = Mapping[str, object]
Version = tuple[int, int]
"""How often the file's figures changed, and the version of the sums in memory."""

_UNREAD: Final[Report] = {"source": "ledger", "spans": [], "is_unused": False}


class PageUse:
    """Use, from the ledger or from memory."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._named: tuple[str, str] | None = None
        """The ledger's file, and the time zone of its days."""
        self._fortnight: Fortnight | None = None
        self._reading: asyncio.Future[Report] | None = None
        self._read_at = float("-inf")
        self._report: Report = _UNREAD
        self._problem = ""
        self._news = 0

    async def wait(self) -> None:
        """Wait up to 0.3 s for the ledger to be read, before the first event of a page."""
        self.look()
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=_WAIT_SECONDS)

    def look(self) -> None:
        """Begin to read the ledger, if the last reading is ten seconds old."""
        self._follow(self._source.lifecycle.runtime.settings)
        now = asyncio.get_running_loop().time()
        if self._fortnight is None or self._reading or now - self._read_at < READ_SECONDS:
            return
        self._read_at = now
        self._reading = threads.run(partial(self._fortnight.read, time.time()))
        self._reading.add_done_callback(self._take)

    def _follow(self, settings: Settings) -> None:
        """Take the ledger that the configuration in force names."""
        ledger = settings.ledger
        named = None if ledger is None else (ledger.path, settings.timezone)
        if named == self._named:
            return
        self._named = named
        self._report, self._problem, self._news = _UNREAD, "", self._news + 1
        self._fortnight = None if named is None else Fortnight(Path(named[0]), ZoneInfo(named[1]))
        self._reading, self._read_at = None, float("-inf")

    def _take(self, reading: asyncio.Future[Report]) -> None:
        if reading is not self._reading:
            return  # another file is named by now
        self._reading = None
        before = self._report, self._problem
        error = reading.exception()
        if error is None:
            self._report, self._problem = reading.result(), ""
        else:
            known = isinstance(error, Unusable)
            self._problem = str(error) if known else f"is not read, by a fault: {error!r}"
        self._news += (self._report, self._problem) != before

    @property
    def version(self) -> Version:
        """Changes whenever the report does."""
        by_ledger = self._fortnight is not None and not self._problem
        return self._news, 0 if by_ledger else self._source.use.version

    def report(self) -> Report:
        """Return the report; if the ledger cannot be read, the sums in memory and the reason."""
        if self._fortnight is None:
            return self._source.use.report()
        if self._problem:
            return self._source.use.report() | {"problem": self._problem}
        return self._report
