"""Calls with a chain, as the relay measures them: what tests of several modules begin with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from relay.telemetry.call import CallRecord
from relay.telemetry.hops import ChainRecord, HopOutcome, HopRecord
from tests.harness.messages import response_head
from tests.harness.model_answers import JSON, STREAM, message_events

EVENT_STREAM = ("content-type", STREAM)
DOCUMENT = ("content-type", JSON)
STARTED = 100.0


def answer(
    record: CallRecord, pieces: Iterable[bytes], *fields: tuple[str, str], status: int = 200
) -> CallRecord:
    """Have a call, or an attempt, answered with these pieces so far."""
    record.answered(response_head(status, *fields))
    assert record.meter is not None
    for piece in pieces:
        record.meter.feed(piece, STARTED + 1)
    return record


def attempt(
    pieces: Iterable[bytes],
    *fields: tuple[str, str],
    status: int = 200,
    operation: str = "messages",
    cut: bool = False,
) -> CallRecord:
    """Return an attempt that has been answered: wholly, or until it was cut."""
    record = CallRecord(method="POST", relay="anthropic", client="agent", operation=operation)
    record.started = STARTED + 0.1
    answer(record, pieces, *fields, status=status)
    if not cut:
        record.succeeded()
    return record


def chained(*attempts: CallRecord, hops: Iterable[HopRecord] = ()) -> CallRecord:
    """Return a call with a chain that has begun, and asked the API so often."""
    record = CallRecord(method="POST", path="/relay/anthropic/v1/messages", relay="anthropic")
    record.client, record.operation, record.started = "agent", "messages", STARTED
    record.chain = ChainRecord([*hops], [*attempts])
    return record


def delivered(record: CallRecord, pieces: Iterable[bytes] | None = None) -> CallRecord:
    """Have the first hop answer a call, by default with a whole stream, to its end."""
    answer(record, message_events() if pieces is None else pieces, EVENT_STREAM)
    record.succeeded()
    return record


def hop(name: str = "headroom", outcome: HopOutcome | None = "passed") -> HopRecord:
    """Return a hop that took 30 ms for a request, 3 ms for its answer, and half its bytes."""
    return HopRecord(
        name,
        outcome,
        sent_at=STARTED,
        returned_at=STARTED + 0.03,
        beyond_at=STARTED + 1.0,
        first_byte=STARTED + 1.003,
        bytes_in=1000,
        bytes_out=500,
        legs=Counter({"messages": 1}),
    )
