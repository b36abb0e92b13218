"""What is asked and what comes back: both ends know it, and so every byte can be checked.

A stream is Anthropic's in shape, so that the relay has usage to read. Its text is made of its
number and of each event's, so that a byte of another stream cannot pass for one of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Final

KEY_PREFIX: Final = "sk-ant-api03-soak"
KEY_SUFFIX: Final = "-u8Qm2Lx7Vt0RcY5dWk1Zp9Hs3Nf6Bj4Gg-eA7oQw"
MODEL: Final = "claude-soak-1"
SERIAL_FIELD: Final = "x-soak-serial"
"""In an answer: which of the credentials its request carried."""


def key(serial: int) -> str:
    """Return the credential of that number."""
    return f"{KEY_PREFIX}{serial:06d}{KEY_SUFFIX}"


def serial_of(value: str) -> int | None:
    """Return a credential's number, or None for what is no credential of ours."""
    digits = value.removeprefix(KEY_PREFIX).removesuffix(KEY_SUFFIX)
    return int(digits) if digits.isdecimal() and key(int(digits)) == value else None


def _event(name: str, **fields: object) -> bytes:
    data = json.dumps({"type": name, **fields})
    return f"event: {name}\ndata: {data}\n\n".encode()


def events(number: int, deltas: int) -> Iterator[bytes]:
    """Yield the events of a stream."""
    message = {"id": f"msg_{number}", "model": MODEL, "usage": {"input_tokens": 7}}
    yield _event("message_start", message=message)
    for position in range(deltas):
        seed = hashlib.sha256(f"{number}:{position}".encode()).hexdigest()
        text = f"{number}:{position} " + seed[: 8 + int(seed[0], 16) * 3]
        yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
    yield _event("message_delta", usage={"output_tokens": deltas})
    yield _event("message_stop")


def stream(number: int, deltas: int) -> bytes:
    """Return a whole stream."""
    return b"".join(events(number, deltas))


def answer(number: int) -> bytes:
    """Return the body of a call's answer."""
    text = hashlib.sha256(f"call {number}".encode()).hexdigest() * (1 + number % 7)
    usage = {"input_tokens": 7, "output_tokens": 1}
    body = {"id": f"msg_{number}", "model": MODEL, "content": text, "usage": usage}
    return json.dumps(body).encode()


def question(number: int) -> bytes:
    """Return the body of a call's request."""
    return json.dumps({"model": MODEL, "n": number, "messages": f"{number} " * 200}).encode()
