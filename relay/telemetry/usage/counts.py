"""What is known of one answer while it comes: filled in by the readers of each API.

Counts are those that the API stated, in its own terms, and are overwritten by later ones, but
never by zero: a total does not fall. Only ``parts`` makes them disjoint. A value of the wrong
type, or one that cannot be, is left out and noted: a counter that has taken nonsense once is
of no use to anyone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from relay.telemetry.usage.json_body import Json, member

Missing = Literal["client_abort", "truncated", "encoding", "parse", "too_large", "absent"]
"""Why usage could not be read."""


class Part(NamedTuple):
    """What is billed by itself: the answer, or what the API ran beside it."""

    model: str | None
    tokens: Mapping[str, int]
    """By type, disjoint; without those of which there were none."""


def merge(parts: Sequence[Part]) -> Mapping[str, int]:
    """Return the tokens of all parts, by type."""
    if len(parts) == 1:
        return parts[0].tokens
    merged: dict[str, int] = {}
    for part in parts:
        for kind, count in part.tokens.items():
            merged[kind] = merged.get(kind, 0) + count
    return merged


class Shape(NamedTuple):
    """An API's usage object: what each count is called here, by the member that states it."""

    counts: Mapping[str, str]
    details: Mapping[str, Mapping[str, str]] = {}
    """The same for members that are objects with counts of their own."""


CACHE_WRITES: Final = ("cache_write_5m", "cache_write_1h", "cache_write_unknown")
INPUT_TYPES: Final = ("input", "cache_read", *CACHE_WRITES)
TOKEN_TYPES: Final = (*INPUT_TYPES, "output")
SERVER_TOOLS: Final = ("web_search", "web_fetch")
ERROR_TYPES: Final = (
    *("invalid_request_error", "authentication_error", "billing_error", "permission_error"),
    *("not_found_error", "request_too_large", "rate_limit_error", "timeout_error", "api_error"),
    *("overloaded_error", "connection_error", "other"),
)

# The longest context is some millions of tokens. Whoever states more is mistaken.
_COUNT_LIMIT: Final = 1_000_000_000
_MODEL_LENGTH_LIMIT: Final = 128
# Characters of an error's message: more than is ever shown of it.
_MESSAGE_LIMIT: Final = 2000

# Not all of them say so by type and status: Anthropic's may be a 400, OpenAI's is a 429.
# Sources: platform.claude.com/docs/en/api/errors, platform.openai.com/docs/guides/error-codes
_UNPAID: Final = frozenset({"billing_error", "insufficient_quota", "billing_not_active"})
_UNPAID_WORDS: Final = "credit balance is too low"
# What the APIs call a service that costs what the price list says.
_STANDARD_TIERS: Final = frozenset({"standard", "default", "auto", "global", "not_available"})
_UNNAMED_TIER: Final = "unnamed"
"""A service whose name is none that could be shown."""
_TIER: Final = re.compile(r"[a-z0-9_.-]{1,32}")


@dataclass(slots=True)
class Tally:
    """One answer's numbers so far."""

    model: str | None = None
    stated: dict[str, int] = field(default_factory=dict)
    beside: list[Part] = field(default_factory=list)
    """What the API ran on the way, and bills beside the totals."""
    stop_reason: str | None = None
    response_id: str = ""
    """What a response is called, which may be fetched later."""
    tier: str | None = None
    """What was paid for beside the standard service: ``fast``, ``priority``, …"""
    error_type: str | None = None
    error_message: str = field(default="", repr=False)
    unpaid: bool = False
    """Whether the error is for want of payment."""
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
        self.model = fair_name(model) or self.model

    def identify(self, response_id: object) -> None:
        """Take what a response is called."""
        self.response_id = fair_name(response_id) or self.response_id

    def state(self, usage: object, shape: Shape) -> bool:
        """Take the counts of a usage object; those that are absent, null or zero stay as they are.

        Returns whether there were any and all could be read.
        """
        if usage is None:
            return False
        found, readable = self._find(usage, shape)
        if not self.stated:
            self.stated = found
        else:
            self.stated |= {n: count for n, count in found.items() if count or n not in self.stated}
        return readable and bool(found)

    def bill(self, usages: Iterable[tuple[str | None, object]], shape: Shape) -> bool:
        """Take what is billed beside the totals, by model, unless there is nothing of it.

        Returns whether all of it could be read.
        """
        found = [(model, *self._find(usage, shape)) for model, usage in usages]
        parts = [Part(model, tokens) for model, counts, _ in found if (tokens := _disjoint(counts))]
        self.beside = parts or self.beside
        return all(readable for _, _, readable in found)

    def _find(self, usage: object, shape: Shape) -> tuple[dict[str, int], bool]:
        """Return the counts of a usage object, and whether all could be read."""
        found: dict[str, int] = {}
        names, further = shape
        readable = _find_counts(usage, names, found)
        if isinstance(usage, dict):
            for key, counts in further.items():
                details = usage.get(key)
                if details is not None and not _find_counts(details, counts, found):
                    readable = False
        if not readable:
            self.note = self.note or "parse"
        return found, readable

    def stop(self, reason: object, known: frozenset[str]) -> None:
        """Take the reason why the model stopped, if one is given: an empty text is none."""
        if isinstance(reason, str) and reason:
            self.stop_reason = reason if reason in known else "other"

    def grade(self, *tiers: object) -> None:
        """Take what the API says of the service, in all the ways it says it at once."""
        stated = [tier for tier in tiers if isinstance(tier, str)]
        if stated:
            special = [
                tier if _TIER.fullmatch(tier) else _UNNAMED_TIER
                for tier in stated
                if tier and tier not in _STANDARD_TIERS
            ]
            self.tier = "+".join(special) or None

    def fail(self, document: Json) -> None:
        """Take an error, in either API's shape."""
        self.failed = True
        error = document.get("error")
        kind, message = member(error, "type"), member(error, "message")
        if self.error_type is None:
            self.error_type = kind if isinstance(kind, str) and kind in ERROR_TYPES else "other"
        if isinstance(message, str) and not self.error_message:
            self.error_message = message[:_MESSAGE_LIMIT]
        words = {each for each in (kind, member(error, "code")) if isinstance(each, str)}
        if words & _UNPAID or _UNPAID_WORDS in self.error_message.lower():
            self.unpaid = True

    @property
    def complete(self) -> bool:
        """Whether the counts are all that there is to count."""
        counted = "input" in self.stated or "input_with_cache_read" in self.stated
        return counted and (self.final or (self.ended and self.note is None))

    @property
    def told_all(self) -> bool:
        """Whether nothing is left to be said but the end: the last totals, and why it stopped."""
        return self.final and self.stop_reason is not None

    def parts(self) -> tuple[Part, ...]:
        """Return what is billed: the answer first, then what the API ran beside it."""
        return (Part(self.model, _disjoint(self.stated)), *self.beside)

    def server_tool_requests(self) -> dict[str, int]:
        """Return the requests of tools that run at the API, by tool, where there were any."""
        return {tool: n for tool in SERVER_TOOLS if (n := self.stated.get(tool))}


def fair_name(model: object) -> str | None:
    """Return a model's name, or None where it is none that could be a label."""
    fair = isinstance(model, str) and model.isprintable() and 0 < len(model) <= _MODEL_LENGTH_LIMIT
    return model if isinstance(model, str) and fair else None


def _disjoint(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the tokens by type; types of which there were none are left out."""
    tokens: dict[str, int] = {}
    read = counts.get("cache_read", 0)
    if (total := counts.get("input_with_cache_read")) is None:
        fresh = counts.get("input", 0)
    else:
        read = min(read, total)
        fresh = total - read
    if fresh:
        tokens["input"] = fresh
    if read:
        tokens["cache_read"] = read
    unsplit = counts.get("cache_write", 0)
    for lifetime in ("cache_write_5m", "cache_write_1h"):
        if written := counts.get(lifetime):
            tokens[lifetime] = written
            unsplit -= written
    if unsplit > 0:
        tokens["cache_write_unknown"] = unsplit
    if output := counts.get("output"):
        tokens["output"] = output
    return tokens


def _find_counts(value: object, names: Mapping[str, str], found: dict[str, int]) -> bool:
    """Take an object's counts; return whether all that are there can be read."""
    if not isinstance(value, dict):
        return False
    readable = True
    for key, name in names.items():
        count = value.get(key)
        if count is None:
            continue
        if type(count) is float and count.is_integer():
            count = int(count)  # some serialisers write 10.0
        if type(count) is int and 0 <= count <= _COUNT_LIMIT:  # true and false are no counts
            found[name] = count
        else:
            readable = False
    return readable
