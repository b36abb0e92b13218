"""The event streams of an answer to a probe, in the shapes of the APIs.

Source: https://docs.anthropic.com/en/docs/build-with-claude/streaming,
https://platform.openai.com/docs/api-reference/chat-streaming,
https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final

MODEL: Final = "relay-probe"
_ID: Final = "relay_probe"


def _event(kind: str, **data: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()


class ProbeEvents(ABC):
    """How one operation writes a short text."""

    @abstractmethod
    def opening(self) -> bytes:
        """Return what comes before the text."""

    @abstractmethod
    def text(self, text: str) -> bytes:
        """Return a piece of the text."""

    @abstractmethod
    def closing(self) -> bytes:
        """Return what comes behind it."""


class _Messages(ProbeEvents):
    def opening(self) -> bytes:
        message: dict[str, object] = {
            "id": _ID,
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }
        block = {"type": "text", "text": ""}
        return _event("message_start", message=message) + _event(
            "content_block_start", index=0, content_block=block
        )

    def text(self, text: str) -> bytes:
        return _event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def closing(self) -> bytes:
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        return (
            _event("content_block_stop", index=0)
            + _event("message_delta", delta=delta, usage={"output_tokens": 0})
            + _event("message_stop")
        )


class _ChatCompletions(ProbeEvents):
    def _chunk(self, delta: Mapping[str, str], finish_reason: str | None = None) -> bytes:
        data = {
            "id": _ID,
            "object": "chat.completion.chunk",
            "created": 0,
            "model": MODEL,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        }
        return f"data: {json.dumps(data)}\n\n".encode()

    def opening(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def text(self, text: str) -> bytes:
        return self._chunk({"content": text})

    def closing(self) -> bytes:
        return self._chunk({}, "stop") + b"data: [DONE]\n\n"


class _Responses(ProbeEvents):
    def __init__(self) -> None:
        self._said = ""

    def _response(self, status: str) -> Mapping[str, object]:
        usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        text = {"type": "output_text", "text": self._said, "annotations": []}
        message = {"id": _ID, "type": "message", "role": "assistant", "content": [text]}
        done = status == "completed"
        return {
            "id": _ID,
            "object": "response",
            "created_at": 0,
            "model": MODEL,
            "status": status,
            "output": [message | {"status": status}] if done else [],
            "usage": usage if done else None,
        }

    def opening(self) -> bytes:
        return _event("response.created", response=self._response("in_progress"))

    def text(self, text: str) -> bytes:
        self._said += text
        return _event(
            "response.output_text.delta",
            item_id=_ID,
            output_index=0,
            content_index=0,
            delta=text,
        )

    def closing(self) -> bytes:
        return _event("response.completed", response=self._response("completed"))


def events_of(operation: str) -> ProbeEvents:
    """Return how an operation writes; others than the three write as Messages do."""
    if operation == "chat_completions":
        return _ChatCompletions()
    return _Responses() if operation == "responses" else _Messages()
