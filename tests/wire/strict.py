"""HTTP/1.1 as a strict peer reads it (RFC 9112): the judge of what crosses the relay.

Written for the tests and by another method than the relay's own parser: whole buffers, read
from a position, and no regular expressions. What two servers could read differently is
``Wrong``; what may still become a message is ``Partial``.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from typing import Final

LINE_LIMIT: Final = 16 * 1024
HEAD_LIMIT: Final = 64 * 1024
FIELD_LIMIT: Final = 128
SIZE_LINE_LIMIT: Final = 256

_DIGITS: Final = string.digits.encode()
_HEX: Final = string.hexdigits.encode()
_NAME: Final = b"!#$%&'*+-.^_`|~" + _DIGITS + string.ascii_letters.encode()
_VISIBLE: Final = bytes(range(0x21, 0x7F))
_TEXT: Final = b"\t " + _VISIBLE + bytes(range(0x80, 0x100))

Fields = list[tuple[bytes, bytes]]


class Partial(Exception):
    """The bytes are the beginning of a message."""


class Wrong(Exception):
    """The bytes are not a message, and no more bytes will make them one."""

    def __init__(self, status: int = 400) -> None:
        super().__init__()
        self.status = status


@dataclass(slots=True, kw_only=True)
class Message:
    """A request or a response as far as it came."""

    minor: int
    fields: Fields
    chunked: bool = False
    length: int | None = None
    body: bytes = b""
    complete: bool = False
    broken: bool = False
    """Whether the framing of the body went wrong."""
    end: int = 0
    """Where the next message begins."""

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of the fields of that name, given in lower case."""
        return [value for key, value in self.fields if key.lower() == name]

    def items(self, name: bytes) -> list[bytes]:
        """Return the elements of a list-valued field, in lower case."""
        joined = b",".join(self.values(name)).lower()
        return [item for part in joined.split(b",") if (item := part.strip(b" \t"))]


@dataclass(slots=True, kw_only=True)
class Request(Message):
    """What an agent sent, or an upstream received."""

    method: bytes
    target: bytes


@dataclass(slots=True, kw_only=True)
class Response(Message):
    """What an upstream sent, or an agent received."""

    status: int
    reason: bytes
    interim: list[int] = field(default_factory=list)
    """The statuses of the interim answers before it."""

    @property
    def outcome(self) -> str:
        """The ``x-relay-error`` header, or empty."""
        return b"".join(self.values(b"x-relay-error")).decode()


def only(data: bytes, allowed: bytes) -> bool:
    """Whether there is something, and nothing but allowed bytes."""
    return bool(data) and not data.translate(None, allowed)


def _line(data: bytes, position: int) -> tuple[bytes, int]:
    """Return a line without its end, and where the next begins."""
    end = data.find(b"\r\n", position)
    line = data[position:end] if end >= 0 else data[position:].removesuffix(b"\r")
    if line.translate(None, _TEXT):
        raise Wrong
    if end < 0:
        raise Partial
    return line, end + 2


def _fields(data: bytes, position: int, start: int, slack: int = 0) -> tuple[Fields, int]:
    fields: Fields = []
    while True:
        line, position = _line(data, position)
        if position - start > HEAD_LIMIT + slack:
            raise Wrong(431)
        if not line:
            return fields, position
        name, colon, value = line.partition(b":")
        if not colon or not only(name, _NAME):
            raise Wrong
        fields.append((name, value.strip(b" \t")))
        if len(line) > LINE_LIMIT + slack or len(fields) > FIELD_LIMIT + slack:
            raise Wrong(431)


def _frame(message: Message) -> None:
    """Settle how the body is framed: one length, or chunks, or neither."""
    lengths = message.values(b"content-length")
    codings = message.values(b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise Wrong
    if codings and (message.minor == 0 or codings[0].lower() != b"chunked"):
        raise Wrong
    message.chunked = bool(codings)
    if lengths:
        if not only(lengths[0], _DIGITS) or len(lengths[0]) > 18:
            raise Wrong
        message.length = int(lengths[0])


def _read_body(message: Message, data: bytes, position: int) -> None:
    """Read a body by its framing; what is missing or wrong is noted, not raised."""
    if not message.chunked:
        end = position + (message.length or 0)
        message.body = data[position:end]
        message.complete = len(data) >= end
        message.end = min(end, len(data))
        return
    pieces: list[bytes] = []
    try:
        message.end = _chunks(data, position, pieces)
        message.complete = True
    except Partial:
        message.end = len(data)
    except Wrong:
        message.end = len(data)
        message.broken = True
    message.body = b"".join(pieces)


def _chunks(data: bytes, position: int, pieces: list[bytes]) -> int:
    while True:
        line, position = _line(data, position)
        size = _chunk_size(line)
        if not size:
            return _fields(data, position, position)[1]
        pieces.append(data[position : position + size])
        position += size
        end = data[position : position + 2]
        if not b"\r\n".startswith(end):
            raise Wrong
        if len(end) < 2:
            raise Partial
        position += 2


def _chunk_size(line: bytes) -> int:
    digits, semicolon, extensions = line.partition(b";")
    if len(line) > SIZE_LINE_LIMIT or not only(digits, _HEX) or len(digits) > 15:
        raise Wrong
    if semicolon:
        _check_extensions(extensions)
    return int(digits, 16)


def _check_extensions(text: bytes) -> None:
    """Judge ``name``, ``name=token`` and ``name="quoted"``, with semicolons between."""
    while True:
        name = text[: len(text) - len(text.lstrip(_NAME))]
        text = text[len(name) :]
        if not name:
            raise Wrong
        if text.startswith(b'="'):
            text = _after_quoted(text[2:])
        elif text.startswith(b"="):
            rest = text[1:].lstrip(_NAME)
            if len(rest) == len(text) - 1:
                raise Wrong
            text = rest
        if not text:
            return
        if not text.startswith(b";"):
            raise Wrong
        text = text[1:]


def _after_quoted(text: bytes) -> bytes:
    position = 0
    while position < len(text):
        if text[position] == 0x22:
            return text[position + 1 :]
        position += 2 if text[position] == 0x5C else 1
    raise Wrong


def read_request(data: bytes, position: int = 0, *, slack: int = 0) -> Request:
    """Read the request that begins at a position; its body as far as it came.

    ``slack`` is how far it may be over the limits: the relay adds what is its own.

    Raises:
        Partial: Its head has not ended.
        Wrong: Its head is none.
    """
    start = position
    line, position = _line(data, position)
    if not line:
        line, position = _line(data, position)
    method, _, rest = line.partition(b" ")
    target, _, version = rest.partition(b" ")
    if not only(method, _NAME) or not only(target, _VISIBLE):
        raise Wrong
    minor = _minor(version)
    if len(line) > LINE_LIMIT + slack:
        raise Wrong(414)
    fields, position = _fields(data, position, start, slack)
    request = Request(minor=minor, fields=fields, method=method, target=target)
    _frame(request)
    _read_body(request, data, position)
    return request


def _minor(version: bytes) -> int:
    if version in (b"HTTP/1.0", b"HTTP/1.1"):
        return version[-1] - 0x30
    digits = version[5:6] + version[7:]
    well_formed = version.startswith(b"HTTP/") and version[6:7] == b"."
    raise Wrong(505 if well_formed and len(version) == 8 and only(digits, _DIGITS) else 400)


def read_response(
    data: bytes, position: int = 0, *, method: bytes = b"GET", closed: bool = False
) -> Response:
    """Read the response that begins at a position, with the interim ones before it.

    ``closed`` says that the connection has ended after the data.

    Raises:
        Partial: Its head has not ended.
        Wrong: Its head is none.
    """
    interim: list[int] = []
    while True:
        response, position = _read_response_head(data, position)
        if response.status >= 200 or response.status == 101:
            break
        interim.append(response.status)
    response.interim = interim
    if method == b"HEAD" or response.status in (101, 204, 304):
        response.complete, response.end = True, position
    elif response.chunked or response.length is not None:
        _read_body(response, data, position)
    else:
        response.body, response.end, response.complete = data[position:], len(data), closed
    return response


def _read_response_head(data: bytes, position: int) -> tuple[Response, int]:
    start = position
    line, position = _line(data, position)
    version, status, reason = line[:9], line[9:12], line[12:]
    if version not in (b"HTTP/1.0 ", b"HTTP/1.1 ") or not only(status, _DIGITS):
        raise Wrong
    if len(status) != 3 or not 100 <= int(status) <= 599 or reason[:1] not in (b"", b" "):
        raise Wrong
    fields, position = _fields(data, position, start)
    minor = version[7] - 0x30
    response = Response(minor=minor, fields=fields, status=int(status), reason=reason[1:])
    _frame(response)
    return response, position


def read_requests(data: bytes) -> tuple[list[Request], Wrong | Partial | None]:
    """Return the requests in a row, the last as far as it came, and why there is no other."""
    requests: list[Request] = []
    position = 0
    while position < len(data):
        try:
            request = read_request(data, position)
        except (Wrong, Partial) as end:
            return requests, end
        requests.append(request)
        position = request.end
        if not request.complete or request.minor == 0 or b"close" in request.items(b"connection"):
            break
    return requests, None
