"""A call as it stands in the table ``calls``: its columns, and what each holds of a record. Pure.

No content, no header, and nothing of the path beyond the operation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from relay.telemetry.access_log import call_fields, rounded
from relay.telemetry.call import UNKNOWN, CallRecord
from relay.telemetry.ledger.bill import Bill, bill_of

if TYPE_CHECKING:
    from relay.telemetry.prices import Prices

NAME_LIMIT: Final = 128
"""Characters of a name or an id."""


class Row(NamedTuple):
    """The columns of ``calls``, without its ``id``, in their order."""

    time: float
    relay: str | None
    client: str | None
    grant: str | None
    session_id: str | None
    agent_id: str | None
    parent_agent_id: str | None
    operation: str
    model: str | None
    status: int | None
    outcome: str
    reason: str | None
    error_type: str | None
    duration: float
    first_token: float | None
    input: int | None
    cache_read: int | None
    cache_write_5m: int | None
    cache_write_1h: int | None
    cache_write_unknown: int | None
    output: int | None
    reasoning: int | None
    tier: str | None
    cost: int | None
    estimate: int
    estimate_tokens: int
    request_id: str | None
    request_bytes: int
    response_bytes: int
    legs: int | None
    hops: str | None
    calls: int = 1
    """0 where it takes the place of one that is in the file already, of the same call."""


_NAMES: Final = ", ".join(f'"{name}"' for name in Row._fields)
_VALUES: Final = f"({', '.join('?' * len(Row._fields))})"
INSERT: Final = f"INSERT INTO calls ({_NAMES}) VALUES {_VALUES}"  # noqa: S608  # the names are those above
TOGETHER: Final = 64
"""How many rows one statement puts in, where there are as many."""
INSERT_TOGETHER: Final = f"{INSERT}{f', {_VALUES}' * (TOGETHER - 1)}"
"""A row takes a third of the time so: the library lets go of its lock for each statement."""
_FILLED: Final = (
    *("model", "input", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_unknown"),
    *("output", "reasoning", "tier", "cost", "estimate", "estimate_tokens"),
)
FILL: Final = (
    f"UPDATE calls SET {', '.join(f'{name} = :{name}' for name in _FILLED)} "  # noqa: S608  # the same
    "WHERE time = :time AND duration = :duration AND request_id IS :request_id "
    "AND client IS :client AND operation = :operation"
)
"""Puts what is known later in the place of what was not known when the call ended."""


def row_of(record: CallRecord, prices: Prices) -> Row:
    """Return a call that is over."""
    usage, chain = record.usage, record.chain
    bill = record.bill if chain is None else None
    if bill is None:
        bill = bill_of(record, prices)
    tokens, relay, client = bill.tokens, record.relay, record.client
    first = None if usage is None else usage.first_token_at
    # In the columns' order, and without their names, which would take three times as long.
    columns = (
        record.ended,
        None if relay == UNKNOWN else relay[:NAME_LIMIT],
        None if client == UNKNOWN else client[:NAME_LIMIT],
        record.grant[:NAME_LIMIT] or None,
        record.session_id[:NAME_LIMIT] or None,
        record.agent_id[:NAME_LIMIT] or None,
        record.parent_agent_id[:NAME_LIMIT] or None,
        record.operation,
        bill.model,
        record.status,
        record.outcome,
        record.rejection,
        None if usage is None else usage.error_type,
        rounded(record.duration),
        None if first is None else rounded(first - record.started),
        tokens["input"],
        tokens["cache_read"],
        tokens["cache_write_5m"],
        tokens["cache_write_1h"],
        tokens["cache_write_unknown"],
        tokens["output"],
        tokens["reasoning"],
        bill.tier,
        bill.cost,
        bill.estimate,
        bill.estimate_tokens,
        record.request_id[:NAME_LIMIT] or None,
        record.request_bytes,
        record.response_bytes,
        None if chain is None else len(chain.attempts),
        None if chain is None else _hops(record),
        1,
    )
    return tuple.__new__(Row, columns)


def filled(row: Row, bill: Bill) -> Row:
    """Return a row that takes the place of one in the file, with what is known by now."""
    tokens: Mapping[str, Any] = bill.tokens
    return row._replace(
        model=bill.model or row.model,
        tier=bill.tier or row.tier,
        cost=bill.cost,
        estimate=bill.estimate,
        estimate_tokens=bill.estimate_tokens,
        calls=0,
        **tokens,
    )


def _hops(record: CallRecord) -> str | None:
    """Return what the log's line says of the hops."""
    hops = call_fields(record).get("hops")
    return None if hops is None else json.dumps(hops, separators=(",", ":"))
