"""The Anthropic Messages API as far as an agent uses it: bodies, events and errors.

Shapes as in https://docs.anthropic.com/en/api/messages-streaming. Token counts are fixed,
except that each word counts as one output token, so that a test can know them beforehand, and
that a prompt with a breakpoint of the cache counts by its size: written in a conversation's first
call, and read in those that go on with it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

DEFAULT_MODEL = "claude-sonnet-4-5"
INPUT_TOKENS = 25
CACHE_CREATION_TOKENS = 3
CACHE_READ_TOKENS = 7
RETIRED_MODEL = "claude-2.1"
"""A model that there is no more, as the API has several."""
# Rule of thumb: what a token is of English text.
_BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Cached:
    """The tokens of a prompt that the cache took, and those that it had."""

    created: int = CACHE_CREATION_TOKENS
    read: int = CACHE_READ_TOKENS


def cached(prompt: str | None) -> Cached:
    """Return what the cache made of a request's body; by default the fixed counts."""
    if prompt is None or '"cache_control"' not in prompt:
        return Cached()
    size = len(prompt) // _BYTES_PER_TOKEN
    goes_on = '"assistant"' in prompt
    return Cached(0, size) if goes_on else Cached(size, 0)


def event(name: str, data: dict[str, object]) -> bytes:
    """Return one server-sent event; Anthropic repeats its name as the data's type."""
    text = json.dumps({"type": name, **data}, separators=(",", ":"))
    return f"event: {name}\ndata: {text}\n\n".encode()


PING = event("ping", {})


def message(
    words: Sequence[str],
    model: str,
    number: int,
    cache: Cached = Cached(),
) -> bytes:
    """Return a finished message as JSON."""
    content = [{"type": "text", "text": "".join(words)}]
    return _json(
        _message(model, number, cache)
        | {"content": content, "stop_reason": "end_turn", "usage": _usage(len(words), cache)}
    )


def message_events(
    words: Sequence[str],
    model: str,
    number: int,
    cache: Cached = Cached(),
) -> Iterator[bytes]:
    """Yield the events of a streamed message, one text delta for each word."""
    yield event("message_start", {"message": _message(model, number, cache)})
    block: dict[str, object] = {"type": "text", "text": ""}
    yield event("content_block_start", {"index": 0, "content_block": block})
    yield PING
    for word in words:
        delta: dict[str, object] = {"type": "text_delta", "text": word}
        yield event("content_block_delta", {"index": 0, "delta": delta})
    yield event("content_block_stop", {"index": 0})
    stop: dict[str, object] = {"stop_reason": "end_turn", "stop_sequence": None}
    yield event("message_delta", {"delta": stop, "usage": _usage(len(words), cache)})
    yield event("message_stop", {})


def _message(model: str, number: int, cache: Cached) -> dict[str, object]:
    return {
        "id": f"msg_standin{number:017d}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(1, cache),
    }


def _usage(output_tokens: int, cache: Cached) -> dict[str, object]:
    return {
        "input_tokens": INPUT_TOKENS,
        "cache_creation_input_tokens": cache.created,
        "cache_read_input_tokens": cache.read,
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def error(kind: str, text: str, number: int) -> bytes:
    """Return an error body."""
    details = {"type": kind, "message": text}
    return _json({"type": "error", "error": details, "request_id": request_id(number)})


def error_event(kind: str, text: str) -> bytes:
    """Return an error as an event of a stream."""
    return event("error", {"error": {"type": kind, "message": text}})


def token_count() -> bytes:
    """Return the answer of /v1/messages/count_tokens."""
    return _json({"input_tokens": INPUT_TOKENS})


def model_list() -> bytes:
    """Return the answer of /v1/models."""
    return _json(
        {
            "data": [_model(DEFAULT_MODEL)],
            "has_more": False,
            "first_id": DEFAULT_MODEL,
            "last_id": DEFAULT_MODEL,
        }
    )


def model_details(name: str) -> bytes:
    """Return the answer of /v1/models/<name>."""
    return _json(_model(name))


def file_list() -> bytes:
    """Return the answer of /v1/files: there are none."""
    return _json({"data": [], "has_more": False, "first_id": None, "last_id": None})


def completion(words: Sequence[str], model: str, number: int) -> bytes:
    """Return the answer of the old /v1/complete."""
    return _json(
        {
            "type": "completion",
            "id": f"compl_standin{number:011d}",
            "completion": "".join(words),
            "stop_reason": "stop_sequence",
            "model": model,
        }
    )


def request_id(number: int) -> str:
    """Return the request id of the exchange with this number."""
    return f"req_standin{number:017d}"


def _model(name: str) -> dict[str, object]:
    created = "2025-09-29T00:00:00Z"
    return {"type": "model", "id": name, "display_name": name, "created_at": created}


def _json(data: dict[str, object]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()
