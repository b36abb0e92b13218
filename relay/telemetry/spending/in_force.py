"""The limits in force, and who is under which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from relay.config import LimitSettings, Settings
from relay.config.limits import ALL
from relay.telemetry.spending.sessions import SESSIONS_KEPT
from relay.telemetry.spending.state import Account, Line


class Limits:
    """The limits of the configuration in force, by the names that metrics have for clients."""

    def __init__(self) -> None:
        self.by_label: Mapping[str, Sequence[LimitSettings]] = {}
        """All of them, by whose they are."""
        self._counting: frozenset[str] = frozenset()
        """Who is under a limit of dollars or tokens."""
        self._with_sessions: frozenset[str] = frozenset()
        """Who is under a limit of each session."""
        self._lines: dict[Account, Sequence[Line]] = {}
        """Those of dollars and tokens that accounts are under which called lately."""

    def configure(self, settings: Settings) -> None:
        """Have these in force."""
        owners = {each.name: each.rules.limits for each in settings.owners}
        self.by_label = owners | {ALL: settings.limits}
        self._counting = frozenset(label for label, _ in self.owned())
        by_session = (label for label, limit in self.owned() if limit.per == "session")
        self._with_sessions = frozenset(by_session)
        self._lines.clear()

    def of(self, label: str) -> Sequence[LimitSettings]:
        """Return a client's own."""
        return self.by_label.get(label, ())

    def owned(self) -> Iterator[tuple[str, LimitSettings]]:
        """Yield every one of dollars or tokens, with whose it is."""
        for label, limits in self.by_label.items():
            for limit in limits:
                if limit.per is not None:
                    yield label, limit

    @property
    def count_use(self) -> bool:
        """Whether anybody is under one of dollars or tokens."""
        return bool(self._counting)

    def count_use_of(self, label: str) -> bool:
        """Whether this client is, by one of its own or of all."""
        return label in self._counting or ALL in self._counting

    def count_sessions_of(self, label: str) -> bool:
        """Whether this client is under one of each session."""
        return label in self._with_sessions or ALL in self._with_sessions

    def lines_of(self, account: Account) -> Sequence[Line]:
        """Return those of dollars and tokens that an account is under."""
        lines = self._lines.get(account)
        if lines is None:
            if len(self._lines) >= SESSIONS_KEPT:
                self._lines.clear()
            lines = self._lines[account] = list(self._find_lines(account))
        return lines

    def _find_lines(self, account: Account) -> Iterator[Line]:
        for limit in self.of(account.label):
            if limit.per is not None:
                session = account.session if limit.per == "session" else None
                yield Line(account.label, account.client, session, limit)
        for limit in self.of(ALL):
            if limit.per == "session":
                yield Line(ALL, account.client, account.session, limit)
            elif limit.per is not None:
                yield Line(ALL, ALL, None, limit)
