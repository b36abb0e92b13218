"""HTTP/1.1 as bytes: request heads and bodies in, response heads and chunks out.

Strict where a relay could be made to smuggle (RFC 9112 §6.3, §7.1): whatever is not
plainly well-formed raises MalformedRequestError, so that a test sees what a relay let
through. Knows nothing of what the requests mean.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import dataclass

from .connection import Connection, LineTooLongError

Header = tuple[str, str]

# Generous, so that it is never the stand-in that refuses: h11 takes 64 KiB in all.
HEAD_LIMIT_BYTES = 256 * 1024
CHUNK_LINE_LIMIT_BYTES = 4 * 1024
PIECE_BYTES = 64 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/(1\.[01])\r\n")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*\r\n")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\x09\x20-\x7e\x80-\xff]*)?\r\n")
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)


class MalformedRequestError(Exception):
    """The bytes are not HTTP/1.1; `received` is what was read of the head."""

    def __init__(self, reason: str, received: bytes = b"") -> None:
        """Say what is wrong and what was read."""
        super().__init__(reason)
        self.received = received


@dataclass(frozen=True)
class RequestHead:
    """A request as far as its empty line; header values are latin-1 text, in order."""

    method: str
    target: str
    version: str
    headers: tuple[Header, ...]

    def values(self, name: str) -> list[str]:
        """Return the values of every line of the (lower-case) header `name`."""
        return [value for header, value in self.headers if header.lower() == name]

    def first(self, name: str) -> str | None:
        """Return the value of the first line of the (lower-case) header `name`."""
        return next(iter(self.values(name)), None)

    def closes(self) -> bool:
        """Tell whether the connection ends with this exchange; HTTP/1.0 is never kept."""
        options = ",".join(self.values("connection")).lower().split(",")
        return self.version == "1.0" or "close" in (option.strip() for option in options)

    def chunked(self) -> bool:
        """Tell whether the body comes in chunks."""
        return bool(self.values("transfer-encoding"))

    def length(self) -> int:
        """Return the announced length of the body in bytes, 0 where none is announced."""
        return int(self.first("content-length") or 0)

    def has_body(self) -> bool:
        """Tell whether body bytes follow the head."""
        return self.chunked() or self.length() > 0


async def read_head(connection: Connection) -> RequestHead:
    """Read one request head; MalformedRequestError if it is none."""
    received = bytearray(await _head_line(connection, b""))
    if (start := _REQUEST_LINE.fullmatch(received)) is None:
        raise MalformedRequestError("request line", bytes(received))
    headers = []
    while (line := await _head_line(connection, received)) != b"\r\n":
        received += line
        if (field := _FIELD.fullmatch(line)) is None:
            raise MalformedRequestError("header line", bytes(received))
        headers.append((field[1].decode("latin-1"), field[2].decode("latin-1")))
    method, target, version = (part.decode("ascii") for part in start.groups())
    head = RequestHead(method, target, version, tuple(headers))
    _check_framing(head, bytes(received))
    return head


async def _head_line(connection: Connection, received: bytes | bytearray) -> bytes:
    try:
        return await connection.read_line(HEAD_LIMIT_BYTES - len(received))
    except LineTooLongError as error:
        raise MalformedRequestError("head too large", bytes(received)) from error


def _check_framing(head: RequestHead, received: bytes) -> None:
    lengths, codings = head.values("content-length"), head.values("transfer-encoding")
    wrong = {
        "host": len(head.values("host")) != 1 and head.version == "1.1",
        "two lengths": len(lengths) > 1 or bool(lengths and codings),
        "length": any(_LENGTH.fullmatch(length) is None for length in lengths),
        "transfer coding": bool(codings) and [coding.lower() for coding in codings] != ["chunked"],
        "transfer coding on HTTP/1.0": bool(codings) and head.version == "1.0",
    }
    for reason, found in wrong.items():
        if found:
            raise MalformedRequestError(reason, received)


async def read_body(
    connection: Connection, head: RequestHead, trailers: list[Header]
) -> AsyncGenerator[bytes, None]:
    """Yield the body as it arrives, asked for by a 100 where the client waits for one.

    Trailer fields are appended to `trailers`. MalformedRequestError on a bad chunk.
    """
    expected = (head.first("expect") or "").lower() == "100-continue"
    if expected and head.version == "1.1" and head.has_body() and not connection.has_input():
        await connection.write(CONTINUE)
    if not head.chunked():
        async for piece in _counted(connection, head.length()):
            yield piece
        return
    while (size := await _chunk_size(connection)) > 0:
        async for piece in _counted(connection, size):
            yield piece
        if await _body_line(connection) != b"\r\n":
            raise MalformedRequestError("chunk end")
    while (line := await _body_line(connection)) != b"\r\n":
        if (field := _FIELD.fullmatch(line)) is None:
            raise MalformedRequestError("trailer line")
        trailers.append((field[1].decode("latin-1"), field[2].decode("latin-1")))


async def _counted(connection: Connection, count: int) -> AsyncIterator[bytes]:
    while count > 0:
        piece = await connection.read_some(min(count, PIECE_BYTES))
        count -= len(piece)
        yield piece


async def _chunk_size(connection: Connection) -> int:
    if (line := _CHUNK_SIZE.fullmatch(await _body_line(connection))) is None:
        raise MalformedRequestError("chunk size")
    return int(line[1], 16)


async def _body_line(connection: Connection) -> bytes:
    try:
        return await connection.read_line(CHUNK_LINE_LIMIT_BYTES)
    except LineTooLongError as error:
        raise MalformedRequestError("chunk line too long") from error


def response_head(status: int, reason: str, headers: Iterable[Header]) -> bytes:
    """Return a response head; an empty reason leaves the space before it (RFC 9112 §4)."""
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """Return `data` as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
