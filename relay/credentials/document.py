"""What a file holds or a command prints: a value, or JSON with a value, others and their end.

JSON is looked into where a path says so, where a grant's headers name fields of it, and where it
is of a form that is known. Of all that is in it (a refresh token, say) no more is kept than what
goes into headers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, NamedTuple

from relay.config import CommandSource, FileSource
from relay.credentials.ends import end_of_web_token, read_end
from relay.credentials.reading import Reading, usable

VALUE: Final = ("",)
"""The fields of whoever wants the value alone."""

# Where the value is in JSON of programs that say when it ends: any that follows the plainest form,
# kubectl's plugins (client.authentication.k8s.io/v1), Claude Code's login, and AWS's
# credential_process (docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html).
_KNOWN: Final = ("value", "status.token", "claudeAiOauth.accessToken", "SessionToken")
# What those call the end, beside the value.
_ENDS: Final = ("expires_at", "expirationTimestamp", "expiresAt", "Expiration")


class _Words(NamedTuple):
    """How a source says what is wrong with what it gave."""

    empty: str
    unusable: str
    no_json: str
    has: str


UNUSABLE: Final = "holds a line break, or another character that no header may"
_OF_FILE: Final = _Words("is empty", UNUSABLE, "is not valid JSON", "has")
_OF_COMMAND: Final = _Words(
    "printed no usable value", "printed no usable value", "printed no valid JSON", "printed"
)


class _Unusable(Exception):
    """There is no value; the text says why."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A text in JSON, with what it is in."""

    text: object
    holder: object
    """What is beside it."""
    base: object
    """Where the paths of further fields begin."""
    data: object
    """All of it."""


def read_document(
    text: str, source: FileSource | CommandSource, fields: tuple[str, ...] = VALUE
) -> Reading:
    """Return what a source's text holds: the first of these fields as the value, and the others.

    A field is a path from where the source's own path leads; an empty one is the value there.
    """
    words = _OF_FILE if isinstance(source, FileSource) else _OF_COMMAND
    try:
        found = _known(text, source, fields)
        if found is None:
            return _plain(text, words, len(fields) - 1)
        value, *further = _texts(found, source, fields, words)
    except _Unusable as unusable:
        return Reading(problem=str(unusable))
    except (ValueError, RecursionError):
        return Reading(problem=words.no_json)
    end, unread = _end(found, source, value)
    return Reading(value, further=tuple(further), expires_at=end, end_is_unread=unread)


def _plain(text: str, words: _Words, further: int) -> Reading:
    """Return the text itself as the value, and as so many further ones."""
    if not text.strip():
        return Reading(problem=words.empty)
    value = usable(text)
    if value is None:
        return Reading(problem=words.unusable)
    return Reading(value, further=(value,) * further, expires_at=end_of_web_token(value))


def _known(text: str, source: FileSource | CommandSource, fields: tuple[str, ...]) -> _Found | None:
    """Return what the first field leads to, or None where the text is the value itself.

    Raises:
        ValueError: It should be JSON, and is not.
    """
    asked = source.json_path is not None or source.expires is not None or any(fields)
    try:
        data: object = json.loads(text) if asked or text.lstrip()[:1] == "{" else None
    except (ValueError, RecursionError):
        if asked:
            raise
        return None
    if source.json_path is not None or fields[0]:
        return _follow(data, source.json_path, fields[0])
    for path in _KNOWN:
        found, holder = _walk(data, path)
        if isinstance(found, str):
            return _Found(found, holder, data, data)
    return _Found(None, None, data, data) if asked else None


def _follow(data: object, path: str | None, first: str) -> _Found:
    at, beside = (data, data) if path is None else _walk(data, path)
    base = at if isinstance(at, dict) else beside
    if not first:
        return _Found(at, beside, base, data)
    return _Found(*_walk(base, first), base, data)


def _walk(data: object, path: str) -> tuple[object, object]:
    """Return what is at a dotted path, and what holds it."""
    holder: object = None
    for key in path.split("."):
        holder = data
        data = data.get(key) if isinstance(data, dict) else None
    return data, holder


def _texts(
    found: _Found, source: FileSource | CommandSource, fields: tuple[str, ...], words: _Words
) -> list[str]:
    """Return what goes into headers; raise _Unusable where some of it is not there."""
    texts = []
    for index, name in enumerate(fields):
        place = name or ("that path" if source.json_path else "a place that is known")
        data = found.text if index == 0 or not name else _walk(found.base, name)[0]
        if not isinstance(data, str):
            raise _Unusable(f"{words.has} no text at {place}")
        value = usable(data)
        if value is None:
            raise _Unusable(f"{words.has} no usable value at {place}")
        texts.append(value)
    return texts


def _end(
    found: _Found, source: FileSource | CommandSource, value: str
) -> tuple[float | None, bool]:
    """Return when the value ends, and whether that is at a place that was named, and no moment."""
    if source.expires is not None:
        end = read_end(_walk(found.data, source.expires)[0])
        return end, end is None
    for beside in (found.holder, found.base):
        stated = beside if isinstance(beside, dict) else {}
        for name in _ENDS:
            if (end := read_end(stated.get(name))) is not None:
                return end, False
    return end_of_web_token(value), False
