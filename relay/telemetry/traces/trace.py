"""What a call knows of its trace: whose child it is, and the spans of its legs.

By W3C Trace Context (https://www.w3.org/TR/trace-context/#traceparent-header): what an agent sends
in ``traceparent`` is the parent, and each leg goes out with an id of its own in its place. What is
in ``tracestate`` and ``baggage`` passes. Pure: knows nothing of OpenTelemetry's SDK.
"""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from relay.http.headers import field as header_field
from relay.http.message import RequestHead

if TYPE_CHECKING:
    from relay.telemetry.call import CallRecord

_KEY: Final = b"traceparent"
# A version after 00 may have more behind it; ff is none.
_TRACEPARENT: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
_SAMPLED: Final = 1


class Parent(NamedTuple):
    """A span of somebody else's."""

    trace_id: int
    span_id: int
    is_sampled: bool


def read_parent(head: RequestHead) -> Parent | None:
    """Return the span that a request says it belongs to; None where it says none, or wrongly."""
    values = head.values(_KEY)
    match = _TRACEPARENT.fullmatch(values[0]) if len(values) == 1 else None
    if match is None or (values[0].startswith(b"00") and len(values[0]) != 55):
        return None
    trace_id, span_id = int(match[1], 16), int(match[2], 16)
    if not trace_id or not span_id:
        return None
    return Parent(trace_id, span_id, bool(int(match[3], 16) & _SAMPLED))


@dataclass(slots=True)
class LegSpan:
    """The client span of one leg: to an LLM proxy, or to the API."""

    span_id: int
    parent_id: int
    record: CallRecord = field(repr=False)
    """What is known of the leg; of the first one, the call's own."""
    host: str
    port: int
    hop: str | None = None
    """The LLM proxy that it went to; None for the API."""
    started: float = field(default_factory=time.perf_counter)


@dataclass(slots=True)
class Trace:
    """The trace of one call, as far as it is the relay's."""

    trace_id: int
    span_id: int
    parent: Parent | None
    is_sampled: bool
    legs: list[LegSpan] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The trace's id, as everything shows it."""
        return f"{self.trace_id:032x}"

    def forget(self) -> None:
        """Let go of the legs: they hold their calls, which would wait for the garbage collector."""
        self.legs.clear()

    def go_on(
        self,
        head: RequestHead,
        record: CallRecord,
        to: tuple[str, int],
        *,
        hop: str | None = None,
        after: CallRecord | None = None,
    ) -> RequestHead:
        """Begin a leg, and return the head that goes out with its id.

        ``after`` is the record of the leg that went to the LLM proxy this one came back from: its
        parent, unless that put a span of its own in between.
        """
        leg = LegSpan(new_span_id(), self._parent_of(head, after), record, *to, hop)
        self.legs.append(leg)
        told = b"00-%032x-%016x-%02x" % (self.trace_id, leg.span_id, self.is_sampled)
        kept = [each for each in head.fields if each.key != _KEY]
        return replace(head, fields=(*kept, header_field(_KEY, told)))

    def _parent_of(self, head: RequestHead, after: CallRecord | None) -> int:
        if after is None:
            return self.span_id
        own = read_parent(head)
        if own is not None and own.trace_id == self.trace_id:
            return own.span_id
        return next((leg.span_id for leg in self.legs if leg.record is after), self.span_id)


def new_span_id() -> int:
    """Return an id for a span: 64 random bits, not all of them 0."""
    return random.getrandbits(64) or 1  # it is no secret


def new_trace_id() -> int:
    """Return an id for a trace: 128 random bits, not all of them 0."""
    return random.getrandbits(128) or 1  # it is no secret
