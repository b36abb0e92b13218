"""The meter of one answer: fed with the bytes that went to the agent, asked once at the end.

It decodes a copy, splits events or gathers JSON, and lets the operation's reader read them. It
holds no clock: times are handed in, seconds on any one that does not go back. Whatever goes
wrong in it ends the reading, is named in ``missing``, and goes no further.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from relay.http.coding import DecodedTooLarge, Decoder, Undecodable, decoder_for
from relay.http.sse import Event, EventReader
from relay.telemetry.usage import anthropic, openai
from relay.telemetry.usage.counts import merge
from relay.telemetry.usage.first_bytes import BLANK, Kind, kind_of
from relay.telemetry.usage.json_body import JsonBody, Unreadable, UsageNotFound
from relay.telemetry.usage.reader import REFUSAL, AnswerReader, is_whole, unmetered
from relay.telemetry.usage.statement import End, Findings, Usage
from relay.telemetry.usage.text_size import size_of

_READERS: Final[Mapping[str, AnswerReader]] = {
    "messages": anthropic.MESSAGES,
    "count_tokens": unmetered("input_tokens"),
    "batches": unmetered("id"),
    "files": unmetered("id"),
    "chat_completions": openai.CHAT_COMPLETIONS,
    "responses": openai.RESPONSES,
    "embeddings": openai.EMBEDDINGS,
}

# Bytes. An answer's first events fit in.
_STEP: Final = 1024


def _find_reader(operation: str, status: int, *, is_endpoint: bool) -> AnswerReader | None:
    """Return how an answer is read, if it is."""
    if status >= 400:
        return REFUSAL
    reader = _READERS.get(operation) if 200 <= status < 300 else None
    return reader if reader is not None and (reader.metered or is_endpoint) else None


class Meter:
    """Reads one answer as it passes."""

    def __init__(
        self,
        operation: str,
        status: int,
        content_type: bytes,
        content_encoding: bytes = b"",
        *,
        is_endpoint: bool = True,
        sizes: bool = False,
    ) -> None:
        """Begin; with ``sizes``, count what the model wrote too, in case usage is not stated."""
        media_type = content_type.partition(b";")[0].strip(b" \t").lower()
        self._reader = _find_reader(operation, status, is_endpoint=is_endpoint)
        self._found = Findings(
            status, is_endpoint, self._reader, media_type == b"text/event-stream"
        )
        self._tally = self._found.tally
        self._sizes = sizes and self._found.succeeded
        self._text_size = 0
        self._start = b""
        """The first bytes, until they tell."""
        self._events: EventReader | None = None
        self._body: JsonBody | None = None
        self._decoder: Decoder | None = None
        self._first_token_at: float | None = None
        self._heard_at = math.inf
        self._max_gap = -math.inf
        self._read: Callable[[bytes, float], None] = self._take_start
        """Takes what the body holds, decoded."""
        self._consume = self._choose_consumer(content_encoding)

    def _choose_consumer(self, content_encoding: bytes) -> Callable[[bytes, float], None]:
        if self._reader is None:
            if not self._sizes:
                return _ignore
            self._read = self._take_size
        try:
            self._decoder = decoder_for(content_encoding) if content_encoding else None
        except Undecodable:
            self._found.fault = "encoding"
            return self._take_size if self._sizes else _ignore
        return self._read if self._decoder is None else self._take_coded

    @property
    def model(self) -> str | None:
        """The model's name, once it is known."""
        return self._tally.model

    @property
    def tokens(self) -> Mapping[str, int]:
        """The tokens that are known by now, as in a ``Usage``."""
        return merge(self._tally.parts())

    @property
    def streams(self) -> bool:
        """Whether the answer is an event stream, as far as that is known."""
        return self._found.streams

    @property
    def text_size(self) -> int | None:
        """Characters that the model has written so far; None where they are not counted."""
        return self._text_size if self._sizes else None

    def silence(self, now: float) -> float | None:
        """Return the longest silence so far, that of this moment included; None before a piece."""
        if self._heard_at == math.inf:
            return None
        return max(self._max_gap, now - self._heard_at)

    def excuse(self, seconds: float) -> None:
        """Leave out a time in which the upstream was not read, for the agent took nothing."""
        self._heard_at += seconds

    def feed(self, piece: bytes, now: float) -> None:
        """Take the next bytes of the body, as they crossed, and the time. Never raises."""
        gap = now - self._heard_at
        self._heard_at = now
        if gap > self._max_gap:  # noqa: PLR1730  # max() takes as long as the rest of this
            self._max_gap = gap
        try:
            self._consume(piece, now)
        except Exception as error:  # noqa: BLE001  # whatever it is, the call goes on
            self._give_up(error)

    def _take_size(self, piece: bytes, _: float) -> None:
        """Take no more of a body than how long it is."""
        self._text_size += len(piece)

    def _take_coded(self, piece: bytes, now: float) -> None:
        assert self._decoder is not None
        self._read(self._decoder.feed(piece), now)

    def _take_start(self, piece: bytes, now: float) -> None:
        """Gather bytes until they tell what the body is."""
        self._start = (self._start + piece).lstrip(BLANK)
        kind = kind_of(self._start)
        if kind is not None:
            self._begin(kind, now)

    def _begin(self, kind: Kind, now: float) -> None:
        """Read on as what the first bytes are, or what the label says where they do not tell."""
        assert self._reader is not None
        self._found.kind = kind
        if kind != "other":
            self._found.streams = kind == "events"
        if not self._found.streams:
            self._body, self._read = JsonBody(), self._take_body
        elif self._reader.read_event is not None:
            self._events, self._read = EventReader(), self._take_events
        else:
            self._read = _ignore
        if self._decoder is None:
            self._consume = self._read
        start, self._start = self._start, b""
        self._read(start, now)

    def _take_body(self, piece: bytes, _: float) -> None:
        assert self._body is not None
        self._text_size += len(piece)
        self._body.feed(piece)

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

    def _read_events(self, events: Iterable[Event], now: float) -> None:
        assert self._reader is not None
        assert self._reader.read_event is not None
        tally = self._tally
        for event in events:
            if event.too_large and not event.name:
                tally.note = tally.note or "too_large"
            self._reader.read_event(event, tally)
            if self._sizes:
                self._add_texts(event.data)
        if tally.begun and self._first_token_at is None:
            self._first_token_at = now
            self._ignore_content()

    def _ignore_content(self) -> None:
        """Read no more of what the model writes: the first of it is known."""
        assert self._events is not None
        assert self._reader is not None
        if self._reader.is_content is not None:
            on_ignored = self._add_texts if self._sizes else None
            self._events.ignore(self._reader.is_content, self._reader.common_start, on_ignored)

    def _add_texts(self, event: bytes) -> None:
        assert self._reader is not None
        if self._reader.texts is not None:
            self._text_size += size_of(event, self._reader.texts)

    def _give_up(self, error: Exception) -> None:
        """End the reading; what is known by now stays known."""
        if isinstance(error, Undecodable):
            self._found.fault = "encoding"
        elif isinstance(error, DecodedTooLarge):
            self._found.fault = "too_large"
        else:
            self._found.fault = "parse"
        self._forget()
        if self._sizes:
            self._consume = self._take_size

    def _forget(self) -> None:
        """Take nothing more, and let go of what has been gathered."""
        self._consume = self._read = _ignore  # the meter held itself by them
        self._events = self._body = None
        self._start = b""

    def finish(self, end: End, now: float) -> Usage:
        """Return what an answer said of itself, now that is over, and how. Never raises."""
        self._max_gap = max(self._max_gap, now - self._heard_at)
        try:
            self._read_rest()
        except Exception as error:  # noqa: BLE001  # whatever it is, the call is counted
            self._give_up(error)
        self._forget()
        found, decoder = self._found, self._decoder
        found.end = end
        found.text_size = self._text_size if self._sizes else 0
        found.half_decoded = found.fault is None and decoder is not None and not decoder.finished
        return found.usage(self._first_token_at, self._gap())

    def _read_rest(self) -> None:
        """Read what is certain only now that no more comes."""
        if self._start:
            self._begin("other", self._heard_at)
        if self._events is not None:
            # An event lacks its empty line where a server does not write the last one.
            self._read_events(filter(is_whole, self._events.rest()), self._heard_at)
        if self._body is not None:
            self._read_body(self._body)

    def _read_body(self, body: JsonBody) -> None:
        assert self._reader is not None
        try:
            answer = body.read()
        except Unreadable as error:
            self._tally.note = error.reason
            self._found.is_answer = isinstance(error, UsageNotFound)
            return
        self._found.is_answer = not self._reader.marks.isdisjoint(answer)
        if answer.get("error"):
            self._tally.fail(answer)
        self._reader.read_answer(answer, self._tally)

    def _gap(self) -> float | None:
        """Return the longest silence of a stream in which there was anything."""
        heard = self._found.streams and self._found.succeeded and self._max_gap > -math.inf
        return self._max_gap if heard else None


def _ignore(_: bytes, __: float) -> None:
    """Nothing in this body is to be read."""
