"""How many calls are in flight, of each client and of all, and how many may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from relay.config import LimitSettings
from relay.config.limits import ALL
from relay.telemetry.spending.state import Account


class AtOnce:
    """The calls in flight."""

    def __init__(self) -> None:
        self._most: dict[str, float] = {}
        """How many there may be, by whose limit it is."""
        self._in_flight: dict[str, int] = {}

    def configure(self, limits: Mapping[str, Iterable[LimitSettings]]) -> None:
        """Have these limits in force, by whose they are."""
        self._most = {
            label: limit.amount for label, own in limits.items() for limit in own if not limit.per
        }

    def of(self, owner: str) -> int:
        """Return how many calls are in flight, of a client or of all."""
        return self._in_flight.get(owner, 0)

    def full(self, account: Account) -> bool:
        """Whether there are as many calls in flight as may be, of the client or of all."""
        own, of_all = self._most.get(account.label), self._most.get(ALL)
        if own is not None and self.of(account.client) >= own:
            return True
        return of_all is not None and self.of(ALL) >= of_all

    def enter(self, account: Account) -> None:
        """Count a call in flight."""
        known = self._in_flight
        known[ALL] = known.get(ALL, 0) + 1
        known[account.client] = known.get(account.client, 0) + 1

    def leave(self, account: Account) -> None:
        """Count it out."""
        known = self._in_flight
        known[ALL] -= 1
        if left := known[account.client] - 1:
            known[account.client] = left
        else:
            del known[account.client]
