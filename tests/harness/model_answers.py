"""What models answer, in the shapes of both APIs, with usage that is known beforehand."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Final

MODEL: Final = "claude-opus-4-8"
GPT: Final = "gpt-5.2"
STREAM: Final = "text/event-stream; charset=utf-8"
JSON: Final = "application/json"


@dataclass(frozen=True)
class Recording:
    """An answer in pieces, and what it says of itself."""

    pieces: tuple[bytes, ...]
    content_type: str
    model: str
    tokens: dict[str, int]
    reasoning: int
    stop_reason: str

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.pieces)


def event(kind: str, **data: object) -> bytes:
    """Return an event as Anthropic and the Responses API write it."""
    text = json.dumps({"type": kind, **data}, separators=(",", ":"))
    return f"event: {kind}\ndata: {text}\n\n".encode()


def plain_event(**data: object) -> bytes:
    """Return an event as Chat Completions writes it."""
    return b"data: %b\n\n" % json.dumps(data, separators=(",", ":")).encode()


# Anthropic Messages

MESSAGE_TOKENS: Final = {
    "input": 25,
    "cache_read": 7,
    "cache_write_5m": 4,
    "cache_write_1h": 6,
    "cache_write_unknown": 2,
    "output": 9,
}
_INPUT: Final = {
    "input_tokens": 25,
    "cache_read_input_tokens": 7,
    "cache_creation_input_tokens": 12,
}
_SPLIT: Final = {"cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 6}}
_FINAL: Final = {
    "output_tokens": 9,
    "output_tokens_details": {"thinking_tokens": 3},
    "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
}


def message_start(model: str = MODEL) -> bytes:
    """Return how a stream of a message begins, with the input's tokens."""
    message = {"type": "message", "model": model, "usage": _INPUT | _SPLIT | {"output_tokens": 1}}
    return event("message_start", message=message)


def text_delta(text: str) -> bytes:
    """Return a piece of a message's text."""
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


PING: Final = event("ping")
BLOCK_START: Final = event(
    "content_block_start", index=0, content_block={"type": "text", "text": ""}
)
MESSAGE_DELTA: Final = event(
    "message_delta",
    delta={"stop_reason": "end_turn", "stop_sequence": None},
    usage=_INPUT | _FINAL,
)
MESSAGE_STOP: Final = event("message_stop")


def message_events(model: str = MODEL) -> tuple[bytes, ...]:
    """Return the events of a message."""
    return (
        message_start(model),
        PING,
        BLOCK_START,
        *map(text_delta, ("Hel", "lo, ", "wörld")),
        event("content_block_stop", index=0),
        MESSAGE_DELTA,
        MESSAGE_STOP,
    )


def message_body(model: str = MODEL) -> bytes:
    """Return a message as JSON."""
    usage = _INPUT | _SPLIT | _FINAL
    content = [{"type": "text", "text": 'Hello, "usage": {"input_tokens": 999}'}]
    message = {"type": "message", "model": model, "content": content, "stop_reason": "end_turn"}
    return json.dumps(message | {"usage": usage}).encode()


def error_event(kind: str) -> bytes:
    """Return an error within a stream of Anthropic's."""
    return event("error", error={"type": kind, "message": "It went wrong."})


MESSAGE_STREAM: Final = Recording(message_events(), STREAM, MODEL, MESSAGE_TOKENS, 3, "end_turn")
MESSAGE_JSON: Final = Recording((message_body(),), JSON, MODEL, MESSAGE_TOKENS, 3, "end_turn")


# OpenAI

GPT_TOKENS: Final = {"input": 20, "cache_read": 10, "output": 8}
_CHAT_USAGE: Final = {
    "prompt_tokens": 30,
    "completion_tokens": 8,
    "total_tokens": 38,
    "prompt_tokens_details": {"cached_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
_RESPONSES_USAGE: Final = {
    "input_tokens": 30,
    "input_tokens_details": {"cached_tokens": 10},
    "output_tokens": 8,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 38,
}


def chat_event(delta: dict[str, str], finish: str | None = None) -> bytes:
    """Return a piece of a chat completion."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return plain_event(object="chat.completion.chunk", model=GPT, choices=[choice])


CHAT_DONE: Final = b"data: [DONE]\n\n"
CHAT_EVENTS: Final = (
    chat_event({"role": "assistant", "content": ""}),
    chat_event({"content": "Hello"}),
    chat_event({}, "stop"),
)
CHAT_USAGE: Final = plain_event(
    object="chat.completion.chunk", model=GPT, choices=[], usage=_CHAT_USAGE
)
_CHAT_BODY: Final = json.dumps(
    {
        "object": "chat.completion",
        "model": GPT,
        "choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}],
        "usage": _CHAT_USAGE,
    }
).encode()
_RESPONSE: Final = {"object": "response", "model": GPT, "output": []}
_COMPLETED: Final = _RESPONSE | {"status": "completed", "usage": _RESPONSES_USAGE}
RESPONSE_CREATED: Final = event("response.created", response=_RESPONSE | {"usage": None})
RESPONSE_DELTA: Final = event("response.output_text.delta", delta="Hello")
RESPONSE_COMPLETED: Final = event("response.completed", response=_COMPLETED)

CHAT_STREAM: Final = Recording(
    (*CHAT_EVENTS, CHAT_USAGE, CHAT_DONE), STREAM, GPT, GPT_TOKENS, 2, "stop"
)
CHAT_JSON: Final = Recording((_CHAT_BODY,), JSON, GPT, GPT_TOKENS, 2, "stop")
RESPONSES_STREAM: Final = Recording(
    (RESPONSE_CREATED, RESPONSE_DELTA, RESPONSE_COMPLETED), STREAM, GPT, GPT_TOKENS, 2, "completed"
)
RESPONSES_JSON: Final = Recording(
    (json.dumps(_COMPLETED).encode(),), JSON, GPT, GPT_TOKENS, 2, "completed"
)


# Content codings


def _raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def _gzip_members(data: bytes) -> bytes:
    half = len(data) // 2
    return gzip.compress(data[:half], mtime=0) + gzip.compress(data[half:], mtime=0)


def _brotli(data: bytes) -> bytes:
    compressed: bytes = import_module("brotli").compress(data)
    return compressed


def _zstd(data: bytes) -> bytes:
    module = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    compressed: bytes = module.compress(data)
    return compressed


CODERS: Final[dict[str, tuple[str, Callable[[bytes], bytes]]]] = {
    "identity": ("identity", lambda data: data),
    "gzip": ("gzip", lambda data: gzip.compress(data, mtime=0)),
    "gzip of members": ("gzip", _gzip_members),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", _raw_deflate),
    "br": ("br", _brotli),
    "zstd": ("zstd", _zstd),
}
"""By a name: the content coding, and what codes."""
