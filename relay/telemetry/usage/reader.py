"""The seam between the meter and the APIs: one row says how an operation's answers are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import methodcaller

from relay.http.sse import Event
from relay.telemetry.usage.counts import Tally
from relay.telemetry.usage.json_body import Json, Unreadable, UsageNotFound, read


@dataclass(frozen=True, slots=True)
class Row:
    """How the answers of one operation are read."""

    read_answer: Callable[[Json, Tally], None]
    """Takes what a JSON answer states."""
    read_event: Callable[[Event, Tally], None] | None = None
    """Takes what an event states; None where the operation has no streams."""
    unread: Callable[[bytes], object] | None = None
    """Tells, once the first token has come, that an event is only more content."""
    common_start: bytes = b""
    """What most of those begin with, where they all begin alike."""


def document_of(event: Event, tally: Tally) -> Json:
    """Return an event's JSON; an empty object, and a note, where it cannot be read."""
    try:
        if event.too_large:
            raise UsageNotFound
        return read(event.data)
    except Unreadable as error:
        tally.note = tally.note or error.reason
        return {}


def beginning_with(*kinds: str) -> Callable[[bytes], object]:
    """Return a test for events of these types, as the APIs and Python's json write them."""
    starts = [b'{"type":"%b"', b'{"type": "%b"']
    names = [kind.encode() for kind in kinds]
    data = [b"data: " + start % name for name in names for start in starts]
    named = [b"event: %b\ndata: " % name + start % name for name in names for start in starts]
    return methodcaller("startswith", (*named, *data))


def start_of(kind: str) -> bytes:
    """Return how an event of this type begins, as the APIs write it."""
    return b'event: %b\ndata: {"type":"%b"' % (kind.encode(), kind.encode())


def _read_error(document: Json, tally: Tally) -> None:
    tally.fail(document)


def _read_error_event(event: Event, tally: Tally) -> None:
    if event.name == b"error" or event.data.find(b'"error"') >= 0:
        tally.fail(document_of(event, tally))


REFUSAL = Row(_read_error, _read_error_event)
"""Answers of status 400 and above, of any operation: the error's type is all they tell.

Headroom answers 502 with an event stream when its upstream is gone.
"""
