"""What a call used by its size, as far as its answer did not come to say. Pure.

A call that was left, or whose answer cannot be read, may have been billed all the same. So limits
count what was stated, and the rest at four characters a token: that is too much more often than
too little, and nothing is free.
"""

from __future__ import annotations

from typing import Final

from relay.telemetry.call import CallRecord
from relay.telemetry.usage import INPUT_TYPES, Usage

CHARACTERS_PER_TOKEN: Final = 4
"""https://platform.claude.com/docs/en/about-claude/glossary#tokens says about 3.5, of English."""
MOST_INPUT: Final = 200_000
"""Tokens: the context of most models. A request may hold images, and attachments."""
_METERED: Final = frozenset({"messages", "chat_completions", "responses", "embeddings"})


def is_complete(record: CallRecord, usage: Usage) -> bool:
    """Whether an answer stated all that there was to state."""
    return usage.missing is None and record.operation in _METERED and not usage.unusable


def by_size(record: CallRecord, *, had_cache: bool) -> dict[str, int]:
    """Return the tokens by type that an attempt may have used and nobody stated.

    ``had_cache`` is whether the session's call before had any of its prompt from the cache.
    """
    usage = record.usage
    if record.operation == "batches" or (usage is not None and is_complete(record, usage)):
        return {}
    stated = {} if usage is None else usage.tokens
    unstated = {}
    if not any(stated.get(kind) for kind in INPUT_TYPES):
        tokens = min(record.request_bytes // CHARACTERS_PER_TOKEN, MOST_INPUT)
        unstated["cache_read" if had_cache else "input"] = tokens
    if usage is not None:
        written = usage.text_size // CHARACTERS_PER_TOKEN
        unstated["output"] = max(0, written - stated.get("output", 0))
    return {kind: count for kind, count in unstated.items() if count}
