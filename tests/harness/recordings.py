"""Recorded answers of models as upstreams send them: framed, and coded."""

from __future__ import annotations

import json

from tests.harness.messages import CHAT, MESSAGES, chunk
from tests.harness.model_answers import (
    CHAT_JSON,
    CHAT_STREAM,
    CODERS,
    GPT,
    JSON,
    MESSAGE_JSON,
    MESSAGE_STREAM,
    RESPONSES_JSON,
    RESPONSES_STREAM,
    Recording,
)

RESPONSES = "/relay/openai/v1/responses"
RECORDINGS: dict[str, tuple[str, Recording]] = {
    "message stream": (MESSAGES, MESSAGE_STREAM),
    "message": (MESSAGES, MESSAGE_JSON),
    "chat stream": (CHAT, CHAT_STREAM),
    "chat": (CHAT, CHAT_JSON),
    "responses stream": (RESPONSES, RESPONSES_STREAM),
    "response": (RESPONSES, RESPONSES_JSON),
}


def answer_head(content_type: str, coding: str = "identity", *, length: int | None = None) -> bytes:
    """Return a response's head: chunked, or with a length."""
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    lines = [f"content-type: {content_type}", framing, "request-id: req_1"]
    lines += [f"content-encoding: {coding}"] if coding != "identity" else []
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode()


def recorded_answer(recording: Recording, name: str = "identity") -> bytes:
    """Return a recording as a response, coded as a whole and chunked by its pieces' sizes."""
    coding, code = CODERS[name]
    body = code(recording.body)
    size = max(1, len(body) // len(recording.pieces))
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return answer_head(recording.content_type, coding) + b"".join(map(chunk, pieces)) + chunk(b"")


def document(body: bytes, coding: str = "identity") -> bytes:
    """Return a whole answer that is labelled as JSON, with its length."""
    return answer_head(JSON, coding, length=len(body)) + body


def response(**members: object) -> bytes:
    """Return a response of OpenAI's with these members, as it is answered."""
    members = {"id": "resp_1", "object": "response", "model": GPT} | members
    return document(json.dumps(members).encode())
