"""What the page says of use: by the ledger, where there is one, else since the process began.

The ledger is read by a thread, at most every ten seconds, and only while somebody looks: nobody
waits for it but a page that opens, and that not for long.
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
# A page that opens is better drawn once, with all that it shows; a day's calls take less.
_WAIT_SECONDS: Final = 0.3

Report = Mapping[str, object]
Version = tuple[int, int]
"""How often the ledger has been read, and what version the sums in memory are of."""

_UNREAD: Final[Report] = {"source": "ledger", "spans": [], "is_unused": False}


class PageUse:
    """What is told of use, by whichever source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._named: tuple[str, str] | None = None
        """The ledger's file, and the time zone of its days."""
        self._fortnight: Fortnight | None = None
        self._reading: asyncio.Future[Report] | None = None
        self._read_at = float("-inf")
        self._report: Report = _UNREAD
        self._problem = ""
        self._reads = 0

    async def wait(self) -> None:
        """Wait a little for the ledger, for whoever begins to look."""
        self.look()
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=_WAIT_SECONDS)

    def look(self) -> None:
        """Have the ledger read, if it is time to."""
        self._follow(self._source.lifecycle.runtime.settings)
        now = asyncio.get_running_loop().time()
        if self._fortnight is None or self._reading or now - self._read_at < READ_SECONDS:
            return
        self._read_at = now
        self._reading = threads.run(partial(self._fortnight.read, time.time()))
        self._reading.add_done_callback(self._take)

    def _follow(self, settings: Settings) -> None:
        """Look at the ledger that is configured now."""
        ledger = settings.ledger
        named = None if ledger is None else (ledger.path, settings.timezone)
        if named == self._named:
            return
        self._named = named
        self._report, self._problem, self._reads = _UNREAD, "", self._reads + 1
        self._fortnight = None if named is None else Fortnight(Path(named[0]), ZoneInfo(named[1]))
        self._reading, self._read_at = None, float("-inf")

    def _take(self, reading: asyncio.Future[Report]) -> None:
        if reading is not self._reading:
            return  # another file is named by now
        self._reading = None
        self._reads += 1
        error = reading.exception()
        if error is None:
            self._report, self._problem = reading.result(), ""
        else:
            known = isinstance(error, Unusable)
            self._problem = str(error) if known else f"is not read, by a fault: {error!r}"

    @property
    def version(self) -> Version:
        """Another one whenever there is news."""
        by_ledger = self._fortnight is not None and not self._problem
        return self._reads, 0 if by_ledger else self._source.use.version

    def report(self) -> Report:
        """Return it as plain data; of a ledger that cannot be read, what memory knows, and why."""
        if self._fortnight is None:
            return self._source.use.report()
        if self._problem:
            return self._source.use.report() | {"problem": self._problem}
        return self._report
