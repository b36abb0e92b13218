"""What an API at the end of the line may answer, and how it is put on the wire.

A reply is a value; how it ends is part of it, because clients differ most where an answer does
not end well.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Literal

from tests.harness.messages import chunk
from tests.harness.peer import Caller, Request

Ending = Literal["whole", "cut", "reset", "silent"]
"""How a reply ends: as it should, closed or reset in its middle, or not at all."""

JSON_TYPE: Final = "application/json"
EVENTS_TYPE: Final = "text/event-stream; charset=utf-8"


@dataclass(frozen=True)
class Reply:
    """An answer; with a body in pieces it is chunked, a piece a chunk."""

    status: int
    type: str
    body: bytes | tuple[bytes, ...]
    fields: tuple[tuple[str, str], ...] = ()
    ending: Ending = "whole"


SILENCE: Final = Reply(200, JSON_TYPE, b"", ending="silent")


def as_json(data: object, status: int = 200, *fields: tuple[str, str]) -> Reply:
    """Return data as a reply."""
    return Reply(status, JSON_TYPE, json.dumps(data).encode(), fields)


def asked(request: Request) -> dict[str, object]:
    """Return the JSON object in a request's body."""
    data = json.loads(request.body)
    assert isinstance(data, dict)
    return data


async def send(caller: Caller, reply: Reply) -> None:
    """Write a reply, and end it as it says."""
    if reply is not SILENCE:
        await caller.send(_head(reply))
        await _send_body(caller, reply.body)
    if reply.ending == "cut":
        caller.leave()
    elif reply.ending == "reset":
        caller.reset()


async def _send_body(caller: Caller, body: bytes | tuple[bytes, ...]) -> None:
    if isinstance(body, bytes):
        await caller.send(body)
        return
    for piece in body:
        await caller.send(chunk(piece))


def _head(reply: Reply) -> bytes:
    framing = "transfer-encoding: chunked"
    if isinstance(reply.body, bytes):
        framing = f"content-length: {len(reply.body)}"
    fields = [f"{name}: {value}" for name, value in reply.fields]
    lines = [f"HTTP/1.1 {reply.status} X", f"content-type: {reply.type}", framing, *fields]
    return "\r\n".join([*lines, "", ""]).encode()


def streamed(events: list[bytes], ending: Ending = "whole") -> Reply:
    """Return events as a reply; one that does not end well stops before the last three."""
    pieces = (*events, b"") if ending == "whole" else tuple(events[:-3])
    return Reply(200, EVENTS_TYPE, pieces, ending=ending)
