"""HTTP/1.1 messages as the bytes that agents and upstreams send."""

from __future__ import annotations

from typing import Final

from relay.http.message import ResponseHead
from relay.http.parser import ResponseHeadReader
from tests.harness.secrets import TOKEN

MESSAGES: Final = "/relay/anthropic/v1/messages"
CHAT: Final = "/relay/openai/v1/chat/completions"
OK_BODY: Final = b'{"id":"ok","input_tokens":0,"usage":null}'
"""What any operation may answer: one that is whole, and says nothing of what it used."""
OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(OK_BODY), OK_BODY)
# Not an event stream of an API: those have an end of their own, which is another matter.
CHUNKED: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
)
EVENTS: Final = CHUNKED.replace(b"text/plain", b"text/event-stream")
STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
PIECE: Final = b"data: one\n\n"


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


def response_head(status: int = 200, *fields: tuple[str, str]) -> ResponseHead:
    """Return a response's head as the relay reads it."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    reader = ResponseHeadReader()
    assert reader.feed(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode("latin-1"))
    return reader.head()


def chunked_request(*lines: str, target: str = MESSAGES, version: str = "1.1") -> bytes:
    """Return the head of a request whose body comes in chunks."""
    return request(target, *lines, "Transfer-Encoding: chunked", body=None, version=version)


def chunk(data: bytes) -> bytes:
    """Return a chunk, or the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data)
