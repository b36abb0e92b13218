"""What each session of an agent has spent: the last ten thousand that called. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from relay.telemetry.spending.sums import Marks, Spent

SESSIONS_KEPT: Final = 10_000
"""Some 3 MB. One that is not in memory is read from the ledger, when it calls again."""


class Session(Marks):
    """What is known of one."""

    __slots__ = ("cached", "complete", "since")

    def __init__(self, since: float = 0.0) -> None:
        super().__init__()
        self.since = since
        """From which moment on all is known that it spent."""
        self.complete = False
        """Whether what it spent before is known, too."""
        self.cached = False
        """Whether its last call that said so had any of its prompt from the cache."""

    @property
    def spent(self) -> Spent:
        """What it spent, as far as that is known."""
        return Spent(self.micro, self.tokens)


class Sessions:
    """Sessions by client and the identifier that their calls state; empty where they state none."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[tuple[str, str], Session] = OrderedDict()

    def find(self, client: str, session: str, moment: float) -> Session:
        """Return a session; of one that is not known, an empty one, which begins at a moment."""
        key = (client, session)
        found = self._sessions.get(key)
        if found is None:
            found = self._sessions[key] = Session(moment)
            if len(self._sessions) > SESSIONS_KEPT:
                self._sessions.popitem(last=False)
        else:
            self._sessions.move_to_end(key)
        return found

    def peek(self, client: str, session: str) -> Session:
        """Return the same, without taking it for a call."""
        found = self._sessions.get((client, session))
        return Session() if found is None else found

    def latest(self) -> Iterator[tuple[str, str, Session]]:
        """Yield those that are known, each with its client and identifier, the last used first."""
        for (client, session), known in reversed(self._sessions.items()):
            yield client, session, known

    def forget_marks(self) -> None:
        """Have limits looked at the next time."""
        for each in self._sessions.values():
            each.forget_marks()
