"""What a running relay counts of its calls: what they cost, for its limits and for its ledger.

One writer at a time writes the ledger, as the configuration has it. Each call is billed once: its
attempts as they end, for a hop may ask the API often within one call.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from relay import threads
from relay.config import Settings
from relay.telemetry.call import UNKNOWN, CallRecord
from relay.telemetry.ledger.background import Backgrounds
from relay.telemetry.ledger.batch import REFUSED
from relay.telemetry.ledger.bill import bill_attempt, bill_stated
from relay.telemetry.ledger.retention import Limits
from relay.telemetry.ledger.row import row_of
from relay.telemetry.ledger.spent import Found, SessionQuestion
from relay.telemetry.ledger.writer import Writer
from relay.telemetry.spending import Account, Spending
from relay.telemetry.spending.sums import BUCKET_SECONDS, Spent

if TYPE_CHECKING:
    from relay.telemetry.prices import Prices

# A stop loses nothing, unless a disk is stuck.
_CLOSE_SECONDS: Final = 5.0
# What is read at the start are a month's rows, a million of them in two seconds.
_RESTORE_SECONDS: Final = 10.0
_LATE: Final = f"is not read within {_RESTORE_SECONDS:g} s"
_AT_ZERO: Final = "limits begin at zero"

log = logging.getLogger("relay")


class Ledger:
    """Takes finished calls to the sums, and to the file that the configuration in force names."""

    def __init__(self) -> None:
        self.spending = Spending()
        self.catch_up: Callable[[], None] = lambda: None
        """Has all calls counted that are over."""
        self._writer: Writer | None = None
        self._prices: Prices | None = None
        self._backgrounds = Backgrounds()
        self._begun: dict[str, int] = {}
        """The ledgers that were written, by name, each with its last row before that."""
        self._ended: list[Writer] = []
        """Those of files that a reload left."""
        self._unread: list[Writer] = []
        """Those whose file is yet to be read, for what was spent before."""
        self._restored: set[str] = set()
        """The ledgers whose calls are in the sums."""
        self._first: Writer | None = None
        """The one that limits begin with."""
        self._is_late = False
        """Whether its file was not read in time."""

    def configure(self, settings: Settings, prices: Prices | None) -> None:
        """Count and write from now on as these settings say."""
        wanted, self._prices = settings.ledger, prices
        self.spending.configure(settings)
        if self._writer is not None and (wanted is None or wanted.path != self._writer.path):
            self._writer.end()
            self._ended.append(self._writer)
            self._writer = None
        self.spending.read_session = None if wanted is None else self._read_session
        if wanted is None:
            return
        limits = Limits(wanted.keep_days, wanted.max_mb)
        if self._writer is None:
            since = self.spending.calendar.earliest(time.time())
            self._writer = Writer(wanted.path, limits, settings.timezone, since, self._begun)
            self._unread.append(self._writer)
        self._writer.limits, self._writer.timezone = limits, settings.timezone
        self.absorb()

    # Calls

    @property
    def is_counting(self) -> bool:
        """Whether what calls cost is of interest."""
        return self._prices is not None

    def take(self, record: CallRecord) -> None:
        """Note a call that is over; a refused one of nobody known is none."""
        if self._prices is None or (record.outcome == REFUSED and record.client == UNKNOWN):
            return
        for attempt in record.attempts:
            self._bill(attempt, record.ended)
        row = row_of(record, self._prices)
        if self._writer is not None:
            self._writer.put(row)
        if record.usage is not None and record.usage.missing is not None:
            self._backgrounds.expect(record, row, account_of(record))

    def take_attempt(self, record: CallRecord) -> None:
        """Count what an attempt cost that is over, while its call goes on."""
        record.finish()
        self._bill(record, record.ended)

    def _bill(self, record: CallRecord, ended: float) -> None:
        if record.bill is not None or self._prices is None:
            return
        if self._unread:
            self.absorb()
        account = account_of(record)
        bill = bill_stated(record, self._prices)
        if bill is None:
            had_cache = self.spending.had_cache(account)
            bill = bill_attempt(record, self._prices, had_cache=had_cache)
        record.bill, spent, cached = bill, bill.spent, bill.had_cache
        if any(spent) or cached is not None:
            self.spending.add(account, ended, spent, cached=cached)
        if record.background:
            self._fill(record)

    # Background responses

    def awaits(self, response_id: str) -> bool:
        """Whether a response is yet to be billed that was made in the background."""
        self.catch_up()
        return response_id in self._backgrounds

    def _fill(self, record: CallRecord) -> None:
        """Bill a background response by what a GET of it states, in its POST's place."""
        assert self._prices is not None
        filled = self._backgrounds.fill(record, self._prices)
        if filled is None:
            return
        self.spending.correct(filled.account, filled.time, filled.change)
        if self._writer is not None:
            self._writer.put(filled.row)

    # What the file knows

    def absorb(self) -> None:
        """Take what was spent before, once it is read."""
        for writer in self._unread:
            if writer.found is not None:
                self._unread = [each for each in self._unread if each is not writer]
                self._restore(writer.name, writer.found)
                writer.found = []

    def _restore(self, name: str, found: list[Found]) -> None:
        if name in self._restored:
            return  # it was left and taken again, or moved, or is a copy
        self._restored.add(name)
        for client, bucket, micro, tokens in found:
            moment = bucket * BUCKET_SECONDS
            self.spending.restore(client or UNKNOWN, moment, Spent(micro, tokens))

    async def wait_until_read(self) -> None:
        """Wait for what was spent before, where limits look at it."""
        self._first = self._writer
        if self._writer is not None and self.spending.limits.count_use:
            wait = partial(self._writer.wait_for_first_look, _RESTORE_SECONDS)
            self._is_late = not await threads.run(wait)
            if self._is_late:
                log.warning("ledger %s: %s", self.path, self.problem)
        self.absorb()

    async def _read_session(self, client: str, session: str, before: float) -> Spent | None:
        if self._writer is None or self._writer.problem:
            return None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Spent | None] = loop.create_future()

        def answer(found: tuple[int, int] | None) -> None:
            loop.call_soon_threadsafe(_resolve, future, found)

        name = None if client == UNKNOWN else client
        self._writer.ask(SessionQuestion(name, session, before), answer)
        return await future

    # The file

    @property
    def _begins_at_zero(self) -> bool:
        """Whether limits look at sums that lack what the file knows of before."""
        self.absorb()
        is_unread = self._writer is self._first and self._writer in self._unread
        return is_unread and self.spending.limits.count_use

    @property
    def problem(self) -> str:
        """Why calls are not written now; empty while they are, or need not be."""
        if self._writer is None:
            return ""
        self.absorb()
        is_late = self._is_late and self._writer in self._unread
        problem = self._writer.problem or (_LATE if is_late else "")
        return self._with_consequence(problem) if problem else ""

    def _with_consequence(self, problem: str) -> str:
        return f"{problem}; {_AT_ZERO}" if self._begins_at_zero else problem

    @property
    def path(self) -> str | None:
        """Where calls are noted, if they are."""
        return None if self._writer is None else self._writer.path

    @property
    def dropped(self) -> int:
        """How many calls are missing in the files of this relay."""
        return sum(writer.dropped for writer in self._writers())

    def report(self) -> None:
        """Log what there is to say, and take what is read by now."""
        self.absorb()
        for writer in self._writers():
            for notice in writer.take_notices():
                is_problem = writer is self._writer and notice == writer.problem
                text = self._with_consequence(notice) if is_problem else notice
                log.warning("ledger %s: %s", writer.path, text)

    def _writers(self) -> list[Writer]:
        return self._ended if self._writer is None else [*self._ended, self._writer]

    async def close(self) -> None:
        """Write what is left, and say what could not be."""
        for writer in self._writers():
            writer.end()
        for writer in self._writers():
            await threads.run(partial(writer.join, _CLOSE_SECONDS))
        self.report()


def account_of(record: CallRecord) -> Account:
    """Return whose a call is."""
    client = record.client
    # Not through the class, which would take twice as long.
    return tuple.__new__(Account, (client, record.folder or client, record.session_id))


def _resolve(future: asyncio.Future[Spent | None], found: tuple[int, int] | None) -> None:
    if not future.done():
        future.set_result(None if found is None else Spent(*found))
