"""What one call did at the LLM proxies on its way, as it is measured: see ``docs/chains.md``.

Filled in while the call runs, read once it is over. Times are those of ``call``: seconds on
``time.perf_counter``'s clock.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from relay.telemetry.call import CallRecord

HopOutcome = Literal["passed", "answered", "refused", "skipped", "unreachable", "broken", "bypass"]
HOP_OUTCOMES: Final[tuple[HopOutcome, ...]] = get_args(HopOutcome)
HopFields = dict[str, str | int | float]
"""What a line of the log says of one hop of a call, by the names that it has there."""


@dataclass(slots=True)
class HopRecord:
    """What one call did at one hop, by its last attempt there."""

    name: str
    outcome: HopOutcome | None = None
    """None while it is not known, and where the agent left before it was."""
    sent_at: float | None = None
    """When the head of the leg to the hop went out."""
    returned_at: float | None = None
    """When the head of its first return of the call's operation came in."""
    beyond_at: float | None = None
    """When the first byte came of the answer to what it sent on."""
    first_byte: float | None = None
    """When the head of its own answer came."""
    bytes_in: int = 0
    """Of the request's body, sent to the hop."""
    bytes_out: int | None = None
    """Of the request's body that its first return of the call's operation carried."""
    legs: Counter[str] = field(default_factory=Counter)
    """What came back from it, by operation: accepted returns alone."""

    def begin_attempt(self) -> None:
        """Forget what an earlier attempt at the hop was like."""
        self.outcome = None
        self.sent_at = self.returned_at = self.beyond_at = self.first_byte = None
        self.bytes_in, self.bytes_out = 0, None

    @property
    def request_overhead(self) -> float | None:
        """Seconds from the leg's head out to the return's head in."""
        if self.sent_at is None or self.returned_at is None:
            return None
        return max(0.0, self.returned_at - self.sent_at)

    @property
    def response_overhead(self) -> float | None:
        """Seconds from the next leg's first byte to the hop's."""
        if self.beyond_at is None or self.first_byte is None:
            return None
        return max(0.0, self.first_byte - self.beyond_at)

    @property
    def overhead(self) -> float | None:
        """Seconds of both together, as far as they are known."""
        known = [
            each for each in (self.request_overhead, self.response_overhead) if each is not None
        ]
        return sum(known) if known else None

    def fields(self) -> HopFields:
        """Return what the call's line says of it; what is not known is absent."""
        overhead = self.overhead
        fields = {
            "name": self.name,
            "outcome": self.outcome,
            "seconds": None if overhead is None else round(overhead, 6),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
        }
        return {key: value for key, value in fields.items() if value is not None}


@dataclass(slots=True)
class ChainRecord:
    """What one call did on its way through a chain."""

    hops: list[HopRecord] = field(default_factory=list)
    """Those that were reached or skipped, in the chain's order."""
    attempts: list[CallRecord] = field(default_factory=list)
    """What was sent on the last leg: the API's answers are to these."""
