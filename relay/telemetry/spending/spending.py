"""What of each limit is used, and what is said when a line is reached.

It lasts as long as the process: a new configuration brings new limits, and what was spent stays.
All of it is the event loop's; what a ledger knows of before is brought in as soon as it is read.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from heapq import nlargest
from itertools import islice
from operator import attrgetter
from typing import Final
from zoneinfo import ZoneInfo

from relay.config import LimitSettings, Settings
from relay.config.limits import ALL
from relay.telemetry.spending.at_once import AtOnce
from relay.telemetry.spending.in_force import Limits
from relay.telemetry.spending.sessions import Session, Sessions
from relay.telemetry.spending.state import Account, LimitState, Line, in_kind
from relay.telemetry.spending.sums import NOTHING, Calendar, Marks, Spent, Sums
from relay.telemetry.spending.words import amount_of, spoken

SESSION_SECONDS: Final = 0.1
"""How long a call waits for what its session spent before, which the ledger knows."""
# Lines that were told of: of each client and period one, of each session one.
_TOLD: Final = 20_000
_SESSIONS_SHOWN: Final = 20
# Of ten thousand it would take 20 ms, each second that a page is open.
_SESSIONS_LOOKED_AT: Final = 1_000
_RATIO: Final = attrgetter("ratio")

_RECUT: Final = (
    "timezone changed: what limits have counted stays in the days of %s until a restart, "
    "which cuts them anew by the ledger"
)

log = logging.getLogger("relay")

ReadSession = Callable[[str, str, float], Awaitable[Spent | None]]
"""Reads what a client's session spent before a moment from the ledger; None where it cannot."""


class Spending:
    """The sums of all clients, under the limits in force."""

    def __init__(self) -> None:
        self.calendar = Calendar()
        self.read_session: ReadSession | None = None
        self.reached: Counter[tuple[str, str]] = Counter()
        """How often lines were reached, by client as metrics name it, and limit."""
        self.limits = Limits()
        self.at_once = AtOnce()
        self._sums = Sums()
        self._sessions = Sessions()
        self._told: OrderedDict[tuple[object, ...], None] = OrderedDict()
        self._readings: set[asyncio.Future[Spent | None]] = set()
        """Of sessions, from the ledger."""

    def configure(self, settings: Settings) -> None:
        """Have these limits in force; what was spent stays."""
        if str(self.calendar.zone) != settings.timezone:
            if self.limits.count_use:
                log.warning(_RECUT, self.calendar.zone)
            self.calendar = Calendar(ZoneInfo(settings.timezone))
        self.limits.configure(settings)
        self.at_once.configure(self.limits.by_label)
        self._sums.forget_marks()
        self._sessions.forget_marks()
        for label, limit in self.limits.owned():
            self.reached.setdefault((label, limit.name), 0)

    # What is spent

    def add(
        self, account: Account, moment: float, spent: Spent, *, cached: bool | None = None
    ) -> None:
        """Count what a call used that ended at a moment; ``cached`` None where it did not say."""
        sums = self._sums.add(account.client, self.calendar.keys(moment), spent)
        session = self._sessions.find(account.client, account.session, moment)
        session.add(spent)
        if cached is not None:
            session.cached = cached
        if not self.limits.count_use_of(account.label):
            return
        if self._is_due(account, sums, session):
            for line in self.limits.lines_of(account):
                self._tell(line, moment, in_kind(line.limit, spent))
            self._set_marks(account, session, moment)

    def correct(self, account: Account, moment: float, by: Spent) -> None:
        """Change what a call counted for that ended at a moment."""
        self.restore(account.client, moment, by)
        session = self._sessions.peek(account.client, account.session)
        # Else the ledger, which knows it by now, is yet to be asked.
        if session.complete or session.since <= moment:
            session.add(by)

    def restore(self, client: str, moment: float, spent: Spent) -> None:
        """Add what was spent in a quarter of an hour, before this process or beside it."""
        self._sums.add(client, self.calendar.keys(moment), spent)

    def had_cache(self, account: Account) -> bool:
        """Whether the session's call before had any of its prompt from the cache."""
        return self._sessions.peek(account.client, account.session).cached

    async def complete_session(self, account: Account) -> None:
        """See that all is known of what a session spent, where that matters."""
        if not self.limits.count_sessions_of(account.label):
            return
        session = self._sessions.find(account.client, account.session, time.time())
        if not session.complete and self.read_session is not None:
            wanted = self.read_session(account.client, account.session, session.since)
            reading = asyncio.ensure_future(wanted)
            self._readings.add(reading)
            reading.add_done_callback(self._readings.discard)
            await asyncio.wait({reading}, timeout=SESSION_SECONDS)
            # Another call of the session may have come to know meanwhile.
            if not session.complete:
                self._take_read(account, session, reading)
        session.complete = True

    def _take_read(
        self, account: Account, session: Session, reading: asyncio.Future[Spent | None]
    ) -> None:
        """Add what the ledger knows of a session: now, or once it is read."""
        found = reading.result() if reading.done() else None
        if found is not None:
            session.add(found)
            return
        log.warning(
            "limits: what session %s of client %s spent before could not be read from the "
            "ledger; it begins at zero",
            account.session or "without a name",
            account.client,
        )
        if not reading.done():
            reading.add_done_callback(partial(_add_late, session))

    # What of limits is used

    def reached_by(self, account: Account, now: float) -> LimitState | None:
        """Return a line that is reached, if one is: no call of this account may begin."""
        keys, of_all = self.calendar.keys(now), self._sums.of_all
        sums = self._sums.find(account.client)
        session = self._sessions.peek(account.client, account.session)
        is_due = self._is_due(account, sums, session)
        if not is_due and sums.keys is keys and of_all.keys is keys:
            return None
        for line in self.limits.lines_of(account):
            if self._used(line, now) >= line.limit.amount:
                self._tell(line, now, line.limit.amount)
                return self._state(line, now)
        self._set_marks(account, session, now)
        return None

    def _is_due(self, account: Account, sums: Marks, session: Marks) -> bool:
        label = account.label
        return sums.is_due(label) or session.is_due(label) or self._sums.of_all.is_due(ALL)

    def _set_marks(self, account: Account, session: Session, moment: float) -> None:
        """Note what has to be spent from now on until there is something to say of a limit."""
        keys = self.calendar.keys(moment)
        sums, of_all = self._sums.find(account.client), self._sums.of_all
        for each in (sums, of_all):
            each.turn(keys)
        of_all.raise_marks(ALL)
        sums.raise_marks(account.label)
        session.raise_marks(account.label)
        whose: Marks
        for line in self.limits.lines_of(account):
            limit, used = line.limit, self._used(line, moment)
            whose = of_all if line.owner == ALL else sums
            if line.session is not None:
                whose = session
            steps = (limit.warn * limit.amount, limit.amount)
            left = next((step - used for step in steps if used < step), -math.inf)
            whose.mark(limit.kind, left)

    def _used(self, line: Line, moment: float) -> float:
        """Return what is used, in the limit's kind, in the period that a moment falls into."""
        if line.session is not None:
            return in_kind(line.limit, self._sessions.peek(line.owner, line.session).spent)
        assert line.limit.per is not None
        key = self.calendar.keys(moment)[line.limit.per]
        return in_kind(line.limit, self._sums.of(line.owner, key))

    def _state(self, line: Line, moment: float) -> LimitState:
        assert line.limit.per is not None
        ends = self.calendar.end(line.limit.per, moment)
        return LimitState(*line, self._used(line, moment), ends)

    def _tell(self, line: Line, moment: float, added: float) -> None:
        """Say that a share of a limit was used up now, once for each period or session."""
        limit, used = line.limit, self._used(line, moment)
        before, warn_at = used - added, limit.warn * limit.amount
        if used < warn_at or before >= limit.amount > 0:
            return
        state = self._state(line, moment)
        if used >= limit.amount:
            if self._is_news("reached", state):
                self.reached[line.client, limit.name] += 1
                log.warning("%s is reached: its calls are refused", spoken(state))
        elif before < warn_at and self._is_news("warn", state):
            log.warning("%s: %s of it is used", spoken(state), amount_of(limit, used))

    def _is_news(self, what: str, state: LimitState) -> bool:
        period = state.ends if state.session is None else state.session
        key = (what, state.client, state.owner, state.limit, period)
        if key in self._told:
            return False
        self._told[key] = None
        if len(self._told) > _TOLD:
            self._told.popitem(last=False)
        return True

    # For whoever looks on

    def states(
        self, clients: Iterable[tuple[str, str]], sessions: int | None = None
    ) -> Iterator[LimitState]:
        """Yield every limit in force as it stands: of sessions, those that are known.

        ``clients`` are names with what metrics call them, of those that are there now;
        ``sessions``, how many of those that called last are looked at, if not all.
        """
        now, labels = time.time(), dict(clients)
        # For a thousand clients of a folder they are worked out once.
        keys = self.calendar.keys(now)
        ends = {per: self.calendar.end(per, now) for per in keys}
        for client, label in (*labels.items(), (ALL, ALL)):
            for limit in self.limits.of(label):
                if limit.per is None:
                    yield LimitState(label, client, None, limit, self.at_once.of(client), None)
                elif limit.per != "session":
                    used = in_kind(limit, self._sums.of(client, keys[limit.per]))
                    yield LimitState(label, client, None, limit, used, ends[limit.per])
        yield from self._session_states(labels, sessions)

    def _session_states(self, labels: Mapping[str, str], most: int | None) -> Iterator[LimitState]:
        """Yield the limits of sessions, of those that called last: each takes little."""
        limits = {
            label: [(of, limit) for of in {label, ALL} for limit in self._of_sessions(of)]
            for label in {*labels.values(), ""}
        }
        if not any(limits.values()):
            return
        for client, session, known in islice(self._sessions.latest(), most):
            for label, limit in limits[labels.get(client, "")]:
                yield LimitState(label, client, session, limit, in_kind(limit, known.spent), None)

    def _of_sessions(self, label: str) -> Iterator[LimitSettings]:
        return (limit for limit in self.limits.of(label) if limit.per == "session")

    def shown(self, clients: Iterable[tuple[str, str]]) -> list[LimitState]:
        """Return the limits for pages: of sessions, those that are nearest to it."""
        states = list(self.states(clients, _SESSIONS_LOOKED_AT))
        others = [state for state in states if state.session is None]
        sessions = (state for state in states if state.session is not None)
        return [*others, *nlargest(_SESSIONS_SHOWN, sessions, key=_RATIO)]

    def describe(self, clients: Iterable[tuple[str, str]]) -> list[dict[str, str | float | None]]:
        """Return the same as plain data."""
        return [state.fields() for state in self.shown(clients)]


def _add_late(session: Session, reading: asyncio.Future[Spent | None]) -> None:
    """Add what a session spent before to what it has spent since."""
    found = None if reading.cancelled() else reading.result()
    session.add(found or NOTHING)
