"""Usage in answers of Anthropic's Messages API (platform.claude.com/docs/en/api/messages).

A stream opens with ``message_start``, which states the input, and each ``message_delta``
states totals anew, which are never added up. ``input_tokens`` leaves the cache out. Only the
opening splits what was written to the cache by its lifetime. Of ``usage.iterations``, what the
totals leave out is billed beside them: compactions, and advice of another model.
(platform.claude.com/docs/en/build-with-claude/compaction, …/agents-and-tools/tool-use/advisor-tool)
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import methodcaller
from typing import Final

from relay.http.sse import Event
from relay.telemetry.usage.counts import Shape, Tally, fair_name
from relay.telemetry.usage.json_body import Json, Kinds, member
from relay.telemetry.usage.reader import AnswerReader, document_of, starts_of
from relay.telemetry.usage.text_size import members

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
_COMPACTION: Final = "compaction"
_ADVICE: Final = "advisor_message"
_KNOWN: Final = rb"error|ping|message_(?:start|delta|stop)|content_block_(?:start|delta|stop)"
_TELLING: Final = rb"error|message_(?:start|delta|stop)"
_KINDS: Final = Kinds(_KNOWN, _TELLING)
_KINDS_BEFORE_TOKENS: Final = Kinds(_KNOWN, _TELLING + rb"|content_block_(?:start|delta)")


def _read_answer(document: Json, tally: Tally) -> None:
    tally.name(document.get("model"))
    tally.stop(document.get("stop_reason"), STOP_REASONS)
    tally.final = _state(document.get("usage"), tally)


def _state(usage: object, tally: Tally) -> bool:
    """Take a usage object; return whether it has counts that could all be read."""
    stated = tally.state(usage, _USAGE)
    if not isinstance(usage, dict):
        return stated
    tally.grade(usage.get("speed"), usage.get("service_tier"), usage.get("inference_geo"))
    iterations = usage.get("iterations")
    if not isinstance(iterations, list):
        return stated
    return tally.bill(_billed_beside(iterations, tally.model), _USAGE) and stated


def _billed_beside(
    iterations: list[object], model: str | None
) -> Iterator[tuple[str | None, object]]:
    """Yield those that the totals leave out, each with the model that ran it."""
    for iteration in iterations:
        kind = member(iteration, "type")
        if kind == _COMPACTION:
            yield model, iteration
        elif kind == _ADVICE:
            yield fair_name(member(iteration, "model")), iteration


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
    _state(member(message, "usage"), tally)


def _read_delta(document: Json, tally: Tally) -> None:
    """The one that gives the reason for stopping states the last totals."""
    stated = _state(document.get("usage"), tally)
    tally.stop(member(document.get("delta"), "stop_reason"), STOP_REASONS)
    tally.final = stated and tally.stop_reason is not None and tally.note is None


_CONTENT: Final = starts_of("content_block_delta")
MESSAGES: Final = AnswerReader(
    _read_answer,
    _read_event,
    methodcaller("startswith", _CONTENT),
    # bytes.count() is faster for a pattern that ends with a colon: 0.13 µs an event instead of
    # 0.17, where 32 come at a time; the usage tap may take 0.2.
    _CONTENT[0] + b',"index":',
    frozenset({"content", "usage"}),
    texts=members("text", "thinking", "partial_json"),
)
