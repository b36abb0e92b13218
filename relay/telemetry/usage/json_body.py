"""JSON as it comes: bodies gathered, events told apart, nothing believed of their shape.

A body is kept whole up to a limit; of a longer one its head and its tail, where the APIs put
the model and the usage. An event's type is read off its first bytes where it stands there,
so that most events are never decoded. What cannot be read raises one error, `Unreadable`.
"""

from __future__ import annotations

import json
import re
from typing import Final, Literal

import orjson

from relay.http.sse import Event

Json = dict[str, object]

# Bytes. A body of text stays far below; embeddings and images do not.
WHOLE_LIMIT: Final = 4 * 1024 * 1024
PART_SIZE: Final = 1024 * 1024

_USAGE: Final = re.compile(rb'"usage"\s*:\s*')
_MODEL: Final = re.compile(rb'"model"\s*:\s*"([^"\\]*)"')
_STATUS: Final = re.compile(rb'"status"\s*:\s*"([^"\\]*)"')
_REASON: Final = re.compile(rb'"(stop_reason|finish_reason)"\s*:\s*"([^"\\]*)"')
_DECODER: Final = json.JSONDecoder()
_SPACE: Final = " \t\n\r"
_TYPE_FIRST: Final = re.compile(rb'\s*\{\s*"type"\s*:\s*"([\w.]+)"')


class Unreadable(Exception):
    """This is no JSON object."""

    reason: Literal["parse", "too_large"] = "parse"


class UsageNotFound(Unreadable):
    """This is too long to be read whole, and its ends do not hold what is looked for."""

    reason = "too_large"


def parse(data: bytes) -> Json:
    """Return the JSON object in these bytes; what is not UTF-8 in it is replaced."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return _parse_leniently(data)
    if not isinstance(value, dict):
        raise Unreadable
    return value


def _parse_leniently(data: bytes) -> Json:
    """Read what the standard library reads: lone surrogates, NaN, a mark of the byte order."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff").strip(_SPACE)
    try:
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable from error
    if not isinstance(value, dict) or end != len(text):
        raise Unreadable
    return value


def read(data: bytes) -> Json:
    """Return the JSON object in these bytes, or its excerpt where they are many."""
    if len(data) <= WHOLE_LIMIT:
        return parse(data)
    return excerpt(data[:PART_SIZE], data[-PART_SIZE:])


def excerpt(head: bytes, tail: bytes) -> Json:
    """Return an object with model, status and reasons, where found, and the last usage.

    Quotes within JSON strings are escaped, so none of these can be found inside a text.
    """
    usages = list(_USAGE.finditer(tail))
    if not usages:
        raise UsageNotFound
    found: Json = {"usage": _value_at(tail[usages[-1].end() :])}
    model = _MODEL.search(head) or _MODEL.search(tail)
    if model is not None:
        found["model"] = model[1].decode("utf-8", "replace")
    status = _STATUS.search(head)
    if status is not None:
        found["status"] = status[1].decode("utf-8", "replace")
    for reason in _REASON.finditer(tail):
        name, value = (group.decode("utf-8", "replace") for group in reason.groups())
        found |= {"stop_reason": value, "choices": [{name: value}]}
    return found


def _value_at(data: bytes) -> object:
    try:
        value: object = _DECODER.raw_decode(data.decode("utf-8", "replace"))[0]
    except (ValueError, RecursionError) as error:
        raise Unreadable from error
    return value


class JsonBody:
    """Gathers one JSON body."""

    __slots__ = ("_head", "_kept")

    def __init__(self) -> None:
        self._kept = bytearray()
        self._head: bytes | None = None

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._kept += piece
        if len(self._kept) <= WHOLE_LIMIT:
            return
        if self._head is None:
            self._head = bytes(self._kept[:PART_SIZE])
        # From here on the window is cut back once for every three parts that come.
        del self._kept[:-PART_SIZE]

    def read(self) -> Json:
        """Return the object, or its excerpt."""
        if self._head is None:
            return parse(bytes(self._kept))
        return excerpt(self._head, bytes(self._kept[-PART_SIZE:]))


class Kinds:
    """Tells the events of an API apart: by JSON's ``type``, else by the ``event:`` line.

    ``known`` matches every type of the API, ``telling`` those that are worth decoding where
    the type does not stand first.
    """

    def __init__(self, known: bytes, telling: bytes) -> None:
        self._known = re.compile(known)
        self._telling = re.compile(telling)
        self._told = re.compile(rb'"type"\s*:\s*"(?:' + telling + rb')"')

    def of(self, event: Event) -> bytes:
        """Return the event's type."""
        match = _TYPE_FIRST.match(event.data)
        if match is not None:
            kind = match[1]
        elif self._telling.fullmatch(event.name) or self._told.search(event.data):
            kind = _type_of(event.data)
        else:
            return event.name
        return kind if self._known.fullmatch(kind) else event.name


def _type_of(data: bytes) -> bytes:
    try:
        kind = read(data).get("type")
    except Unreadable:
        return b""
    return kind.encode("utf-8", "replace") if isinstance(kind, str) else b""


def member(value: object, name: str) -> object:
    """Return a member of a JSON value; None where it has none of that name."""
    return value.get(name) if isinstance(value, dict) else None
