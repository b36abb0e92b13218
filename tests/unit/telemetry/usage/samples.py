"""Answers of the APIs as they come, for the tests of what is read from them."""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Final, get_args

from relay.telemetry.usage import End, Meter, Usage

OPERATIONS = ("messages", "chat_completions", "responses", "embeddings", "other")
ENDS: tuple[End, ...] = get_args(End)

EVENT_STREAM: Final = b"text/event-stream; charset=utf-8"
JSON: Final = b"application/json"
DONE: Final = b"data: [DONE]\n\n"
TOOL_TEXT: Final = 'A quote: "usage": {"output_tokens": 999}, "type":"message_stop", [DONE] – é😀'


def compact(value: object) -> bytes:
    """Return JSON as the APIs write it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def event(kind: str, **members: object) -> bytes:
    """Return an event of that type, named by its event: line too."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), compact({"type": kind, **members}))


def data(value: object) -> bytes:
    """Return an event without a name."""
    return b"data: %b\n\n" % compact(value)


# Anthropic

OPENING_USAGE: Final = {
    "input_tokens": 25,
    "cache_creation_input_tokens": 700,
    "cache_read_input_tokens": 3000,
    "cache_creation": {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 200},
    "output_tokens": 1,
    "service_tier": "standard",
}


def message_start(usage: object = OPENING_USAGE, model: object = "claude-opus-4-1") -> bytes:
    """Return the event that opens a message."""
    message = {"id": "msg_1", "type": "message", "model": model, "content": [], "usage": usage}
    return event("message_start", message=message)


def text_delta(text: str = "Hello") -> bytes:
    """Return an event with a piece of text."""
    delta = {"type": "text_delta", "text": text}
    return event("content_block_delta", index=0, delta=delta)


def message_delta(usage: object, stop_reason: str | None = "end_turn") -> bytes:
    """Return the event that states totals."""
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    return event("message_delta", delta=delta, usage=usage)


PING: Final = event("ping")
BLOCK_START: Final = event(
    "content_block_start", index=0, content_block={"type": "text", "text": ""}
)
BLOCK_STOP: Final = event("content_block_stop", index=0)
MESSAGE_STOP: Final = event("message_stop")
OVERLOADED: Final = event("error", error={"type": "overloaded_error", "message": "Overloaded"})

ANTHROPIC_STREAM: Final = [
    message_start(),
    PING,
    BLOCK_START,
    text_delta(),
    text_delta(TOOL_TEXT),
    BLOCK_STOP,
    message_delta(
        {
            "input_tokens": 30,
            "cache_creation_input_tokens": None,
            "output_tokens": 412,
            "output_tokens_details": {"thinking_tokens": 99},
            "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
        },
        "tool_use",
    ),
    MESSAGE_STOP,
]
ANTHROPIC_TOKENS: Final = {
    "input": 30,
    "cache_read": 3000,
    "cache_write_5m": 500,
    "cache_write_1h": 200,
    "output": 412,
}
ANTHROPIC_JSON: Final = {
    "model": "claude-opus-4-1",
    "id": "msg_1",
    "type": "message",
    "content": [{"type": "text", "text": TOOL_TEXT}],
    "stop_reason": "max_tokens",
    "usage": {**OPENING_USAGE, "output_tokens": 77},
}


# OpenAI


def chunk(delta: object, finish_reason: str | None = None, **members: object) -> bytes:
    """Return a chunk of a chat completion with one choice."""
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]
    return data({**CHUNK, "choices": choices, **members})


CHUNK: Final = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-4o"}
CHAT_USAGE: Final = {
    "prompt_tokens": 1000,
    "completion_tokens": 60,
    "total_tokens": 1060,
    "prompt_tokens_details": {"cached_tokens": 900, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 40},
}
CHAT_STREAM: Final = [
    chunk({"role": "assistant", "content": "", "refusal": None}, usage=None),
    chunk({"content": "Hello"}, usage=None),
    chunk({"content": TOOL_TEXT}, usage=None, obfuscation="aB3"),
    chunk({}, "stop", usage=None),
    data({**CHUNK, "choices": [], "usage": CHAT_USAGE}),
    DONE,
]
CHAT_TOKENS: Final = {"input": 100, "cache_read": 900, "output": 60}
RESPONSES_USAGE: Final = {
    "input_tokens": 500,
    "input_tokens_details": {"cached_tokens": 100},
    "output_tokens": 80,
    "output_tokens_details": {"reasoning_tokens": 64},
    "total_tokens": 580,
}
RESPONSES_TOKENS: Final = {"input": 400, "cache_read": 100, "output": 80}


def response(status: str, usage: object = None, **members: object) -> dict[str, object]:
    """Return a response object."""
    return {"id": "resp_1", "model": "gpt-5", "status": status, **members, "usage": usage}


RESPONSES_OPENING: Final = [
    event("response.created", response=response("in_progress")),
    event("response.in_progress", response=response("in_progress")),
]
RESPONSES_CONTENT: Final = [
    event("response.output_item.added", output_index=0, item={"type": "message"}),
    event("response.content_part.added", part={"type": "output_text", "text": ""}),
    event("response.output_text.delta", delta="Hello", sequence_number=4),
    event("response.output_text.delta", delta=TOOL_TEXT, sequence_number=5),
    event("response.output_text.done", text="Hello" + TOOL_TEXT),
]
RESPONSES_STREAM: Final = [
    *RESPONSES_OPENING,
    *RESPONSES_CONTENT,
    event("response.completed", response=response("completed", RESPONSES_USAGE)),
]


# Codings


def _raw_deflate(body: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(body) + compressor.flush()


def _members(body: bytes) -> bytes:
    return b"".join(gzip.compress(body[i : i + 50]) for i in range(0, len(body) or 1, 50))


def find_zstd() -> Callable[[bytes], bytes]:
    """Return zstd's compress, from the standard library where it has one."""
    try:
        module = import_module("compression.zstd")
    except ImportError:
        module = import_module("backports.zstd")
    compress: Callable[[bytes], bytes] = module.compress
    return compress


brotli_compress: Final[Callable[[bytes], bytes]] = import_module("brotli").compress
zstd_compress: Final = find_zstd()

CODERS: Final[Mapping[str, tuple[bytes, Callable[[bytes], bytes]]]] = {
    "identity": (b"identity", bytes),
    "gzip": (b"gzip", gzip.compress),
    "gzip in many members": (b"gzip", _members),
    "x-gzip": (b"X-GZIP", gzip.compress),
    "deflate": (b"deflate", zlib.compress),
    "deflate without its wrapping": (b"deflate", _raw_deflate),
    "br": (b"br", brotli_compress),
    "zstd": (b"zstd", zstd_compress),
    "zstd in two frames": (b"zstd", lambda b: zstd_compress(b[:99]) + zstd_compress(b[99:])),
    "gzip, then br": (b"gzip, br", lambda b: brotli_compress(gzip.compress(b))),
    "three at once": (
        b"deflate,, identity, zstd ,br",
        lambda b: brotli_compress(zstd_compress(zlib.compress(b))),
    ),
}


# Feeding


def bytewise(body: bytes) -> list[bytes]:
    """Cut a body into single bytes."""
    return [body[i : i + 1] for i in range(len(body))]


def cut(body: bytes, positions: Sequence[int]) -> list[bytes]:
    """Cut a body at these positions."""
    edges = [0, *sorted({p for p in positions if 0 < p < len(body)}), len(body)]
    return [body[a:b] for a, b in itertools.pairwise(edges)]


def read(meter: Meter, pieces: Iterable[bytes], end: End = "clean") -> Usage:
    """Feed the pieces, all at the same time, and return the reading."""
    for piece in pieces:
        meter.feed(piece, 1.0)
    return meter.finish(end, 1.0)


def read_stream(operation: str, pieces: Iterable[bytes], end: End = "clean") -> Usage:
    """Read an event stream of status 200."""
    return read(Meter(operation, 200, EVENT_STREAM), pieces, end)


def read_json(operation: str, value: object, end: End = "clean", status: int = 200) -> Usage:
    """Read a JSON answer; bytes are taken as they are."""
    body = value if isinstance(value, bytes) else compact(value)
    return read(Meter(operation, status, JSON), [body], end)
