"""Usage in answers of OpenAI's APIs (platform.openai.com/docs/api-reference).

Chat Completions stream usage only when the client asked for it, in a last chunk without
choices; Responses state it in the event that ends them. Both count the cache within the
input and the reasoning within the output. Embeddings have input alone.
"""

from __future__ import annotations

import re
from operator import methodcaller
from typing import Final

from relay.http.sse import Event
from relay.telemetry.usage.counts import Shape, Tally
from relay.telemetry.usage.json_body import Json, Kinds, member
from relay.telemetry.usage.reader import DONE, AnswerReader, document_of, starts_of
from relay.telemetry.usage.text_size import members

FINISH_REASONS: Final = frozenset(
    {"stop", "length", "tool_calls", "content_filter", "function_call"}
)
STATUSES: Final = frozenset(
    {"completed", "incomplete", "failed", "cancelled", "in_progress", "queued"}
)

_CHAT_USAGE: Final = Shape(
    {"prompt_tokens": "input_with_cache_read", "completion_tokens": "output"},
    {
        "prompt_tokens_details": {"cached_tokens": "cache_read"},
        "completion_tokens_details": {"reasoning_tokens": "reasoning"},
    },
)
_RESPONSES_USAGE: Final = Shape(
    {"input_tokens": "input_with_cache_read", "output_tokens": "output"},
    {
        "input_tokens_details": {"cached_tokens": "cache_read"},
        "output_tokens_details": {"reasoning_tokens": "reasoning"},
    },
)
_EMBEDDINGS_USAGE: Final = Shape({"prompt_tokens": "input_with_cache_read"})


# Chat Completions

_FINISH: Final = b'"finish_reason"'
_USAGE: Final = b'"usage"'
_NULLS: Final = (b":null", b": null")
# Members that are there and not null; within a text their quotes would be escaped.
_TELLING: Final = re.compile(rb'"(?:usage|finish_reason|error)"\s*:\s*[^\sn]')


def _read_completion(document: Json, tally: Tally) -> None:
    tally.name(document.get("model"))
    for choice in _items(document.get("choices"))[:1]:
        tally.stop(member(choice, "finish_reason"), FINISH_REASONS)
    tally.grade(document.get("service_tier"))
    tally.final = tally.state(document.get("usage"), _CHAT_USAGE)


def _read_chunk(event: Event, tally: Tally) -> None:
    if event.data.strip() == DONE:
        tally.ended = True
    elif event.name == b"error":
        tally.fail(document_of(event, tally))
    elif not tally.begun or _TELLING.search(event.data):
        _take_chunk(document_of(event, tally), tally)


def _take_chunk(document: Json, tally: Tally) -> None:
    if document.get("error"):
        tally.fail(document)
    if tally.model is None:
        tally.name(document.get("model"))
    tally.grade(document.get("service_tier"))
    choices = _items(document.get("choices"))
    for choice in choices:
        tally.begun = tally.begun or _has_token(member(choice, "delta"))
        if tally.stop_reason is None:
            tally.stop(member(choice, "finish_reason"), FINISH_REASONS)
    if tally.state(document.get("usage"), _CHAT_USAGE):
        # Some servers count along, in every chunk.
        tally.final = not choices or tally.stop_reason is not None


def _has_token(delta: object) -> bool:
    """Whether anything is in a delta; the first one only names the role."""
    return isinstance(delta, dict) and any(v for name, v in delta.items() if name != "role")


def _is_content(block: bytes) -> bool:
    """Whether this is a chunk like most; what is written otherwise is looked at closely.

    It runs for every token: find() takes a fraction of what ``in`` or a pattern would.
    """
    finish = block.rfind(_FINISH)
    if not block.startswith(_NULLS, finish + len(_FINISH)) or block.count(_FINISH) != 1:
        return False
    usage = block.rfind(_USAGE)
    if usage >= 0 and not block.startswith(_NULLS, usage + len(_USAGE)):
        return False
    return block.startswith(b"data: {") and block.find(b'"error"') < 0


CHAT_COMPLETIONS: Final = AnswerReader(
    _read_completion,
    _read_chunk,
    _is_content,
    marks=frozenset({"choices", "usage"}),
    texts=members("content", "refusal", "reasoning", "reasoning_content", "arguments", "input"),
)


# Responses

_CONTENT: Final = starts_of(
    "response.output_text.delta",
    "response.function_call_arguments.delta",
    "response.reasoning_summary_text.delta",
    "response.reasoning_text.delta",
    "response.custom_tool_call_input.delta",
)
_ENDS: Final = frozenset({b"response.completed", b"response.incomplete", b"response.failed"})
_FAILED: Final = b"response.failed"
_KNOWN: Final = rb"error|response\.[\w.]+"
_TELLING_KINDS: Final = rb"error|response\.(?:completed|incomplete|failed)"
_KINDS: Final = Kinds(_KNOWN, _TELLING_KINDS)
_KINDS_BEFORE_TOKENS: Final = Kinds(
    _KNOWN, _TELLING_KINDS + rb"|response\.(?:created|output_item\.added|[\w.]+\.delta)"
)


def _read_response(document: Json, tally: Tally) -> None:
    tally.name(document.get("model"))
    tally.stop(document.get("status"), STATUSES)
    tally.grade(document.get("service_tier"))
    tally.final = tally.state(document.get("usage"), _RESPONSES_USAGE)
    tally.identify(document.get("id"))


def _read_response_event(event: Event, tally: Tally) -> None:
    kind = (_KINDS if tally.begun else _KINDS_BEFORE_TOKENS).of(event)
    if kind in _ENDS:
        _read_end(kind, document_of(event, tally), tally)
    elif kind == b"error":
        tally.fail(document_of(event, tally))
    elif kind == b"response.output_item.added":
        tally.begun = True
    elif not tally.begun and kind.endswith(b".delta"):
        tally.begun = bool(document_of(event, tally).get("delta"))
    elif kind == b"response.created":
        response = document_of(event, tally).get("response")
        tally.name(member(response, "model"))
        tally.identify(member(response, "id"))


def _read_end(kind: bytes, document: Json, tally: Tally) -> None:
    # An event over the limit of what is decoded whole gives an excerpt, which is flat.
    response = document.get("response", document)
    _read_response(response if isinstance(response, dict) else {}, tally)
    if kind == _FAILED:
        tally.fail(response if isinstance(response, dict) else {})
    else:
        tally.ended = True


RESPONSES: Final = AnswerReader(
    _read_response,
    _read_response_event,
    methodcaller("startswith", _CONTENT),
    _CONTENT[0],
    frozenset({"output", "usage"}),
    texts=members("delta"),
)


# Embeddings


def _read_embeddings(document: Json, tally: Tally) -> None:
    tally.name(document.get("model"))
    tally.final = tally.state(document.get("usage"), _EMBEDDINGS_USAGE)


EMBEDDINGS: Final = AnswerReader(_read_embeddings, marks=frozenset({"data", "usage"}))


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []
