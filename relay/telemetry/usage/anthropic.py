"""Usage in answers of Anthropic's Messages API (platform.claude.com/docs/en/api/messages).

A stream opens with ``message_start``, which states the input, and each ``message_delta``
states totals anew: nothing is ever added up. ``input_tokens`` leaves the cache out. Only the
opening splits what was written to the cache by its lifetime. What ``usage.iterations`` holds
beyond the totals (compaction) is not counted.
"""

from __future__ import annotations

from typing import Final

from relay.http.sse import Event
from relay.telemetry.usage.counts import Shape, Tally
from relay.telemetry.usage.json_body import Json, Kinds, member
from relay.telemetry.usage.reader import Row, beginning_with, document_of, start_of

STOP_REASONS: Final = frozenset(
    {
        "end_turn",
        "max_tokens",
        "stop_sequence",
        "tool_use",
        "pause_turn",
        "compaction",
        "refusal",
        "model_context_window_exceeded",
    }
)

_USAGE: Final = Shape(
    {
        "input_tokens": "input",
        "cache_read_input_tokens": "cache_read",
        "cache_creation_input_tokens": "cache_write",
        "output_tokens": "output",
    },
    {
        "cache_creation": {
            "ephemeral_5m_input_tokens": "cache_write_5m",
            "ephemeral_1h_input_tokens": "cache_write_1h",
        },
        "output_tokens_details": {"thinking_tokens": "reasoning"},
        "server_tool_use": {
            "web_search_requests": "web_search",
            "web_fetch_requests": "web_fetch",
        },
    },
)
_KNOWN: Final = rb"error|ping|message_(?:start|delta|stop)|content_block_(?:start|delta|stop)"
_TELLING: Final = rb"error|message_(?:start|delta|stop)"
_KINDS: Final = Kinds(_KNOWN, _TELLING)
_KINDS_BEFORE_TOKENS: Final = Kinds(_KNOWN, _TELLING + rb"|content_block_(?:start|delta)")


def _read_answer(document: Json, tally: Tally) -> None:
    tally.name(document.get("model"))
    tally.stop(document.get("stop_reason"), STOP_REASONS)
    tally.final = tally.state(document.get("usage"), _USAGE)


def _read_event(event: Event, tally: Tally) -> None:
    kind = (_KINDS if tally.begun else _KINDS_BEFORE_TOKENS).of(event)
    if kind in (b"content_block_start", b"content_block_delta"):
        tally.begun = True
    elif kind == b"message_start":
        _read_start(document_of(event, tally), tally)
    elif kind == b"message_delta":
        _read_delta(document_of(event, tally), tally)
    elif kind == b"message_stop":
        tally.ended = True
    elif kind == b"error":
        tally.fail(document_of(event, tally))


def _read_start(document: Json, tally: Tally) -> None:
    message = document.get("message")
    tally.name(member(message, "model"))
    tally.state(member(message, "usage"), _USAGE)


def _read_delta(document: Json, tally: Tally) -> None:
    """The one that gives the reason for stopping states the last totals."""
    stated = tally.state(document.get("usage"), _USAGE)
    tally.stop(member(document.get("delta"), "stop_reason"), STOP_REASONS)
    tally.final = stated and tally.stop_reason is not None and tally.note is None


_CONTENT: Final = "content_block_delta"
# Down to a colon, because events are full of them: bytes.count() is faster for a pattern
# that ends so than for one that ends with the type.
_START: Final = start_of(_CONTENT) + b',"index":'
MESSAGES: Final = Row(_read_answer, _read_event, beginning_with(_CONTENT), _START)
