"""What an answer said of itself, and what is to be thought of it, once it is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from relay.telemetry.usage.counts import Missing, Part, Tally, merge
from relay.telemetry.usage.first_bytes import Kind
from relay.telemetry.usage.reader import AnswerReader

End = Literal["clean", "broken", "aborted"]
"""How an answer ended: as its framing says, cut short upstream or here, left by the agent."""


class Usage(NamedTuple):
    """What an answer said of itself. Times are on the clock of those handed in."""

    model: str | None
    parts: tuple[Part, ...]
    """What is billed, each part by itself: the answer first, then what the API ran beside it."""
    reasoning_tokens: int
    """A subset of the output."""
    server_tool_requests: Mapping[str, int]
    stop_reason: str | None
    tier: str | None
    """What the API says of its service where it is not the standard one."""
    error_type: str | None
    """Of an answer of 400 and above or one that is unusable, or of an error within a stream."""
    error_where: Literal["http", "stream"] | None
    error_message: str
    """The error's own words, which may quote whatever was sent: not to be shown as they are."""
    unpaid: bool
    """Whether the error is for want of payment."""
    ended: bool
    """Whether the stream's own end was seen: ``message_stop``, ``[DONE]`` and their like."""
    stream_error: bool
    """Whether a stream of status 2xx carried an error."""
    truncated: bool
    """Whether a stream that could be read ended cleanly and yet before its own end."""
    unusable: bool
    """Whether an answer of status 2xx is whole, and none that the operation has."""
    first_token_at: float | None
    max_gap: float | None
    """The upstream's longest silence within a stream or after its last piece, in seconds."""
    missing: Missing | None
    """Why usage that should be there is not, or not all of it."""
    text_size: int = 0
    """Characters of what the model wrote, where that was asked for: of JSON, all there are."""
    response_id: str = ""
    """What a response of OpenAI's is called: it may be fetched later."""

    @property
    def tokens(self) -> Mapping[str, int]:
        """All tokens by type, disjoint; without those of which there were none."""
        return merge(self.parts)

    def seconds_per_output_token(self, ended_at: float) -> float | None:
        """Return the pace after the first token, where all output is known."""
        output = self.parts[0].tokens.get("output", 0)
        if self.first_token_at is None or self.missing is not None or output < 2:
            return None
        return (ended_at - self.first_token_at) / (output - 1)


@dataclass(slots=True)
class Findings:
    """What the meter finds in a body."""

    status: int
    is_endpoint: bool
    """Whether an answer of the operation's own is due, and not of something below its path."""
    reader: AnswerReader | None
    streams: bool
    """Whether it is an event stream: as labelled, until its first bytes have come."""
    kind: Kind | None = None
    """What its first bytes are, once they have come."""
    tally: Tally = field(default_factory=Tally)
    is_answer: bool = False
    """Whether it is JSON that the operation answers with."""
    fault: Missing | None = None
    """What ended the reading before its time."""
    half_decoded: bool = False
    """Whether a coding has not come to its own end."""
    end: End = "clean"
    text_size: int = 0

    def usage(self, first_token_at: float | None, max_gap: float | None) -> Usage:
        """Return what that comes to, once the answer is over."""
        tally, unusable = self.tally, self._is_unusable()
        refused = self.status >= 400 or unusable
        stream_error = tally.failed and self.streams and not refused
        failed = refused or tally.failed
        # In the order of Usage, and without the names, which would take twice as long.
        return Usage(
            tally.model,
            tally.parts(),
            tally.stated.get("reasoning", 0),
            tally.server_tool_requests(),
            tally.stop_reason,
            tally.tier,
            tally.error_type or ("other" if refused else None),
            "stream" if stream_error else "http" if failed else None,
            tally.error_message,
            tally.unpaid,
            tally.ended,
            stream_error,
            self.end == "clean" and not unusable and self._lacks_its_end(),
            unusable,
            first_token_at,
            max_gap,
            None if tally.complete else self._missing(),
            self.text_size,
            tally.response_id,
        )

    @property
    def succeeded(self) -> bool:
        """Whether its status says so."""
        return 200 <= self.status < 300

    def _is_unusable(self) -> bool:
        """Whether the answer is whole and an agent can make nothing of it."""
        if not (self.succeeded and self.is_endpoint and self.end == "clean"):
            return False
        if self.reader is None or self.fault is not None:
            return False
        if self.kind is None:
            return True
        if not self.streams:
            return self.tally.failed or not self.is_answer
        return self.reader.read_event is None or (self.kind == "other" and self._lacks_its_end())

    def _lacks_its_end(self) -> bool:
        """Whether a stream that could be read has not come to its own end."""
        return (
            self.streams
            and self.succeeded
            and self.is_endpoint
            and self.reader is not None
            and self.reader.read_event is not None
            and not (self.tally.ended or self.tally.failed)
            and not (self.tally.told_all and not self.half_decoded)
            and self.fault is None
            and self.tally.note != "too_large"
        )

    def _missing(self) -> Missing | None:
        if not self.succeeded or self.reader is None or not self.reader.metered:
            return None
        if self.fault is not None:
            return self.fault
        if self.tally.ended:
            return self.tally.note or "absent"
        if self.end == "aborted" and not self.tally.failed:
            return "client_abort"
        return self._missing_of_torso()

    def _missing_of_torso(self) -> Missing:
        """Return the reason for an answer that did not say that it was whole."""
        if self.end == "broken" or self.half_decoded or (self.tally.failed and self.streams):
            return "truncated"
        if self.tally.note is not None:
            return self.tally.note
        return "truncated" if self._lacks_its_end() else "absent"
