"""The meter of one answer: fed with the bytes that went to the agent, asked once at the end.

It decodes a copy, splits events or gathers JSON, and lets the operation's row read them. It
holds no clock: times are handed in, seconds on any one that does not go back. Whatever goes
wrong in it ends the reading, is named in ``missing``, and goes no further.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple

from relay.http.coding import DecodedTooLarge, Decoder, Undecodable, decoder_for
from relay.http.sse import Event, EventReader
from relay.telemetry.usage import anthropic, openai
from relay.telemetry.usage.counts import Missing, Tally
from relay.telemetry.usage.json_body import Document, Unreadable
from relay.telemetry.usage.reader import REFUSAL, Row

End = Literal["clean", "broken", "aborted"]
"""How an answer ended: as its framing says, cut short upstream or here, left by the agent."""

_ROWS: Final[Mapping[str, Row]] = {
    "messages": anthropic.MESSAGES,
    "chat_completions": openai.CHAT_COMPLETIONS,
    "responses": openai.RESPONSES,
    "embeddings": openai.EMBEDDINGS,
}

# Bytes. An answer's first events fit in.
_STEP: Final = 1024


class Usage(NamedTuple):
    """What an answer said of itself. Times are on the clock of those handed in."""

    model: str | None
    tokens: Mapping[str, int]
    """By type, disjoint; without those of which there were none."""
    reasoning_tokens: int
    """A subset of the output."""
    server_tool_requests: Mapping[str, int]
    stop_reason: str | None
    error_type: str | None
    """Of an answer of 400 and above, or of an error within a stream."""
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
    first_token_at: float | None
    max_gap: float | None
    """Longest silence between two pieces of a stream, or after the last, in seconds."""
    missing: Missing | None
    """Why usage that should be there is not, or not all of it."""

    def seconds_per_output_token(self, ended_at: float) -> float | None:
        """Return the pace after the first token, where all output is known."""
        output = self.tokens.get("output", 0)
        if self.first_token_at is None or self.missing is not None or output < 2:
            return None
        return (ended_at - self.first_token_at) / (output - 1)


class Meter:
    """Reads one answer as it passes."""

    def __init__(
        self, operation: str, status: int, content_type: bytes, content_encoding: bytes = b""
    ) -> None:
        self._status = status
        self._succeeded = 200 <= status < 300
        self._row = _ROWS.get(operation) if self._succeeded else None
        if status >= 400:
            self._row = REFUSAL
        media_type = content_type.partition(b";")[0].strip(b" \t").lower()
        self._streams = media_type == b"text/event-stream"
        self._tally = Tally()
        self._events: EventReader | None = None
        self._document: Document | None = None
        self._decoder: Decoder | None = None
        self._fault: Missing | None = None
        self._skips: Callable[[bytes], bool] | None = None
        """Tells pieces of a plain stream that need no closer look; from the first token on."""
        self._first_token_at: float | None = None
        self._heard_at = math.inf
        self._max_gap = 0.0
        self._consume = self._choose_consumer(content_encoding)

    def _choose_consumer(self, content_encoding: bytes) -> Callable[[bytes, float], None]:
        row = self._row
        if row is None or (self._streams and row.read_event is None):
            return _ignore
        if content_encoding:
            try:
                self._decoder = decoder_for(content_encoding)
            except Undecodable:
                self._fault = "encoding"
                return _ignore
        if self._streams:
            self._events = EventReader()
        else:
            self._document = Document()
        return self._choose_reader() if self._decoder is None else self._take_coded

    def _choose_reader(self) -> Callable[[bytes, float], None]:
        return self._take_events if self._streams else self._take_document

    @property
    def model(self) -> str | None:
        """The model's name, once it is known."""
        return self._tally.model

    @property
    def tokens(self) -> Mapping[str, int]:
        """The tokens that are known by now, as in a ``Usage``."""
        return self._tally.tokens()

    def feed(self, piece: bytes, now: float) -> None:
        """Take the next bytes of the body, as they crossed, and the time. Never raises."""
        gap = now - self._heard_at
        self._heard_at = now
        if gap > self._max_gap:  # noqa: PLR1730  # max() takes as long as the rest of this
            self._max_gap = gap
        if self._skips is not None and self._skips(piece):
            return
        try:
            self._consume(piece, now)
        except Exception as error:  # noqa: BLE001  # whatever it is, the call goes on
            self._give_up(error)

    def _take_coded(self, piece: bytes, now: float) -> None:
        assert self._decoder is not None
        self._choose_reader()(self._decoder.feed(piece), now)

    def _take_document(self, piece: bytes, _: float) -> None:
        assert self._document is not None
        self._document.feed(piece)

    def _take_events(self, piece: bytes, now: float) -> None:
        assert self._events is not None
        if self._first_token_at is None:
            piece = self._take_beginning(self._events, piece, now)
        events = self._events.feed(piece)
        if events:
            self._read_events(events, now)

    def _take_beginning(self, reader: EventReader, piece: bytes, now: float) -> bytes:
        """Read a little at a time until the first token has come; return what is left.

        Only then is content dropped unread, and a piece may hold most of an answer.
        """
        for start in range(0, len(piece), _STEP):
            if self._first_token_at is not None:
                return piece[start:]
            self._read_events(reader.feed(piece[start : start + _STEP]), now)
        return b""

    def _read_events(self, events: list[Event], now: float) -> None:
        assert self._row is not None
        assert self._row.read_event is not None
        tally = self._tally
        for event in events:
            if event.too_large and not event.name:
                tally.note = tally.note or "too_large"
            self._row.read_event(event, tally)
        if tally.begun and self._first_token_at is None:
            self._first_token_at = now
            self._ignore_content()

    def _ignore_content(self) -> None:
        """Read no more of what the model writes: the first of it is known."""
        assert self._events is not None
        assert self._row is not None
        if self._row.unread is not None:
            self._events.ignore(self._row.unread, self._row.common_start)
            if self._row.common_start and self._decoder is None:
                self._skips = self._events.skips

    def _give_up(self, error: Exception) -> None:
        """End the reading; what is known by now stays known."""
        if isinstance(error, Undecodable):
            self._fault = "encoding"
        elif isinstance(error, DecodedTooLarge):
            self._fault = "too_large"
        else:
            self._fault = "parse"
        self._forget()

    def _forget(self) -> None:
        """Take nothing more, and let go of what has been gathered."""
        self._consume = _ignore  # the meter held itself by it
        self._skips = self._events = self._document = None

    def finish(self, end: End, now: float) -> Usage:
        """Return what an answer said of itself, now that is over, and how. Never raises."""
        gap = now - self._heard_at
        self._max_gap = max(self._max_gap, gap)
        document = self._document
        self._forget()
        if document is not None and not document.empty:
            try:
                self._read_document(document)
            except Exception as error:  # noqa: BLE001  # whatever it is, the call is counted
                self._give_up(error)
        return self._make_usage(end)

    def _read_document(self, document: Document) -> None:
        assert self._row is not None
        try:
            self._row.read_answer(document.read(), self._tally)
        except Unreadable as error:
            self._tally.note = error.reason

    def _make_usage(self, end: End) -> Usage:
        tally = self._tally
        refused = self._status >= 400
        return Usage(
            model=tally.model,
            tokens=tally.tokens(),
            reasoning_tokens=tally.stated.get("reasoning", 0),
            server_tool_requests=tally.server_tool_requests(),
            stop_reason=tally.stop_reason,
            error_type=tally.error_type or ("other" if refused else None),
            error_where="http" if refused else "stream" if tally.failed else None,
            error_message=tally.error_message,
            unpaid=tally.unpaid,
            ended=tally.ended,
            stream_error=self._succeeded and tally.failed,
            truncated=self._streams and end == "clean" and self._lacks_its_end(),
            first_token_at=self._first_token_at,
            max_gap=self._max_gap if self._streams and self._has_gaps() else None,
            missing=None if tally.complete else self._find_missing(end),
        )

    def _has_gaps(self) -> bool:
        return self._succeeded and self._heard_at < math.inf

    def _lacks_its_end(self) -> bool:
        """Whether a stream that could be read has not come to its own end."""
        return (
            self._succeeded
            and self._row is not None
            and self._row.read_event is not None
            and not (self._tally.ended or self._tally.failed)
            and self._fault is None
            and self._tally.note != "too_large"
        )

    def _find_missing(self, end: End) -> Missing | None:
        if not self._succeeded or self._row is None:
            return None
        if self._fault is not None:
            return self._fault
        if self._tally.ended:
            return self._tally.note or "absent"
        if end == "aborted" and not self._tally.failed:
            return "client_abort"
        return self._missing_of_torso(end)

    def _missing_of_torso(self, end: End) -> Missing:
        """Return the reason for an answer that did not say that it was whole."""
        half_decoded = self._decoder is not None and not self._decoder.finished
        if end == "broken" or half_decoded or self._tally.failed:
            return "truncated"
        if self._tally.note is not None:
            return self._tally.note
        return "truncated" if self._streams and self._lacks_its_end() else "absent"


def _ignore(_: bytes, __: float) -> None:
    """Nothing in this body is to be read."""
