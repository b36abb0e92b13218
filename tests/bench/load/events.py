"""The bytes of streams: heads, stamped events, ends."""

from __future__ import annotations

import json
import re
from typing import Final

from tests.bench import calling
from tests.headroom.anthropic import message_events

_START_EVENTS: Final = 3  # of the message, of its block, a ping
STAMP: Final = re.compile(rb'"text":"(\d{19})"')
LAST_CHUNK: Final = b"0\r\n\r\n"


def chunk(piece: bytes) -> bytes:
    """Return it with its framing."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


_EVENTS: Final = tuple(message_events(["@"], calling.MODEL, 1))
_HEADERS: Final = "".join(f"{name}: {value}\r\n" for name, value in calling.ANSWER_HEADERS.items())
_START: Final = _EVENTS[:_START_EVENTS]
_DELTA: Final = _EVENTS[_START_EVENTS].replace(b"@", b"0" * 19)
_STOP: Final = _EVENTS[_START_EVENTS + 1 :]
HEAD: Final = (
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    f"{_HEADERS}transfer-encoding: chunked\r\n\r\n"
).encode() + b"".join(map(chunk, _START))
"""How an answer begins."""
DELTA: Final = chunk(_DELTA).replace(b"0" * 19, b"%019d")
"""A text delta of an answer; its text is when it was sent, in nanoseconds: ``DELTA % now``."""
END: Final = b"".join(map(chunk, _STOP)) + LAST_CHUNK
"""How an answer ends."""
PAYLOAD_SIZE: Final = len(_DELTA)
"""Of a delta, without the framing, which every peer chooses."""
BESIDE_SIZE: Final = sum(map(len, _START + _STOP))
"""Of the events that are not deltas."""


def request_head(path: str, key: str, length: int) -> bytes:
    """Return the head of a call."""
    fields = calling.HEADERS | {"x-api-key": key, "content-length": str(length)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n".encode()


def answer(document: dict[str, int], status: str = "200 OK") -> bytes:
    """Return a JSON answer; its end is that of a stream."""
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    return head.encode() + chunk(json.dumps(document).encode()) + LAST_CHUNK
