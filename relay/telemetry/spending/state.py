"""Whose a call is, which limit somebody is under, and how it stands. Pure."""

from __future__ import annotations

from typing import NamedTuple

from relay.config import LimitSettings
from relay.config.limits import MICRO
from relay.telemetry.spending.sums import Spent


class Account(NamedTuple):
    """Whose a call is."""

    client: str
    label: str
    """What metrics call the client: of a folder's, the folder."""
    session: str


class Line(NamedTuple):
    """A limit of somebody's: as in ``LimitState``."""

    client: str
    owner: str
    session: str | None
    limit: LimitSettings


class LimitState(NamedTuple):
    """A limit of somebody's, and what is used of it."""

    client: str
    """Whose it is, by the name that metrics have; ``all`` of all together."""
    owner: str
    """Who used it: the client itself."""
    session: str | None
    limit: LimitSettings
    used: float
    """In dollars, tokens or calls."""
    ends: float | None
    """When its period ends, in Unix seconds, if it has an end."""

    @property
    def ratio(self) -> float:
        """How much of it is used: 1 where the line is reached. Of nothing, all is."""
        return self.used / self.limit.amount if self.limit.amount else 1.0

    def fields(self) -> dict[str, str | float | None]:
        """Return what pages show of it; of a limit of calls at once, what is in flight."""
        known = {
            "client": self.owner,
            "session": self.session,
            "limit": self.limit.name,
            "most": self.limit.amount,
            "used": round(self.used, 6),
            "ends": self.ends,
        }
        return {name: value for name, value in known.items() if value is not None}


def in_kind(limit: LimitSettings, spent: Spent) -> float:
    """Return what was spent as a limit counts it: in dollars or in tokens."""
    return spent.micro / MICRO if limit.kind == "usd" else spent.tokens
