"""What a running relay knows of its ledger: one writer at a time, as the configuration has it."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from relay import threads
from relay.config import Settings
from relay.telemetry.call import UNKNOWN, CallRecord
from relay.telemetry.ledger.batch import REFUSED
from relay.telemetry.ledger.retention import Limits
from relay.telemetry.ledger.row import row_of
from relay.telemetry.ledger.writer import Writer

if TYPE_CHECKING:
    from relay.telemetry.prices import Prices

# A stop loses nothing, unless a disk is stuck.
_CLOSE_SECONDS: Final = 5.0

log = logging.getLogger("relay")


class Ledger:
    """Takes finished calls to the file that the configuration in force names, if it names one."""

    def __init__(self) -> None:
        self._writer: Writer | None = None
        self._prices: Prices | None = None
        self._ended: list[Writer] = []
        """Those of files that a reload left."""

    def configure(self, settings: Settings, prices: Prices | None) -> None:
        """Write from now on as these settings say."""
        wanted, self._prices = settings.ledger, prices
        if self._writer is not None and (wanted is None or wanted.path != self._writer.path):
            self._writer.end()
            self._ended.append(self._writer)
            self._writer = None
        if wanted is None:
            return
        limits = Limits(wanted.keep_days, wanted.max_mb)
        if self._writer is None:
            self._writer = Writer(wanted.path, limits, settings.timezone)
        self._writer.limits, self._writer.timezone = limits, settings.timezone

    def take(self, record: CallRecord) -> None:
        """Note a call that is over; a refused one of nobody known is none."""
        if self._writer is None or self._prices is None:
            return
        if record.outcome == REFUSED and record.client == UNKNOWN:
            return
        self._writer.put(row_of(record, self._prices, time.time() - record.age))

    @property
    def problem(self) -> str:
        """Why calls are not written now; empty while they are, or need not be."""
        return "" if self._writer is None else self._writer.problem

    @property
    def path(self) -> str | None:
        """Where calls are noted, if they are."""
        return None if self._writer is None else self._writer.path

    @property
    def dropped(self) -> int:
        """How many calls are missing in the files of this relay."""
        return sum(writer.dropped for writer in self._writers())

    def report(self) -> None:
        """Log what there is to say."""
        for writer in self._writers():
            for notice in writer.take_notices():
                log.warning("ledger %s: %s", writer.path, notice)

    def _writers(self) -> list[Writer]:
        return self._ended if self._writer is None else [*self._ended, self._writer]

    async def close(self) -> None:
        """Write what is left, and say what could not be."""
        for writer in self._writers():
            writer.end()
        for writer in self._writers():
            await threads.run(partial(writer.join, _CLOSE_SECONDS))
        self.report()
