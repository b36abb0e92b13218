"""What a call used and cost, by what the answers to it stated. Pure.

A call through LLM proxies is billed by what came of it at the API: its attempts on the last leg.
Tokens are None where nobody stated them, and the cost is None where no price is known or where
usage that should be there is not; of what was certainly not billed, it is 0. What limits count
beyond that is the estimate: tokens without a price, and what `size` makes of what was not stated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from relay.config.limits import MICRO
from relay.telemetry.call import CallRecord
from relay.telemetry.ledger.size import by_size, is_complete
from relay.telemetry.operations import FREE_OPERATIONS
from relay.telemetry.spending.sums import Spent
from relay.telemetry.usage import INPUT_TYPES, TOKEN_TYPES, Usage

if TYPE_CHECKING:
    from relay.telemetry.prices import Prices

# The relay's own word for these: nothing of the call went on.
_NOT_SENT: Final = frozenset({"rejected", "no_credential"})
_INPUT_COUNTED: Final = tuple(kind for kind in INPUT_TYPES if kind != "cache_read")
_COUNTED: Final = (*_INPUT_COUNTED, "output")
"""What limits of tokens count."""


class Bill(NamedTuple):
    """What a call used and cost; money in micro-dollars."""

    model: str | None
    tier: str | None
    tokens: Mapping[str, int | None]
    """By type, and ``reasoning``, which is a part of the output."""
    cost: int | None
    estimate: int
    """What limits count beyond the cost: for tokens without a price, or that nobody stated."""
    estimate_tokens: int = 0
    """The tokens among those that limits count."""

    @property
    def spent(self) -> Spent:
        """What limits count."""
        known = self.tokens
        tokens = (known["input"] or 0) + (known["output"] or 0) + self.estimate_tokens
        tokens += (known["cache_write_5m"] or 0) + (known["cache_write_1h"] or 0)
        tokens += known["cache_write_unknown"] or 0
        return tuple.__new__(Spent, ((self.cost or 0) + self.estimate, tokens))

    @property
    def had_cache(self) -> bool | None:
        """Whether the prompt was in the cache, as far as it was; None where nobody said."""
        if self.tokens["cache_read"]:
            return True
        for kind in _INPUT_COUNTED:
            if self.tokens[kind] is not None:
                return False
        return None


_NO_TOKENS: Final[Mapping[str, int | None]] = dict.fromkeys((*TOKEN_TYPES, "reasoning"))
_NONE_USED: Final[Mapping[str, int | None]] = dict.fromkeys(_NO_TOKENS, 0)
FREE_OF_CHARGE: Final = Bill(None, None, _NO_TOKENS, 0, 0)


def bill_of(record: CallRecord, prices: Prices) -> Bill:
    """Return what a call used and cost in all, once it is over."""
    bills = [each.bill or bill_attempt(each, prices) for each in record.attempts]
    if not bills:
        return FREE_OF_CHARGE
    if len(bills) == 1:
        return bills[0]
    return Bill(
        model=next((bill.model for bill in reversed(bills) if bill.model is not None), None),
        tier=next((bill.tier for bill in reversed(bills) if bill.tier is not None), None),
        tokens={kind: _sum(bill.tokens[kind] for bill in bills) for kind in _NO_TOKENS},
        cost=_total(bills),
        estimate=sum(bill.estimate for bill in bills),
        estimate_tokens=sum(bill.estimate_tokens for bill in bills),
    )


def _total(bills: Sequence[Bill]) -> int | None:
    """Return what all cost: what is known of it, unless there are tokens without a price."""
    if any(bill.cost is None and any(bill.tokens.values()) for bill in bills):
        return None
    return _sum(bill.cost for bill in bills)


def _sum(counts: Iterator[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def may_cost(record: CallRecord) -> bool:
    """Whether an attempt may have been billed, whatever is known of its usage."""
    if record.method != "POST" or not record.is_billed or record.operation in FREE_OPERATIONS:
        return False
    if record.outcome in _NOT_SENT or (record.code is None and record.sent_at is None):
        return False
    return record.code is None or record.code < 400


def bill_stated(record: CallRecord, prices: Prices) -> Bill | None:
    """Return what one attempt used and cost, if nothing of that has to be taken by its size."""
    usage = record.usage
    if not may_cost(record):
        return FREE_OF_CHARGE._replace(model=None if usage is None else usage.model)
    if usage is None or not is_complete(record, usage):
        return None
    cost, unpriced = _price(record, usage, prices)
    estimate = round(unpriced * MICRO) if unpriced else 0
    fields = (usage.model, usage.tier, _tokens(usage, complete=True), cost, estimate, 0)
    return tuple.__new__(
        Bill, fields
    )  # by names, and through the class, it takes three times as long


def bill_attempt(record: CallRecord, prices: Prices, *, had_cache: bool = False) -> Bill:
    """Return what one attempt used and cost.

    ``had_cache`` is whether the session's call before had any of its prompt from the cache.
    """
    if (stated := bill_stated(record, prices)) is not None:
        return stated
    usage = record.usage
    model, tier = (None, None) if usage is None else (usage.model, usage.tier)
    unstated = by_size(record, had_cache=had_cache)
    estimate = _cost_of(record, prices, model, unstated, tier) if unstated else 0.0
    counted = sum(count for kind, count in unstated.items() if kind in _COUNTED)
    if usage is None:
        return Bill(None, None, _NO_TOKENS, None, round(estimate * MICRO), counted)
    cost, unpriced = _price(record, usage, prices)
    return Bill(
        *(model, tier, _tokens(usage, complete=False), cost if usage.tokens else None),
        round((unpriced + estimate) * MICRO),
        counted,
    )


def bill_later(record: CallRecord, prices: Prices) -> Bill | None:
    """Return the bill of a background response by what was fetched of it, once all is stated."""
    usage = record.usage
    if usage is None or usage.missing is not None or not usage.tokens:
        return None
    cost, unpriced = _price(record, usage, prices)
    estimate = round(unpriced * MICRO)
    return Bill(usage.model, usage.tier, _tokens(usage, complete=True), cost, estimate, 0)


def _tokens(usage: Usage, *, complete: bool) -> dict[str, int | None]:
    """Return the tokens by type; what a whole statement does not name, there was none of."""
    absent = _NONE_USED if complete else _NO_TOKENS
    tokens = {**absent, **usage.tokens}
    if usage.reasoning_tokens:
        tokens["reasoning"] = usage.reasoning_tokens
    return tokens


def _price(record: CallRecord, usage: Usage, prices: Prices) -> tuple[int | None, float]:
    """Return what is known to cost, and the dollars that limits count for what has no price."""
    requests = usage.server_tool_requests
    if len(usage.parts) == 1 and not requests and usage.tier is None:
        ((model, tokens),) = usage.parts
        micro = prices.micro(record.api, model or "", tokens)
        if micro is not None:
            return micro, 0.0
    total: float | None = 0.0
    unpriced = 0.0
    searches = requests.get("web_search", 0)
    for model, tokens in usage.parts:
        if not tokens:
            continue
        cost = prices.cost(record.api, model or "", tokens, web_searches=searches, tier=usage.tier)
        searches = 0  # they are the answer's own
        if cost is None:
            total = None
            unpriced += prices.unknown_cost(record.api, tokens, model=model, tier=usage.tier)
        elif total is not None:
            total += cost
    return None if total is None else round(total * MICRO), unpriced


def _cost_of(
    record: CallRecord,
    prices: Prices,
    model: str | None,
    tokens: Mapping[str, int],
    tier: str | None,
) -> float:
    """Return what limits count for tokens, in dollars."""
    cost = prices.cost(record.api, model or "", tokens, tier=tier)
    if cost is None:
        return prices.unknown_cost(record.api, tokens, model=model, tier=tier)
    return cost
