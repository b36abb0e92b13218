"""Requests as agents write them."""

from __future__ import annotations

from typing import Final

from tests.harness.credentials import TOKEN

MESSAGES: Final = "/relay/anthropic/v1/messages"
CHAT: Final = "/relay/openai/v1/chat/completions"


def request(
    target: str = MESSAGES,
    *lines: str,
    method: str = "POST",
    body: bytes | None = b"{}",
    token: str | None = TOKEN,
    version: str = "1.1",
) -> bytes:
    """Return a request's bytes; further header lines stand before the length."""
    head = [f"{method} {target} HTTP/{version}", "Host: relay.test"]
    head += [f"x-api-key: {token}"] if token is not None else []
    head += lines
    head += [f"Content-Length: {len(body)}"] if body is not None else []
    return "\r\n".join([*head, "", ""]).encode("latin-1") + (body or b"")


def chunked_request(*lines: str, target: str = MESSAGES, version: str = "1.1") -> bytes:
    """Return the head of a request whose body comes in chunks."""
    return request(target, *lines, "Transfer-Encoding: chunked", body=None, version=version)
