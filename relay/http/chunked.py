"""Chunked bodies read strictly from bytes (RFC 9112 §7.1), and chunks written.

Sizes, extensions, line ends and trailers are judged as they come; extensions and trailers
are dropped. Data passes as it arrives, in as many pieces as it came in: a large chunk is
never gathered. Knows nothing of sockets.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from relay.errors import RelayError
from relay.http.grammar import FIELD_LINE, FIELD_LINE_STAGES, LINE_LIMIT, TOKEN, PartialLine
from relay.http.parser import FIELD_COUNT_LIMIT, HEAD_LIMIT

# A chunk's size with its extensions, in bytes. No client in use sends extensions; Node and
# hyper allow 16 KiB of them over a whole message. 15 hexadecimal digits stay below 2**63.
SIZE_LINE_LIMIT: Final = 256

LAST_CHUNK: Final = b"0\r\n\r\n"

_QUOTED_TEXT: Final = rb"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"
_EXTENSIONS: Final = rb"(?:;" + TOKEN + rb"(?:=(?:" + TOKEN + rb'|"' + _QUOTED_TEXT + rb'"))?)*'
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})" + _EXTENSIONS)
_PARTIAL_EXTENSION: Final = (
    rb"(?:;(?:" + TOKEN + rb"(?:=(?:" + TOKEN + rb'|"' + _QUOTED_TEXT + rb"\\?)?)?)?)?"
)
_PARTIAL_SIZE_LINE: Final = re.compile(
    rb"[0-9A-Fa-f]{1,15}" + _EXTENSIONS + rb"(?:\r|" + _PARTIAL_EXTENSION + rb")"
)


# The sizes of events, as everybody writes them: looked up, they need no judging.
_PLAIN_SIZES: Final = {b"%x" % size: size for size in range(1, 2048)}
_PLAIN_LINE_LIMIT: Final = len(b"7ff\r\n")
# Chunks that a read must have room for, before it is worth while to look for a row of them.
_ROW: Final = 4


def chunk(data: bytes) -> bytes:
    """Return data as one chunk; empty data gives nothing, for it would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


class _Expecting(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()
    NOTHING = auto()


_SIZE, _DATA, _DATA_END, _TRAILERS, _NOTHING = _Expecting


class ChunkReader:
    """Takes the bytes of one chunked body, however they are cut, and returns its data."""

    def __init__(self, malformed: type[RelayError]) -> None:
        self.rest = b""
        """What followed the end of the body."""
        self.ended = False
        """Whether the last chunk and the trailers' end have come."""
        self._malformed = malformed
        self._wrong = False
        self._expecting = _SIZE
        self._partial = bytearray()
        self._trailer = PartialLine(FIELD_LINE_STAGES)
        self._remaining = 0
        self._trailer_size = 0
        self._trailer_count = 0

    def feed(self, data: bytes) -> bytes:
        """Return the data in these bytes; raise the blame's error at a wrong one.

        Data that came before a wrong byte is returned; then ``check`` raises, and any further
        ``feed``.
        """
        self.check()
        if self._partial:
            if data.find(b"\n") < 0:  # its line goes on, and nothing else
                self._keep_partial(data)
                return b""
            data = bytes(self._partial) + data
            self._partial.clear()
        if self._expecting is _SIZE:
            # Most often this is one event in one chunk, and this is all there is to do.
            line = data[:_PLAIN_LINE_LIMIT].partition(b"\r\n")[0]
            size = _PLAIN_SIZES.get(line)
            if size is not None and data.endswith(b"\r\n"):
                piece = data[len(line) + 2 : -2]
                if len(piece) == size:
                    return piece
        pieces = self._take(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def check(self) -> None:
        """Raise the blame's error if a wrong byte has come."""
        if self._wrong:
            raise self._malformed

    def _take(self, data: bytes) -> list[bytes]:
        pieces: list[bytes] = []
        try:
            self._take_into(pieces, data)
        except self._malformed:
            if not pieces:
                raise
            self._wrong = True
        return pieces

    def _take_into(self, pieces: list[bytes], data: bytes) -> None:
        position = 0
        row_tried = False
        while position < len(data) and not self.ended:
            if self._expecting is _DATA:
                piece = data[position : position + self._remaining]
                self._remaining -= len(piece)
                position += len(piece)
                pieces.append(piece)
                if not self._remaining:
                    self._expecting = _DATA_END
                continue
            if self._expecting is _SIZE and not row_tried:
                row_tried = True
                position += _take_row(data, position, pieces)
            end = data.find(b"\r\n", position)
            if end < 0:
                self._keep_partial(data[position:])
                return
            self._take_line(data[position:end])
            position = end + 2
        self.rest = data[position:]

    def _take_line(self, line: bytes) -> None:
        if self._expecting is _SIZE:
            self._take_size(line)
        elif self._expecting is _DATA_END:
            if line:
                raise self._malformed
            self._expecting = _SIZE
        else:
            self._take_trailer(line)

    def _take_size(self, line: bytes) -> None:
        size = _PLAIN_SIZES.get(line)
        if size is not None:
            self._remaining = size
            self._expecting = _DATA
            return
        match = _SIZE_LINE.fullmatch(line) if len(line) <= SIZE_LINE_LIMIT else None
        if match is None:
            raise self._malformed
        self._remaining = int(match[1], 16)
        self._expecting = _DATA if self._remaining else _TRAILERS

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self._expecting = _NOTHING
            self.ended = True
            return
        self._trailer.begin(FIELD_LINE_STAGES)
        self._trailer_size += len(line)
        self._trailer_count += 1
        too_many = self._trailer_size > HEAD_LIMIT or self._trailer_count > FIELD_COUNT_LIMIT
        if too_many or len(line) > LINE_LIMIT or not FIELD_LINE.fullmatch(line):
            raise self._malformed

    def _keep_partial(self, data: bytes) -> None:
        """Keep more of a line that is not there yet, unless no valid line starts like that."""
        line = self._partial
        line += data
        limit = LINE_LIMIT if self._expecting is _TRAILERS else SIZE_LINE_LIMIT
        if len(line) - line.endswith(b"\r") > limit or not self._may_start(line):
            raise self._malformed

    def _may_start(self, line: bytearray) -> bool:
        if self._expecting is _TRAILERS:
            return self._trailer.may_go_on(line)
        if self._expecting is _DATA_END:
            return bytes(line) in (b"", b"\r")
        return not line or _PARTIAL_SIZE_LINE.fullmatch(line) is not None


def _take_row(data: bytes, position: int, pieces: list[bytes]) -> int:
    """Take all whole chunks from a position on, where they are many and small; return their size.

    Split at the line ends, sizes and data alternate. Where each size is the length of what
    stands behind it, one chunk after the other would give the same; anything else is theirs.
    """
    first = data[position : position + _PLAIN_LINE_LIMIT].partition(b"\r\n")[0]
    if len(data) - position < _ROW * _PLAIN_SIZES.get(first, len(data)):
        return 0
    parts = data[position:].split(b"\r\n")
    count = (len(parts) - 1) // 2
    chunks = parts[1 : 2 * count : 2]
    lengths = list(map(len, chunks))
    if 0 in lengths:  # the last chunk, most likely; it is not one of them
        count = lengths.index(0)
        del chunks[count:], lengths[count:]
    lines = parts[0 : 2 * count : 2]
    if list(map(_PLAIN_SIZES.get, lines)) != lengths:
        return 0
    pieces += chunks
    return sum(map(len, lines)) + sum(lengths) + 2 * len(b"\r\n") * count
