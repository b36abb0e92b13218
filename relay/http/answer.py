"""Whole answers of the relay's own, as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from relay.errors import Api, RelayError
from relay.http.grammar import Field
from relay.http.headers import expects_continue, wants_close
from relay.http.message import RequestHead

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def ends_connection(head: RequestHead | None, *, draining: bool, continued: bool = False) -> bool:
    """Whether an answer of the relay's own is the last on its connection.

    An agent that waited to be told to go on, and was not, may send its body or leave it: what
    follows could be either (RFC 9110 §10.1.1).
    """
    if head is None or draining or wants_close(head):
        return True
    return expects_continue(head) and not continued


def own_answer(
    error: RelayError, api: Api, added: Sequence[Field] = (), *, head_only: bool, close: bool
) -> bytes:
    """Return the relay's answer to a call that failed; ``added`` fields replace its own."""
    body, close = error.body(api), close or error.closes
    replaced = {field.key for field in added}
    headers = [header for header in error_headers(error) if header[0] not in replaced]
    headers += [(field.name, field.value) for field in added]
    return plain_answer(error.status, headers, body, head_only=head_only, close=close)


def error_headers(error: RelayError) -> list[tuple[bytes, bytes]]:
    """Return the headers that say what failed, and how agents are to take it."""
    return [
        (b"content-type", b"application/json"),
        (b"x-relay-error", error.name.encode()),
        *error.headers,
    ]


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
