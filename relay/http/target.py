"""Request targets (RFC 9112 §3.2), judged on the raw bytes.

Nothing is decoded twice: what is compared here is what is forwarded. A target that two
servers could resolve differently is refused rather than tidied.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from relay.errors import BadTarget, MethodRefused
from relay.http.memo import Memo

_TUNNELLING: Final = frozenset({b"CONNECT", b"TRACE", b"TRACK"})
# Escapes of control bytes, and per cent signs that begin no escape.
_BAD_ESCAPE: Final = re.compile(rb"%(?:[01][0-9A-Fa-f]|7[Ff]|(?![0-9A-Fa-f]{2}))")
_SEPARATORS: Final = re.compile(rb"[/\\]")
# RFC 3986 §3.3 allows these in a path; quotes, angle brackets, braces and the rest of what
# URL libraries would escape are tolerated, for they mean the same to every server.
_RAW_REFUSED: Final = re.compile(rb"[^!-~]|#")


def check_target(method: bytes, target: bytes) -> None:
    """Raise unless the target is a clean origin-form one (RFC 9112 §3.2.1)."""
    if method.upper() in _TUNNELLING:
        raise MethodRefused
    path, _, query = target.partition(b"?")
    _ = _clean[path]
    if _RAW_REFUSED.search(query):
        raise BadTarget


def _check_path(path: bytes) -> None:
    if not path.startswith(b"/") or _RAW_REFUSED.search(path):
        raise BadTarget
    if b"\\" in path or _BAD_ESCAPE.search(path) or has_dot_segment(path):
        raise BadTarget


def has_dot_segment(path: bytes) -> bool:
    """Whether a segment is ``.`` or ``..`` in any spelling, separators escaped included."""
    if b"." not in path and b"%2" not in path:
        return False
    segments = _SEPARATORS.split(unquote_to_bytes(path))
    return any(segment.partition(b";")[0] in (b".", b"..") for segment in segments)


def has_segments(path: bytes, prefix: bytes) -> bool:
    """Whether the path begins with the prefix's segments, whole and byte for byte."""
    prefix = prefix.rstrip(b"/")
    return path.startswith(prefix) and path[len(prefix) :][:1] in (b"", b"/")


_clean: Final = Memo(_check_path)
