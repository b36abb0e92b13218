"""What is known of one answer while it comes: filled in by the readers of each API.

Counts are those that the API stated, in its own terms, and are overwritten by later ones;
only ``tokens`` makes them disjoint. A value of the wrong type, or one that cannot be, is
left out and noted: a counter that has taken nonsense once is of no use to anyone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeGuard

from relay.usage.documents import Json, member

Missing = Literal["client_abort", "truncated", "encoding", "parse", "too_large", "absent"]
"""Why usage could not be read."""

Paths = Mapping[str, tuple[str, ...]]
"""Where an API states each count in its usage object."""

TOKEN_TYPES: Final = (
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "cache_write_unknown",
    "output",
)
SERVER_TOOLS: Final = ("web_search", "web_fetch")
ERROR_TYPES: Final = (
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "timeout_error",
    "api_error",
    "overloaded_error",
    "connection_error",
    "other",
)

# The longest context is some millions of tokens. Whoever states more is mistaken.
_COUNT_LIMIT: Final = 1_000_000_000
_MODEL_LENGTH_LIMIT: Final = 128
# Found on the way to a count: something that has no members.
_NO_OBJECT: Final = object()


@dataclass(slots=True)
class Tally:
    """One answer's numbers so far."""

    model: str | None = None
    stated: dict[str, int] = field(default_factory=dict)
    stop_reason: str | None = None
    error_type: str | None = None
    begun: bool = False
    """Whether the first token has come."""
    ended: bool = False
    """Whether the stream's own end has come."""
    failed: bool = False
    """Whether the answer is an error, or holds one."""
    final: bool = False
    """Whether the counts are the last ones, whatever follows."""
    note: Missing | None = None
    """What went wrong with a part of it."""

    def name(self, model: object) -> None:
        """Take the model's name."""
        if isinstance(model, str) and model.isprintable() and 0 < len(model) <= _MODEL_LENGTH_LIMIT:
            self.model = model

    def state(self, usage: object, paths: Paths) -> bool:
        """Take the counts of a usage object; absent or null ones stay as they are.

        Returns whether there were any and all could be read.
        """
        if usage is None:
            return False
        if not isinstance(usage, dict):
            self.note = self.note or "parse"
            return False
        found = {name: _value_at(usage, path) for name, path in paths.items()}
        counts = {name: value for name, value in found.items() if _is_count(value)}
        self.stated.update(counts)
        if any(value is not None for name, value in found.items() if name not in counts):
            self.note = self.note or "parse"
            return False
        return bool(counts)

    def stop(self, reason: object, known: frozenset[str]) -> None:
        """Take the reason why the model stopped, if one is given."""
        if isinstance(reason, str):
            self.stop_reason = reason if reason in known else "other"

    def fail(self, document: Json) -> None:
        """Take an error, in either API's shape."""
        self.failed = True
        kind = member(document.get("error"), "type")
        if self.error_type is None:
            self.error_type = kind if isinstance(kind, str) and kind in ERROR_TYPES else "other"

    @property
    def complete(self) -> bool:
        """Whether the counts are all that there is to count."""
        counted = not self.stated.keys().isdisjoint(("input", "input_with_cache_read"))
        return counted and (self.final or (self.ended and self.note is None))

    def tokens(self) -> dict[str, int]:
        """Return the tokens by type, disjoint; types of which there were none are left out."""
        stated = self.stated.get
        read, written = stated("cache_read", 0), stated("cache_write", 0)
        if (total := stated("input_with_cache_read")) is None:
            fresh = stated("input", 0)
        else:
            read = min(read, total)
            fresh = total - read
        written_5m, written_1h = stated("cache_write_5m", 0), stated("cache_write_1h", 0)
        counts = (
            fresh,
            read,
            written_5m,
            written_1h,
            max(0, written - written_5m - written_1h),
            stated("output", 0),
        )
        return {name: n for name, n in zip(TOKEN_TYPES, counts, strict=True) if n}

    def server_tool_requests(self) -> dict[str, int]:
        """Return the requests of tools that run at the API, by tool, where there were any."""
        return {tool: n for tool in SERVER_TOOLS if (n := self.stated.get(tool))}


def _value_at(usage: Json, path: tuple[str, ...]) -> object:
    """Return what stands at the path; None where nothing does."""
    value: object = usage
    for name in path:
        if value is None:
            return None
        if not isinstance(value, dict):
            return _NO_OBJECT
        value = value.get(name)
    return value


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _COUNT_LIMIT
