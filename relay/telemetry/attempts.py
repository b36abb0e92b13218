"""What the API said to all attempts of one call, put together as if it had been one answer.

A hop may ask more than once for one call: it tries again, fetches what it has left out, counts
tokens. Counts are summed; of what can be said only once, the last word counts. How the answer
went, and when, is not the API's to say: that is what came out of the chain at its near end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from relay.telemetry.usage import Part, Usage, merge

if TYPE_CHECKING:
    from relay.telemetry.call import CallRecord

_UNSTATED: Final = Part(None, {})
_T = TypeVar("_T")


class Known(NamedTuple):
    """What is known of a call's attempts while it runs."""

    model: str | None
    tokens: Mapping[str, int]


def known_of(attempts: Iterable[CallRecord]) -> Known:
    """Return what the answers to these attempts have said by now."""
    answers = [answer for each in attempts if (answer := each.usage or each.meter) is not None]
    parts = [Part(each.model, each.tokens) for each in answers]
    return Known(_last(part.model for part in parts), merge(parts))


def request_id_of(attempts: Iterable[CallRecord]) -> str:
    """Return the last identifier that the API gave an attempt, or nothing."""
    return _last(each.request_id for each in attempts) or ""


def summed(felt: Usage | None, said: Sequence[Usage]) -> Usage | None:
    """Return what the API said in all, in an answer that went as the agent felt it.

    The parts begin with those of the last attempt: its answer is the one that was passed on.
    """
    if felt is None and not said:
        return None
    parts = [part for each in reversed(said) for part in each.parts if part.tokens or part.model]
    reports = [each for each in said if each.error_type is not None]
    report = reports[-1] if reports else None
    return Usage(
        model=_last(each.model for each in said),
        parts=tuple(parts) or (_UNSTATED,),
        reasoning_tokens=sum(each.reasoning_tokens for each in said),
        server_tool_requests=_sum_requests(said),
        stop_reason=_last(each.stop_reason for each in said),
        tier=_last(each.tier for each in said),
        error_type=report.error_type if report else None,
        error_where=report.error_where if report else None,
        error_message=report.error_message if report else "",
        unpaid=any(each.unpaid for each in said),
        ended=felt is not None and felt.ended,
        stream_error=felt is not None and felt.stream_error,
        truncated=felt is not None and felt.truncated,
        unusable=felt is not None and felt.unusable,
        first_token_at=felt.first_token_at if felt else None,
        max_gap=felt.max_gap if felt else None,
        missing=_last(each.missing for each in said),
    )


def _sum_requests(said: Iterable[Usage]) -> Mapping[str, int]:
    requests: Counter[str] = Counter()
    for each in said:
        requests.update(each.server_tool_requests)
    return requests


def _last(values: Iterable[_T | None]) -> _T | None:
    """Return the last value that says anything."""
    last = None
    for each in values:
        last = each or last
    return last
