"""Anthropic's API as its SDKs call it: messages, tools, batches, files, and errors.

Shapes as in https://docs.anthropic.com/en/api. Texts and token counts are fixed, so that a test
can know them beforehand.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from tests.acceptance.sdks.replies import SILENCE, Ending, Reply, as_json, asked, streamed
from tests.harness.peer import Request
from tests.headroom import anthropic as api

MODEL: Final = "claude-opus-5-1"
WORDS: Final = ("The ", "answer ", "is ", "42.")
RESULT: Final = "The weather in Paris is fair."
TOOL: Final = {
    "type": "tool_use",
    "id": "toolu_01Wf3kTq8Zs5Xc7Vb9Nm2Lp4Rd",
    "name": "weather",
    "input": {"city": "Paris"},
}
FILE: Final = b"one,two\r\n\x00\xff\xfe not text \xe2\x82\xac\n"
BATCH_ID: Final = "msgbatch_01Hk7Pq2Rs4Tv6Wx8Yz0Ab3Cd5"
FILE_ID: Final = "file_011CNha8iCJcU1wXNR6q4V8w"
CREATED: Final = "2026-01-01T00:00:00Z"
REQUEST_ID: Final = ("request-id", "req_011CSHoEeqs5C35K2UUqR7Fy")
ERRORS: Final = {
    400: ("invalid_request_error", "max_tokens: must be at least 1"),
    429: ("rate_limit_error", "This request would exceed your rate limit."),
    529: ("overloaded_error", "Overloaded"),
}


def answer(request: Request, *, is_first: bool) -> Reply:
    """Return what the API says to a request; the first to be limited is refused."""
    path, _, _ = request.target.decode().partition("?")
    if path == "/v1/messages":
        return _message(request, is_first=is_first)
    method = request.method.decode()
    if (method, path) in PAGES:
        return PAGES[method, path](request)
    return _error("not_found_error", f"{method} {path}", 404)


def _message(request: Request, *, is_first: bool) -> Reply:
    data = asked(request)
    word = _prompt(data)
    if word == "silence":
        return SILENCE
    if word == "limited":
        return _limited() if is_first else _said(data, WORDS)
    if word in ("400", "529"):
        return _error(*ERRORS[int(word)], int(word))
    if word == "tool":
        return _tool_use(data)
    endings: dict[str, Ending] = {"cut": "cut", "reset": "reset", "open": "silent"}
    return _said(data, (RESULT,) if word == "result" else WORDS, endings.get(word, "whole"))


def _prompt(data: dict[str, object]) -> str:
    """Return the first word of the last message; of a tool's result, that it is one."""
    messages = data["messages"]
    assert isinstance(messages, list)
    content = messages[-1]["content"]
    return str(content).split()[0] if isinstance(content, str) else "result"


def _said(data: dict[str, object], words: tuple[str, ...], ending: Ending = "whole") -> Reply:
    if data.get("stream"):
        return streamed(list(api.message_events(words, str(data["model"]), 1)), ending)
    return _raw(api.message(words, str(data["model"]), 1))


def _tool_use(data: dict[str, object]) -> Reply:
    if not data.get("stream"):
        message = json.loads(api.message((), str(data["model"]), 1))
        return as_json(message | {"content": [TOOL], "stop_reason": "tool_use"}, 200, REQUEST_ID)
    events = list(api.message_events(("",), str(data["model"]), 1))
    start, end = events[0], events[-1]
    block = TOOL | {"input": {}}
    pieces = ['{"city":', ' "Par', 'is"}']
    deltas: list[dict[str, object]] = [
        {"index": 0, "delta": {"type": "input_json_delta", "partial_json": piece}}
        for piece in pieces
    ]
    stop: dict[str, object] = {"delta": {"stop_reason": "tool_use", "stop_sequence": None}}
    return streamed(
        [
            start,
            api.event("content_block_start", {"index": 0, "content_block": block}),
            *(api.event("content_block_delta", delta) for delta in deltas),
            api.event("content_block_stop", {"index": 0}),
            api.event("message_delta", stop | {"usage": {"output_tokens": 9}}),
            end,
        ]
    )


def _limited() -> Reply:
    kind, text = ERRORS[429]
    return Reply(
        429, "application/json", api.error(kind, text, 1), (REQUEST_ID, ("retry-after", "1"))
    )


def _error(kind: str, text: str, status: int) -> Reply:
    return Reply(status, "application/json", api.error(kind, text, 1), (REQUEST_ID,))


def _raw(body: bytes) -> Reply:
    return Reply(200, "application/json", body, (REQUEST_ID,))


def _batch(status: str) -> Callable[[Request], Reply]:
    counts = {"processing": 0, "succeeded": 2, "errored": 0, "canceled": 0, "expired": 0}
    batch = {
        "id": BATCH_ID,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": counts,
        "created_at": CREATED,
        "expires_at": CREATED,
        "ended_at": CREATED,
        "archived_at": None,
        "cancel_initiated_at": None,
    }

    def reply(request: Request) -> Reply:
        # Absolute, as the real one: it names the API's own host, and no relay's.
        path = f"{request.values('host')[0].decode()}{_BATCHES}/{BATCH_ID}/results"
        return as_json(batch | {"results_url": f"http://{path}"}, 200, REQUEST_ID)

    return reply


def _results(_: Request) -> Reply:
    lines = []
    for number in (1, 2):
        message = json.loads(api.message(WORDS, MODEL, number))
        result = {"type": "succeeded", "message": message}
        lines.append(json.dumps({"custom_id": f"ask-{number}", "result": result}).encode() + b"\n")
    return Reply(200, "application/x-jsonl", (*lines, b""), (REQUEST_ID,))


_METADATA: Final = {
    "type": "file",
    "id": FILE_ID,
    "filename": "table.csv",
    "mime_type": "text/csv",
    "size_bytes": len(FILE),
    "created_at": CREATED,
    "downloadable": True,
}

_BATCHES: Final = "/v1/messages/batches"
_FILES: Final = "/v1/files"

PAGES: Final[dict[tuple[str, str], Callable[[Request], Reply]]] = {
    ("POST", "/v1/messages/count_tokens"): lambda _: _raw(api.token_count()),
    ("GET", "/v1/models"): lambda _: _raw(api.model_list()),
    ("GET", f"/v1/models/{MODEL}"): lambda _: _raw(api.model_details(MODEL)),
    ("POST", _BATCHES): _batch("in_progress"),
    ("GET", f"{_BATCHES}/{BATCH_ID}"): _batch("ended"),
    ("POST", f"{_BATCHES}/{BATCH_ID}/cancel"): _batch("canceling"),
    ("GET", f"{_BATCHES}/{BATCH_ID}/results"): _results,
    ("POST", _FILES): lambda _: as_json(_METADATA, 200, REQUEST_ID),
    ("GET", _FILES): lambda _: as_json(
        {"data": [_METADATA], "has_more": False, "first_id": FILE_ID, "last_id": FILE_ID},
        200,
        REQUEST_ID,
    ),
    ("GET", f"{_FILES}/{FILE_ID}/content"): lambda _: Reply(200, "text/csv", FILE, (REQUEST_ID,)),
    ("DELETE", f"{_FILES}/{FILE_ID}"): lambda _: as_json(
        {"id": FILE_ID, "type": "file_deleted"}, 200, REQUEST_ID
    ),
}
