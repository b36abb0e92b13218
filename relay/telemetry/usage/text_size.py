"""How many characters the model wrote, by the events of its answer. Pure.

It is what limits go by where an answer does not come to state its usage. A quote within a text is
escaped in JSON, so no text can be taken for a member.
"""

from __future__ import annotations

import re
from typing import Final

import orjson

_STRING: Final = rb'"\s*:\s*"([^"\\]*(?:\\.[^"\\]*)*)"'


def members(*names: str) -> re.Pattern[bytes]:
    """Return a pattern of the texts that members of these names have in an event's JSON."""
    return re.compile(b'"(?:' + "|".join(names).encode() + b")" + _STRING, re.DOTALL)


def size_of(event: bytes, texts: re.Pattern[bytes]) -> int:
    """Return the characters of an event's texts."""
    return sum(map(_characters, texts.findall(event)))


def _characters(text: bytes) -> int:
    if text.find(b"\\") < 0:
        return len(text) if text.isascii() else len(text.decode("utf-8", "replace"))
    try:
        value = orjson.loads(b'"%b"' % text)
    except orjson.JSONDecodeError:
        return len(text)
    return len(value)
