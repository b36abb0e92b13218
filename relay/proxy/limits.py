"""What may not be forwarded because of a limit: looked at before a call, and before each leg.

A running answer is never cut, and whatever costs nothing passes always.
"""

from __future__ import annotations

import time

from relay.errors import (
    BatchRefused,
    LimitReached,
    OpenAiLimitReached,
    PathRefused,
    TooManyAtOnce,
)
from relay.proxy.routing import Target
from relay.proxy.runtime import Runtime
from relay.telemetry.call import CallRecord
from relay.telemetry.ledger.ledger import Ledger, account_of
from relay.telemetry.operations import FREE_OPERATIONS
from relay.telemetry.spending import Account, Spending
from relay.telemetry.spending.words import refusal


def costs(record: CallRecord) -> bool:
    """Whether what is asked for may be billed."""
    return record.method == "POST" and record.is_billed and record.operation not in FREE_OPERATIONS


def check_relay(runtime: Runtime, record: CallRecord) -> None:
    """Raise PathRefused where a client may not call this relay."""
    relays = runtime.rules_of(record.client_label).relays
    if relays is not None and record.relay not in relays:
        raise PathRefused


async def check_spending(
    ledger: Ledger, runtime: Runtime, record: CallRecord, target: Target
) -> None:
    """See that what is asked for may be begun by what was spent until now.

    Raises:
        BatchRefused: It would create a batch, which the client may not.
        LimitReached: A line of dollars or tokens is reached.
    """
    spending = ledger.spending
    if not spending.limits.count_use_of(record.client_label) or not costs(record):
        return
    if target.creates_batch:
        if not runtime.rules_of(record.client_label).batches:
            raise BatchRefused
        return
    account = account_of(record)
    ledger.catch_up()
    await spending.complete_session(account)
    ledger.catch_up()  # with what was over by the time that its session was read
    state = spending.reached_by(account, time.time())
    if state is not None:
        kind = OpenAiLimitReached if record.api == "openai" else LimitReached
        raise kind(refusal(state, spending.calendar.zone))


def take_place(spending: Spending, record: CallRecord) -> Account | None:
    """Count a call in flight, if it costs; return whose, to be counted out at its end.

    Raises:
        TooManyAtOnce: As many are in flight as may be.
    """
    if not costs(record):
        return None
    account = account_of(record)
    if spending.at_once.full(account):
        raise TooManyAtOnce
    spending.at_once.enter(account)
    return account
