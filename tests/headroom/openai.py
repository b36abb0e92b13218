"""The OpenAI API as far as an agent uses it: chat completions, responses, errors.

Shapes as in https://platform.openai.com/docs/api-reference. Token counts are fixed, except
that each word counts as one output token, so that a test can know them beforehand.
"""

import itertools
import json
from collections.abc import Iterator, Sequence

DEFAULT_MODEL = "gpt-5"
INPUT_TOKENS = 25
CACHED_TOKENS = 7
# A fixed time, so that answers compare.
CREATED = 1_767_225_600

DONE = b"data: [DONE]\n\n"


def chat(words: Sequence[str], model: str, number: int) -> bytes:
    """Return a finished chat completion as JSON."""
    text = {"role": "assistant", "content": "".join(words), "refusal": None}
    choice = {"index": 0, "message": text, "logprobs": None, "finish_reason": "stop"}
    head = _chat("chat.completion", model, number)
    return _json(head | {"choices": [choice], "usage": _chat_usage(len(words))})


def chat_events(
    words: Sequence[str], model: str, number: int, *, usage: bool = False
) -> Iterator[bytes]:
    """Yield the events of a streamed chat completion, with a last one for `usage` if asked."""
    head = _chat("chat.completion.chunk", model, number)

    def event(delta: dict[str, object], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return b"data: %b\n\n" % _json(head | {"choices": [choice]})

    yield event({"role": "assistant", "content": ""})
    for word in words:
        yield event({"content": word})
    yield event({}, "stop")
    if usage:
        yield b"data: %b\n\n" % _json(head | {"choices": [], "usage": _chat_usage(len(words))})
    yield DONE


def _chat(kind: str, model: str, number: int) -> dict[str, object]:
    return {
        "id": f"chatcmpl-standin{number:017d}",
        "object": kind,
        "created": CREATED,
        "model": model,
        "system_fingerprint": None,
    }


def _chat_usage(output_tokens: int) -> dict[str, object]:
    return {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": output_tokens,
        "total_tokens": INPUT_TOKENS + output_tokens,
        "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def response(words: Sequence[str], model: str, number: int) -> bytes:
    """Return a finished response of /v1/responses as JSON."""
    return _json(_completed(words, model, number))


def response_events(words: Sequence[str], model: str, number: int) -> Iterator[bytes]:
    """Yield the events of a streamed response, one text delta for each word."""
    numbers = itertools.count()

    def event(name: str, data: dict[str, object]) -> bytes:
        data = {"type": name, "sequence_number": next(numbers), **data}
        return f"event: {name}\ndata: ".encode() + _json(data) + b"\n\n"

    where: dict[str, object] = {"item_id": _item_id(number), "output_index": 0}
    part = where | {"content_index": 0}
    begun = _response(model, number, "in_progress")
    yield event("response.created", {"response": begun})
    yield event("response.in_progress", {"response": begun})
    item = _item(number, "in_progress", [])
    yield event("response.output_item.added", {"output_index": 0, "item": item})
    yield event("response.content_part.added", part | {"part": _text("")})
    for word in words:
        yield event("response.output_text.delta", part | {"delta": word, "logprobs": []})
    text = "".join(words)
    yield event("response.output_text.done", part | {"text": text, "logprobs": []})
    yield event("response.content_part.done", part | {"part": _text(text)})
    item = _item(number, "completed", [_text(text)])
    yield event("response.output_item.done", {"output_index": 0, "item": item})
    yield event("response.completed", {"response": _completed(words, model, number)})


def _completed(words: Sequence[str], model: str, number: int) -> dict[str, object]:
    usage = {
        "input_tokens": INPUT_TOKENS,
        "input_tokens_details": {"cached_tokens": CACHED_TOKENS},
        "output_tokens": len(words),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": INPUT_TOKENS + len(words),
    }
    item = _item(number, "completed", [_text("".join(words))])
    return _response(model, number, "completed") | {"output": [item], "usage": usage}


def _response(model: str, number: int, status: str) -> dict[str, object]:
    return {
        "id": f"resp_standin{number:017d}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "usage": None,
    }


def _item(number: int, status: str, content: list[dict[str, object]]) -> dict[str, object]:
    return {
        "id": _item_id(number),
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _item_id(number: int) -> str:
    return f"msg_standin{number:017d}"


def _text(text: str) -> dict[str, object]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def error(kind: str, text: str) -> bytes:
    """Return an error body."""
    return _json({"error": {"message": text, "type": kind, "param": None, "code": None}})


def model_list() -> bytes:
    """Return the answer of /v1/models."""
    return _json({"object": "list", "data": [_model(DEFAULT_MODEL)]})


def model_details(name: str) -> bytes:
    """Return the answer of /v1/models/<name>."""
    return _json(_model(name))


def embedding(model: str) -> bytes:
    """Return the answer of /v1/embeddings."""
    data = [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5, 0.125]}]
    usage = {"prompt_tokens": INPUT_TOKENS, "total_tokens": INPUT_TOKENS}
    return _json({"object": "list", "data": data, "model": model, "usage": usage})


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "stand-in"}


def _json(data: dict[str, object]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()
