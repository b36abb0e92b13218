"""When what happened to a call, and how long each leg of its way took.

Seconds, from the head of the agent's request on; what did not happen, or was not seen, is absent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from relay.telemetry.call import CallRecord
from relay.telemetry.hops import HopRecord

AGENT: Final = "agent"
API: Final = "API"
"""The two ends of every chain; a hop's name may be neither, for it is known to be between."""


class Moment(NamedTuple):
    """Something that happened to a call."""

    what: str
    at: float


class Leg(NamedTuple):
    """How long one leg of a call took to its answer's first byte."""

    to: str
    seconds: float
    added: float | None = None
    """What of it was the hop's own doing."""


def timeline(record: CallRecord) -> list[Moment]:
    """Return what is known of a call's course, in the order of time."""
    moments = [
        Moment(what, round(at - record.started, 6))
        for what, at in _moments(record)
        if at is not None
    ]
    return sorted(moments, key=lambda moment: moment.at)


def _moments(record: CallRecord) -> Iterator[tuple[str, float | None]]:
    yield "admitted", record.started
    if record.chain is None:
        yield f"sent to the {API}", record.sent_at
    else:
        for hop in record.chain.hops:
            yield from _hop_moments(hop)
        for attempt in record.chain.attempts:
            yield f"sent to the {API}", attempt.sent_at
            yield f"first byte from the {API}", attempt.first_byte
    yield "first byte", record.first_byte
    yield "first token", record.usage.first_token_at if record.usage else None
    yield "end", record.finished


def _hop_moments(hop: HopRecord) -> Iterator[tuple[str, float | None]]:
    yield f"sent to {hop.name}", hop.sent_at
    yield f"back from {hop.name}", hop.returned_at
    yield f"first byte from {hop.name}", hop.first_byte


def legs(record: CallRecord) -> Iterable[Leg]:
    """Yield the legs of a call that were answered, the agent's own first."""
    if record.time_to_first_byte is not None:
        yield Leg(AGENT, record.time_to_first_byte)
    for hop in record.chain.hops if record.chain is not None else ():
        if hop.sent_at is not None and hop.first_byte is not None:
            yield Leg(f"hop {hop.name}", hop.first_byte - hop.sent_at, _added(hop))
    for attempt in record.attempts:
        if attempt.sent_at is not None and attempt.first_byte is not None:
            yield Leg(API, attempt.first_byte - attempt.sent_at)


def _added(hop: HopRecord) -> float | None:
    if hop.request_overhead is None:
        return None
    return hop.request_overhead + (hop.response_overhead or 0.0)


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the value that this share of all does not exceed (nearest rank); None of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
