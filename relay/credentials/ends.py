"""When a value ends: how that is written, by whoever issues it, and how it is said.

Seconds of Unix time throughout. What is no moment is none: an end that nobody understands keeps
no value from being used.
"""

from __future__ import annotations

import base64
import json
import math
import re
from datetime import UTC, datetime
from typing import Final

# The end of the year 9999, beyond which no date can be shown.
_LATEST: Final = 253_402_300_800
# As seconds, in the year 5138; as milliseconds, in 1973: no number of today's can be both.
_LEAST_MILLISECONDS: Final = 1e11
_DIGITS: Final = re.compile(r"\d{1,16}(?:\.\d{1,9})?", re.ASCII)
_WEB_TOKEN: Final = re.compile(r"eyJ[\w-]*\.([\w-]+)\.[\w-]*", re.ASCII)


def read_end(data: object) -> float | None:
    """Return a moment: RFC 3339, or a number of seconds or milliseconds since 1970."""
    if isinstance(data, str):
        text = data.strip()
        return _of_number(float(text)) if _DIGITS.fullmatch(text) else _of_date(text)
    if isinstance(data, (int, float)) and not isinstance(data, bool):
        return _of_number(data)
    return None


def _of_number(number: float) -> float | None:
    # No float holds every whole number that JSON can say.
    if abs(number) >= _LATEST * 1000 or not math.isfinite(number):
        return None
    return _shown(number / 1000 if number >= _LEAST_MILLISECONDS else number)


def _shown(seconds: float) -> float | None:
    return seconds if 0 < seconds < _LATEST else None


def _of_date(text: str) -> float | None:
    """Return a date with its time and offset (RFC 3339 §5.6); without an offset it is no moment."""
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    return None if moment.tzinfo is None else _shown(moment.timestamp())


def end_of_web_token(value: str) -> float | None:
    """Return when a JSON Web Token says of itself that it ends (RFC 7519 §4.1.4)."""
    match = _WEB_TOKEN.fullmatch(value)
    if match is None:
        return None
    claims = match[1]
    try:
        data = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    except (ValueError, RecursionError):
        return None
    return read_end(data.get("exp")) if isinstance(data, dict) else None


def said(moment: float) -> str:
    """Return a moment as the log says it."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
