"""The limits that the page shows: those of which most is used, by client."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest
from typing import Final

from relay.admin.rows import JsonObject
from relay.telemetry.spending import LimitState, Spending

SHOWN: Final = 20
SESSIONS_SHOWN: Final = 5
"""Of limits by session, of which there are many: those that are used most, if used at all."""


def limit_rows(spending: Spending, accounts: Iterable[tuple[str, str]]) -> list[JsonObject]:
    """Return the limits of these clients, and of all together."""
    known = spending.shown(accounts)
    others = [state for state in known if state.session is None]
    sessions = [state for state in known if state.session is not None and state.used]
    states = [*others, *sessions[:SESSIONS_SHOWN]]
    nearest = nlargest(SHOWN, range(len(states)), key=lambda index: states[index].ratio)
    return [_row(states[index]) for index in sorted(nearest)]


def _row(state: LimitState) -> JsonObject:
    """Return a row; ``used`` of a limit on calls at once is the calls in flight."""
    return {
        "client": state.owner,
        "session": state.session,
        "kind": state.limit.kind,
        "per": state.limit.per,
        "most": state.limit.amount,
        "used": state.used,
        "ratio": state.ratio,
        "warn": state.limit.warn,
        "reset": state.ends,
    }
