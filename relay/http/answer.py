"""The heads that the relay writes to the agent, and the whole of its own answers.

Of an upstream's head everything crosses that ``headers`` lets cross, byte for byte; how the
body is framed is stated anew for this connection (RFC 9112 §6.1).
"""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from relay.errors import Api, RelayError
from relay.http.body import BODILESS
from relay.http.headers import expects_continue, serialize, to_agent, wants_close
from relay.http.message import RequestHead, ResponseHead

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def relayed_head(head: ResponseHead, *, chunked: bool, close: bool) -> bytes:
    """Return the head that passes on an upstream's."""
    lines = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason), serialize(to_agent(head))]
    if chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    elif head.length is not None and head.status != HTTPStatus.NO_CONTENT:
        lines.append(b"content-length: %d\r\n" % head.length)
    if close:
        lines.append(b"connection: close\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def has_body(head: ResponseHead, method: bytes) -> bool:
    """Whether a response to this method has a body (RFC 9112 §6.3)."""
    return method != b"HEAD" and head.status not in BODILESS


def ends_connection(head: RequestHead | None, *, draining: bool, continued: bool = False) -> bool:
    """Whether an answer of the relay's own is the last on its connection.

    An agent that waited to be told to go on, and was not, may send its body or leave it: what
    follows could be either (RFC 9110 §10.1.1).
    """
    if head is None or draining or wants_close(head):
        return True
    return expects_continue(head) and not continued


def own_answer(error: RelayError, api: Api, *, head_only: bool, close: bool) -> bytes:
    """Return the relay's answer to a call that failed."""
    headers = [
        (b"content-type", b"application/json"),
        (b"x-relay-error", error.outcome.encode()),
        *error.headers,
    ]
    return plain_answer(
        error.status, headers, error.body(api), head_only=head_only, close=close or error.closes
    )


def plain_answer(
    status: int,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    *,
    head_only: bool,
    close: bool,
) -> bytes:
    """Return a whole response; no header of it names the relay's software."""
    lines = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode())]
    lines += [b"%b: %b" % header for header in headers]
    lines.append(b"date: " + formatdate(usegmt=True).encode())
    lines.append(b"content-length: %d" % len(body))
    if close:
        lines.append(b"connection: close")
    return b"\r\n".join([*lines, b"", b"" if head_only else body])
