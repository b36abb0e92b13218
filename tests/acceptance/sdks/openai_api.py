"""OpenAI's API as its SDKs and Codex call it: completions, responses, tools, files, and errors.

Shapes as in https://platform.openai.com/docs/api-reference. Texts and token counts are fixed, so
that a test can know them beforehand.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from tests.acceptance.sdks.replies import SILENCE, Ending, Reply, as_json, asked, streamed
from tests.harness.peer import Request
from tests.headroom import openai as api

WORDS: Final = ("The ", "answer ", "is ", "42.")
CALL_ID: Final = "call_9fK2mV7xQ4tB8nR1cZ6yH3wL"
CITY: Final = '{"city": "Paris"}'
FILE: Final = b'{"custom_id": "ask-1"}\r\n\x00\xff\xfe \xe2\x82\xac\n'
FILE_ID: Final = "file-6F2ksmvXxt4VdoqmHRw6kL"
BATCH_ID: Final = "batch_6733f2b8a4ec8190b1c5d0e7"
REQUEST_ID: Final = ("x-request-id", "req_4f2c1d9e8b7a6053")
COMMAND: Final = "echo from-the-shell-$((6*7)); cat notes.txt"
ERRORS: Final = {
    400: ("invalid_request_error", "Invalid value for 'max_tokens'."),
    429: ("rate_limit_exceeded", "Rate limit reached for requests."),
    529: ("overloaded_error", "The engine is currently overloaded."),
}
# What Codex offers for running a command has had several names.
_SHELLS: Final[dict[str, dict[str, object]]] = {
    "exec_command": {"cmd": COMMAND},
    "shell_command": {"command": COMMAND},
    "shell": {"command": ["bash", "-c", COMMAND]},
}


def answer(request: Request, *, is_first: bool) -> Reply:
    """Return what the API says to a request; the first to be limited is refused."""
    path, _, _ = request.target.decode().partition("?")
    if path in MODELS:
        return _model(request, *MODELS[path], is_first=is_first)
    method = request.method.decode()
    if (method, path) in PAGES:
        return PAGES[method, path]()
    return _error("not_found_error", f"{method} {path}", 404)


def _model(
    request: Request, prompt: Callable[[Data], str], say: Callable[..., Reply], *, is_first: bool
) -> Reply:
    data = asked(request)
    word = prompt(data)
    if word == "silence":
        return SILENCE
    if word == "limited" and is_first:
        return _error(*ERRORS[429], 429, ("retry-after", "1"))
    if word in ("400", "529"):
        return _error(*ERRORS[int(word)], int(word))
    endings: dict[str, Ending] = {"cut": "cut", "reset": "reset", "open": "silent"}
    return say(data, word, endings.get(word, "whole"))


Data = dict[str, object]


# Chat completions


def _chat_prompt(data: Data) -> str:
    messages = data["messages"]
    assert isinstance(messages, list)
    last = messages[-1]
    return "result" if last["role"] == "tool" else str(last["content"]).split()[0]


def _chat(data: Data, word: str, ending: Ending) -> Reply:
    model = str(data["model"])
    if data.get("stream"):
        options = data.get("stream_options")
        usage = isinstance(options, dict) and bool(options.get("include_usage"))
        events = list(api.chat_events(WORDS, model, 1, usage=usage))
        return streamed(_chat_tool_events(events, model) if word == "tool" else events, ending)
    completion = json.loads(api.chat(WORDS, model, 1))
    if word == "tool":
        function = {"name": "weather", "arguments": CITY}
        calls = [{"id": CALL_ID, "type": "function", "function": function}]
        message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": calls}
        completion["choices"][0] |= {"message": message, "finish_reason": "tool_calls"}
    return as_json(completion, 200, REQUEST_ID)


def _chat_tool_events(events: list[bytes], model: str) -> list[bytes]:
    first, *_ = events
    head = json.loads(first.removeprefix(b"data: "))
    deltas: list[Data] = [
        {"id": CALL_ID, "type": "function", "function": {"name": "weather", "arguments": ""}},
        {"function": {"arguments": CITY[:6]}},
        {"function": {"arguments": CITY[6:]}},
    ]
    choices = [{"index": 0, "delta": {"tool_calls": [{"index": 0, **delta}]}} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
    middle = [f"data: {json.dumps(head | {'choices': [each]})}\n\n".encode() for each in choices]
    return [first, *middle, *events[len(WORDS) + 2 :]]


# Responses


def _responses_prompt(data: Data) -> str:
    given = data["input"]
    if isinstance(given, str):
        return given.split()[0]
    assert isinstance(given, list)
    if str(given[-1].get("type", "")).endswith("_call_output"):
        return "result"
    content = [each for each in given if each.get("role") == "user"][-1]["content"]
    return str(content if isinstance(content, str) else content[-1]["text"]).split()[0]


def _response(data: Data, word: str, ending: Ending) -> Reply:
    model = str(data["model"])
    if word in ("tool", "shell"):
        return _tool_response(data, _function_call(data, word))
    if data.get("stream"):
        return streamed(list(api.response_events(WORDS, model, 1)), ending)
    return Reply(200, "application/json", api.response(WORDS, model, 1), (REQUEST_ID,))


def _function_call(data: Data, word: str) -> Data:
    name, arguments = "weather", CITY
    if word == "shell":
        tools = data["tools"]
        assert isinstance(tools, list)
        name = next(each["name"] for each in tools if each.get("name") in _SHELLS)
        arguments = json.dumps(_SHELLS[name])
    return {
        "type": "function_call",
        "id": "fc_67ca09c6bedc8190a7abfec0",
        "call_id": CALL_ID,
        "name": name,
        "arguments": arguments,
        "status": "completed",
    }


def _tool_response(data: Data, item: Data) -> Reply:
    response = json.loads(api.response((), str(data["model"]), 1)) | {"output": [item]}
    if not data.get("stream"):
        return as_json(response, 200, REQUEST_ID)
    begun = response | {"status": "in_progress", "output": [], "usage": None}
    bare = item | {"arguments": "", "status": "in_progress"}
    where: Data = {"item_id": item["id"], "output_index": 0}
    steps: list[tuple[str, Data]] = [
        ("response.created", {"response": begun}),
        ("response.output_item.added", {"output_index": 0, "item": bare}),
        ("response.function_call_arguments.delta", where | {"delta": item["arguments"]}),
        ("response.function_call_arguments.done", where | {"arguments": item["arguments"]}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": response}),
    ]
    return streamed([_event(number, *step) for number, step in enumerate(steps)])


def _event(number: int, name: str, data: Data) -> bytes:
    text = json.dumps({"type": name, "sequence_number": number, **data})
    return f"event: {name}\ndata: {text}\n\n".encode()


# The rest


def _error(kind: str, text: str, status: int, *fields: tuple[str, str]) -> Reply:
    return Reply(status, "application/json", api.error(kind, text), (REQUEST_ID, *fields))


def _batch(status: str) -> Callable[[], Reply]:
    batch = {
        "id": BATCH_ID,
        "object": "batch",
        "endpoint": "/v1/responses",
        "errors": None,
        "input_file_id": FILE_ID,
        "completion_window": "24h",
        "status": status,
        "output_file_id": FILE_ID,
        "created_at": api.CREATED,
        "request_counts": {"total": 2, "completed": 2, "failed": 0},
    }
    return lambda: as_json(batch, 200, REQUEST_ID)


_METADATA: Final = {
    "id": FILE_ID,
    "object": "file",
    "bytes": len(FILE),
    "created_at": api.CREATED,
    "filename": "batch.jsonl",
    "purpose": "batch",
    "status": "processed",
}
_FILES: Final = "/v1/files"

MODELS: Final = {
    "/v1/chat/completions": (_chat_prompt, _chat),
    "/v1/responses": (_responses_prompt, _response),
    "/backend-api/codex/responses": (_responses_prompt, _response),
}
PAGES: Final[dict[tuple[str, str], Callable[[], Reply]]] = {
    ("GET", "/v1/models"): lambda: Reply(200, "application/json", api.model_list()),
    ("GET", f"/v1/models/{api.DEFAULT_MODEL}"): lambda: Reply(
        200, "application/json", api.model_details(api.DEFAULT_MODEL)
    ),
    ("POST", "/v1/embeddings"): lambda: Reply(
        200, "application/json", api.embedding("text-embedding-3-small")
    ),
    ("POST", _FILES): lambda: as_json(_METADATA, 200, REQUEST_ID),
    ("GET", _FILES): lambda: as_json(
        {"object": "list", "data": [_METADATA], "has_more": False}, 200, REQUEST_ID
    ),
    ("GET", f"{_FILES}/{FILE_ID}/content"): lambda: Reply(
        200, "application/octet-stream", FILE, (REQUEST_ID,)
    ),
    ("DELETE", f"{_FILES}/{FILE_ID}"): lambda: as_json(
        {"id": FILE_ID, "object": "file", "deleted": True}, 200, REQUEST_ID
    ),
    ("POST", "/v1/batches"): _batch("validating"),
    ("GET", f"/v1/batches/{BATCH_ID}"): _batch("completed"),
    ("POST", f"/v1/batches/{BATCH_ID}/cancel"): _batch("cancelling"),
}
