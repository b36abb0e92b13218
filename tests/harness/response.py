"""Responses as upstreams write them, whole and in pieces."""

from __future__ import annotations

from typing import Final

from relay.http.message import ResponseHead
from relay.http.parser import ResponseHeadReader

OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
# Not an event stream of an API: those have an end of their own, which is another matter.
CHUNKED: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
)
EVENTS: Final = CHUNKED.replace(b"text/plain", b"text/event-stream")
STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
PIECE: Final = b"data: one\n\n"


def chunk(data: bytes) -> bytes:
    """Return a chunk, or the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def response_head(status: int = 200, *fields: tuple[str, str]) -> ResponseHead:
    """Return a response's head as the relay reads it."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    reader = ResponseHeadReader()
    assert reader.feed(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode("latin-1"))
    return reader.head()
