"""Responses that the API makes in the background: what they cost is known when they are fetched.

``POST /v1/responses`` with ``background`` answers at once, before anything is used. What limits
count of it then is by its size; the first ``GET`` that states its usage takes that one's place.
(https://platform.openai.com/docs/guides/background)
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from relay.telemetry.call import CallRecord
from relay.telemetry.ledger.bill import Bill, bill_later
from relay.telemetry.ledger.row import Row, filled
from relay.telemetry.spending import Account
from relay.telemetry.spending.sums import Spent

if TYPE_CHECKING:
    from relay.telemetry.prices import Prices

AWAITED: Final = 10_000
"""Responses that are yet to be billed."""


class Filled(NamedTuple):
    """A call's row with what is known by now, and what limits counted differently before."""

    time: float
    row: Row
    account: Account
    """Who made it, whoever fetches it."""
    change: Spent


class _Awaited(NamedTuple):
    row: Row
    account: Account
    bill: Bill


class Backgrounds:
    """The responses that are yet to be billed, by what the API calls them."""

    def __init__(self) -> None:
        self._awaited: OrderedDict[str, _Awaited] = OrderedDict()

    def __contains__(self, response_id: str) -> bool:
        return response_id in self._awaited

    def expect(self, record: CallRecord, row: Row, account: Account) -> None:
        """Remember a call that is over, if it began a response and did not state its usage."""
        attempts = record.attempts
        if record.method != "POST" or len(attempts) != 1:
            return
        usage, bill = attempts[0].usage, attempts[0].bill
        if usage is None or bill is None or usage.missing is None or not usage.response_id:
            return
        self._awaited[usage.response_id] = _Awaited(row, account, bill)
        if len(self._awaited) > AWAITED:
            self._awaited.popitem(last=False)

    def fill(self, record: CallRecord, prices: Prices) -> Filled | None:
        """Return the row of a response that a call has fetched, once all is stated; once only."""
        bill = bill_later(record, prices)
        if bill is None or (awaited := self._awaited.pop(record.background, None)) is None:
            return None
        before, after = awaited.bill.spent, bill.spent
        change = Spent(after.micro - before.micro, after.tokens - before.tokens)
        return Filled(awaited.row.time, filled(awaited.row, bill), awaited.account, change)
