"""What the API may answer: messages and errors, and the ways in which an answer can go wrong.

A plan makes a reply for a call, for what is answered depends on whether a stream was asked for.
Shapes as in https://docs.anthropic.com/en/api/messages-streaming.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from tests.acceptance.api.calls import Call
from tests.headroom import anthropic

Ending = Literal["whole", "cut", "reset"]
"""How a reply ends: as it should, or with its connection closed or reset in the middle."""
Block = dict[str, object]

EVENTS_TYPE: Final = "text/event-stream; charset=utf-8"
JSON_TYPE: Final = "application/json"
ERRORS: Final = {
    400: ("invalid_request_error", "messages: at least one message is required"),
    401: ("authentication_error", "invalid x-api-key"),
    404: ("not_found_error", "Not found"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit."),
    500: ("api_error", "Internal server error"),
    529: ("overloaded_error", "Overloaded"),
}


@dataclass(frozen=True)
class Usage:
    """The tokens that a message says it took."""

    input: int = 25
    output: int = 11
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0

    def begun(self) -> Block:
        """Return what is known before the first word."""
        return {
            "input_tokens": self.input,
            "cache_read_input_tokens": self.cache_read,
            "cache_creation_input_tokens": self.cache_write_5m + self.cache_write_1h,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.cache_write_5m,
                "ephemeral_1h_input_tokens": self.cache_write_1h,
            },
            "output_tokens": 1,
            "service_tier": "standard",
        }

    def ended(self) -> Block:
        """Return what is known after the last word."""
        return self.begun() | {"output_tokens": self.output}


@dataclass(frozen=True)
class Reply:
    """An answer; one with several pieces is sent in chunks, a piece a chunk."""

    status: int
    type: str
    pieces: tuple[bytes, ...]
    fields: tuple[tuple[str, str], ...] = ()
    streamed: bool = False
    ending: Ending = "whole"
    delay_seconds: float = 0.0
    gate: asyncio.Event | None = None
    """What is waited for before the piece after `held_after`."""
    held_after: int = 4


Plan = Callable[[Call], Reply]

_numbers: Final = itertools.count(1)


def says(text: str, usage: Usage | None = None) -> Plan:
    """Plan a message that ends the turn, streamed word by word."""
    return _message({"type": "text", "text": text}, "end_turn", usage or Usage())


def uses(tool: str, arguments: Mapping[str, object], usage: Usage | None = None) -> Plan:
    """Plan a message that wants a tool to be used."""
    identifier = f"toolu_{abs(hash((tool, json.dumps(arguments)))):024d}"
    block: Block = {"type": "tool_use", "id": identifier, "name": tool, "input": arguments}
    return _message(block, "tool_use", usage or Usage())


def fails(status: int, *fields: tuple[str, str]) -> Plan:
    """Plan an error of the API."""
    body = anthropic.error(*ERRORS[status], status)
    return lambda _: Reply(status, JSON_TYPE, (body,), fields)


def breaking(plan: Plan, ending: Ending, pieces: int = 4) -> Plan:
    """Plan that only so many pieces of an answer come, and then its connection ends."""

    def broken(call: Call) -> Reply:
        reply = plan(call)
        return replace(reply, pieces=reply.pieces[:pieces], ending=ending)

    return broken


def held(plan: Plan, gate: asyncio.Event, pieces: int = 4) -> Plan:
    """Plan that after so many pieces nothing more comes until a test says so."""
    return lambda call: replace(plan(call), gate=gate, held_after=pieces)


def late(plan: Plan, seconds: float) -> Plan:
    """Plan that nothing comes for so long."""
    return lambda call: replace(plan(call), delay_seconds=seconds)


def as_json(body: bytes, status: int = 200) -> Reply:
    """Return a JSON document as a reply."""
    return Reply(status, JSON_TYPE, (body,))


def _message(block: Block, stop_reason: str, usage: Usage) -> Plan:
    def made(call: Call) -> Reply:
        head = _head(str(call.data["model"]), usage)
        if call.data.get("stream"):
            events = tuple(_events(head, block, stop_reason, usage))
            return Reply(200, EVENTS_TYPE, events, streamed=True)
        whole = {"content": [block], "stop_reason": stop_reason, "usage": usage.ended()}
        return as_json(json.dumps(head | whole).encode())

    return made


def _head(model: str, usage: Usage) -> Block:
    return {
        "id": f"msg_01Xh5Kq8Rw2Tz7Vb4{next(_numbers):07d}",  # agents join those of one id
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage.begun(),
    }


def _events(head: Block, block: Block, stop_reason: str, usage: Usage) -> Iterator[bytes]:
    yield anthropic.event("message_start", {"message": head})
    empty: Block = {"text": ""} if block["type"] == "text" else {"input": {}}
    yield anthropic.event("content_block_start", {"index": 0, "content_block": block | empty})
    yield anthropic.PING
    for delta in _deltas(block):
        yield anthropic.event("content_block_delta", {"index": 0, "delta": delta})
    yield anthropic.event("content_block_stop", {"index": 0})
    stop = {"stop_reason": stop_reason, "stop_sequence": None}
    yield anthropic.event("message_delta", {"delta": stop, "usage": usage.ended()})
    yield anthropic.event("message_stop", {})


def _deltas(block: Block) -> Iterator[Block]:
    if block["type"] == "text":
        for word in re.findall(r"\S+\s*|\s+", str(block["text"])):
            yield {"type": "text_delta", "text": word}
        return
    text = json.dumps(block["input"])
    for start in range(0, len(text), 20):
        yield {"type": "input_json_delta", "partial_json": text[start : start + 20]}
