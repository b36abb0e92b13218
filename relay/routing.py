"""From a request target to a relay and the target to send upstream.

Decides on the raw bytes, and decodes nothing twice: what is compared here is what is
forwarded. A target that two servers could resolve differently is refused rather than
tidied. Pure: knows nothing of sockets, configuration files or credentials.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar
from urllib.parse import unquote_to_bytes

from relay.errors import BadTarget, MethodRefused, PathRefused, UnknownRelay
from relay.remembering import Remembered

RELAY_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")

Relay = TypeVar("Relay")

_PREFIX: Final = b"/relay/"
_TUNNELLING: Final = frozenset({b"CONNECT", b"TRACE", b"TRACK"})
# Escapes of control bytes, and per cent signs that begin no escape.
_BAD_ESCAPE: Final = re.compile(rb"%(?:[01][0-9A-Fa-f]|7[Ff]|(?![0-9A-Fa-f]{2}))")
_SEPARATORS: Final = re.compile(rb"[/\\]")
# RFC 3986 §3.3 allows these in a path; quotes, angle brackets, braces and the rest of what
# URL libraries would escape are tolerated, for they mean the same to every server.
_RAW_REFUSED: Final = re.compile(rb"[^!-~]|#")

_OPERATIONS: Final = (
    (b"/v1/messages/count_tokens", "count_tokens"),
    (b"/v1/messages/batches", "batches"),
    (b"/v1/messages", "messages"),
    (b"/v1/models", "models"),
    (b"/v1/files", "files"),
    (b"/v1/chat/completions", "chat_completions"),
    (b"/v1/responses", "responses"),
    (b"/v1/embeddings", "embeddings"),
)
OPERATIONS: Final = (*(name for _, name in _OPERATIONS), "other")


@dataclass(frozen=True, slots=True)
class Target:
    """A relay's name and what follows it; ``rest`` begins with a slash or is empty."""

    relay: str
    rest: bytes
    query: bytes
    """With its question mark, or empty."""
    operation: str = field(init=False)
    """The ``operation`` label of this path."""
    is_endpoint: bool = field(init=False)
    """Whether the path is an operation's own, and not one below it."""

    def __post_init__(self) -> None:
        own = (name for prefix, name in _OPERATIONS if has_segments(self.rest, prefix))
        object.__setattr__(self, "operation", next(own, "other"))
        is_endpoint = any(self.rest == prefix for prefix, _ in _OPERATIONS)
        object.__setattr__(self, "is_endpoint", is_endpoint)


def check_target(method: bytes, target: bytes) -> None:
    """Raise unless the target is a clean origin-form one (RFC 9112 §3.2.1)."""
    if method.upper() in _TUNNELLING:
        raise MethodRefused
    _ = _clean[target]


def _check_form(target: bytes) -> None:
    if not target.startswith(b"/") or _RAW_REFUSED.search(target):
        raise BadTarget
    path = target.partition(b"?")[0]
    if b"\\" in path or _BAD_ESCAPE.search(path) or has_dot_segment(path):
        raise BadTarget


def has_dot_segment(path: bytes) -> bool:
    """Whether a segment is ``.`` or ``..`` in any spelling, separators escaped included."""
    if b"." not in path and b"%2" not in path:
        return False
    segments = _SEPARATORS.split(unquote_to_bytes(path))
    return any(segment.partition(b";")[0] in (b".", b"..") for segment in segments)


def split_target(target: bytes) -> Target:
    """Return the parts of ``/relay/<name>/<rest>?<query>``, in exactly that spelling.

    Raises:
        UnknownRelay: The path has another form.
    """
    return _split[target]


def _split_target(target: bytes) -> Target:
    path, mark, query = target.partition(b"?")
    if not path.startswith(_PREFIX):
        raise UnknownRelay
    name, slash, rest = path.removeprefix(_PREFIX).partition(b"/")
    text = name.decode("ascii", "replace")
    if not RELAY_NAME.fullmatch(text):
        raise UnknownRelay
    return Target(text, slash + rest, mark + query)


# Clients ask for the same few targets over and over.
_clean: Final = Remembered(_check_form)
_split: Final = Remembered(_split_target)


def find_relay(target: Target, relays: Mapping[str, Relay]) -> Relay:
    """Return the relay of that name; raise UnknownRelay where there is none."""
    try:
        return relays[target.relay]
    except KeyError:
        raise UnknownRelay from None


def is_probe(method: bytes, target: Target) -> bool:
    """Whether this is one of Claude Code's reachability probes."""
    if target.rest in (b"", b"/"):
        return method == b"HEAD"
    return target.rest == b"/api/hello" and method in (b"HEAD", b"GET")


def check_path(rest: bytes, allow: tuple[bytes, ...]) -> None:
    """Raise PathRefused unless the path starts with one of the allowed prefixes."""
    if not rest or not any(has_segments(rest, prefix) for prefix in allow):
        raise PathRefused


def has_segments(path: bytes, prefix: bytes) -> bool:
    """Whether the path begins with the prefix's segments, whole and byte for byte."""
    prefix = prefix.rstrip(b"/")
    return path.startswith(prefix) and path[len(prefix) :][:1] in (b"", b"/")
