"""What a call used and cost, by what the answers to it stated. Pure.

A call through LLM proxies is billed by what came of it at the API: its attempts on the last leg.
Tokens are None where nobody stated them, and the cost is None where no price is known or where
usage that should be there is not; of what was certainly not billed, it is 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from relay.telemetry.call import CallRecord
from relay.telemetry.usage import TOKEN_TYPES, Usage

if TYPE_CHECKING:
    from relay.telemetry.prices import Prices

_MICRO: Final = 1_000_000
# What a POST to these asks for is free.
_FREE: Final = frozenset({"count_tokens", "models", "files"})
# The relay's own word for these: nothing of the call went on.
_NOT_SENT: Final = frozenset({"rejected", "no_credential"})
_METERED: Final = frozenset({"messages", "chat_completions", "responses", "embeddings"})


class Bill(NamedTuple):
    """What a call used and cost; money in micro-dollars."""

    model: str | None
    tier: str | None
    tokens: Mapping[str, int | None]
    """By type, and ``reasoning``, which is a part of the output."""
    cost: int | None
    unpriced: int
    """What limits count for tokens without a price."""


_NO_TOKENS: Final[Mapping[str, int | None]] = dict.fromkeys((*TOKEN_TYPES, "reasoning"))
FREE_OF_CHARGE: Final = Bill(None, None, _NO_TOKENS, 0, 0)


def bill_of(record: CallRecord, prices: Prices) -> Bill:
    """Return what a call used and cost, once it is over."""
    bills = [_bill(attempt, prices) for attempt in record.attempts]
    if len(bills) == 1:
        return bills[0]
    if not bills:
        return FREE_OF_CHARGE
    return Bill(
        model=next((bill.model for bill in reversed(bills) if bill.model is not None), None),
        tier=next((bill.tier for bill in reversed(bills) if bill.tier is not None), None),
        tokens={kind: _sum(bill.tokens[kind] for bill in bills) for kind in _NO_TOKENS},
        cost=_total(bills),
        unpriced=sum(bill.unpriced for bill in bills),
    )


def _total(bills: list[Bill]) -> int | None:
    """Return what all cost: what is known of it, unless there are tokens without a price."""
    if any(bill.cost is None and any(bill.tokens.values()) for bill in bills):
        return None
    return _sum(bill.cost for bill in bills)


def _sum(counts: Iterator[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def may_cost(record: CallRecord) -> bool:
    """Whether an attempt may have been billed, whatever is known of its usage."""
    if record.method != "POST" or not record.is_billed or record.operation in _FREE:
        return False
    if record.outcome in _NOT_SENT or (record.code is None and record.sent_at is None):
        return False
    return record.code is None or record.code < 400


def _bill(record: CallRecord, prices: Prices) -> Bill:
    usage = record.usage
    if not may_cost(record):
        return FREE_OF_CHARGE._replace(model=None if usage is None else usage.model)
    if usage is None:
        return FREE_OF_CHARGE._replace(cost=None)
    complete = usage.missing is None and record.operation in _METERED and not usage.unusable
    cost, unpriced = _price(record, usage, prices)
    if not usage.tokens and not complete:
        cost = None
    return Bill(usage.model, usage.tier, _tokens(usage, complete=complete), cost, unpriced)


def _tokens(usage: Usage, *, complete: bool) -> dict[str, int | None]:
    """Return the tokens by type; what a whole statement does not name, there was none of."""
    stated, absent = usage.tokens, 0 if complete else None
    tokens: dict[str, int | None] = {kind: stated.get(kind, absent) for kind in TOKEN_TYPES}
    tokens["reasoning"] = usage.reasoning_tokens or absent
    return tokens


def _price(record: CallRecord, usage: Usage, prices: Prices) -> tuple[int | None, int]:
    """Return what is known to cost, and what limits count for parts without a price."""
    total: float | None = 0.0
    unpriced = 0.0
    searches = usage.server_tool_requests.get("web_search", 0)
    for model, tokens in usage.parts:
        if not tokens:
            continue
        cost = prices.cost(record.api, model or "", tokens, web_searches=searches, tier=usage.tier)
        searches = 0  # they are the answer's own
        if cost is None:
            total = None
            unpriced += prices.unknown_cost(record.api, tokens, tier=usage.tier)
        elif total is not None:
            total += cost
    return None if total is None else round(total * _MICRO), round(unpriced * _MICRO)
