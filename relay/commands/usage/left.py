"""What is left of limits, as the ledger has it: the same sums that a running relay looks at."""

from __future__ import annotations

import time

from relay.commands.top.format import plain
from relay.config import Settings
from relay.config.limits import ALL
from relay.credentials.folder import TokenFolder, labels_of
from relay.telemetry.call import UNKNOWN
from relay.telemetry.ledger.reader import Reader
from relay.telemetry.spending import Spending
from relay.telemetry.spending.sums import BUCKET_SECONDS, Spent
from relay.telemetry.spending.words import amount_of, per_period


def lines(reader: Reader, settings: Settings, client: str | None) -> list[str]:
    """Return a line for each limit of dollars or tokens of a period; or one client's alone."""
    spending = Spending()
    spending.configure(settings)
    since = spending.calendar.earliest(time.time())
    for name, bucket, micro, tokens in reader.spent_since(since):
        spending.restore(name or UNKNOWN, bucket * BUCKET_SECONDS, Spent(micro, tokens))
    found = []
    for state in spending.states(_labels(settings).items()):
        limit = state.limit
        if limit.per in (None, "session") or client not in (None, state.owner):
            continue
        left = amount_of(limit, max(0.0, limit.amount - state.used))
        whose = "all together" if state.owner == ALL else plain(state.owner)
        found.append(f"{whose}: {left} left of {per_period(limit)}")
    return found


def _labels(settings: Settings) -> dict[str, str]:
    """Return what metrics call each client."""
    names = [each.name for each in settings.owners]
    folders = [TokenFolder(each.name, each.folder, names) for each in settings.folders]
    return labels_of((each.name for each in settings.clients), folders)
