"""What the meter knows of the APIs: a reader for each operation's answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from relay.http.sse import Event
from relay.telemetry.usage.counts import Tally
from relay.telemetry.usage.json_body import Json, Unreadable, UsageNotFound, read

DONE: Final = b"[DONE]"
"""How streams of Chat Completions end."""


@dataclass(frozen=True, slots=True)
class AnswerReader:
    """How the answers of one operation are read."""

    read_answer: Callable[[Json, Tally], None]
    """Takes what a JSON answer states."""
    read_event: Callable[[Event, Tally], None] | None = None
    """Takes what an event states; None where the operation has no streams."""
    is_content: Callable[[bytes], object] | None = None
    """Tells of an event's lines, once the first token has come, that they are only more content."""
    common_start: bytes = b""
    """What most of those begin with, where they all begin alike."""
    marks: frozenset[str] = frozenset()
    """Members of which a JSON answer has one at least; what has none is no answer of the API."""
    metered: bool = True
    """Whether answers should state usage."""
    texts: re.Pattern[bytes] | None = None
    """Finds what the model wrote, in an event's lines."""


def document_of(event: Event, tally: Tally) -> Json:
    """Return an event's JSON; an empty object, and a note, where it cannot be read."""
    try:
        if event.too_large:
            raise UsageNotFound
        return read(event.data)
    except Unreadable as error:
        tally.note = tally.note or error.reason
        return {}


def is_whole(event: Event) -> bool:
    """Whether an event whose end was not seen has come to it: torsos of JSON are none."""
    try:
        read(event.data)
    except Unreadable:
        return event.data.strip() == DONE
    return True


def starts_of(*kinds: str) -> tuple[bytes, ...]:
    """Return how events of these types begin, as the APIs and Python's json write them.

    First of all: how the API writes the first of them.
    """
    starts = [b'{"type":"%b"', b'{"type": "%b"']
    names = [kind.encode() for kind in kinds]
    data = [b"data: " + start % name for name in names for start in starts]
    named = [b"event: %b\ndata: " % name + start % name for name in names for start in starts]
    return (*named, *data)


def _read_error_event(event: Event, tally: Tally) -> None:
    if event.name == b"error" or event.data.find(b'"error"') >= 0:
        tally.fail(document_of(event, tally))


def unmetered(mark: str) -> AnswerReader:
    """Return how answers are read that have this member, and no usage."""
    return AnswerReader(lambda *_: None, marks=frozenset({mark}), metered=False)


REFUSAL: Final = AnswerReader(lambda document, tally: tally.fail(document), _read_error_event)
"""Answers of status 400 and above, of any operation: the error's type is all they tell.

Headroom answers 502 with an event stream when its upstream is gone.
"""
