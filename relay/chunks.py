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
from relay.framing import FIELD_COUNT_LIMIT, HEAD_LIMIT
from relay.lines import FIELD_LINE, LINE_LIMIT, PARTIAL_FIELD_LINE, TOKEN

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


def chunk(data: bytes) -> bytes:
    """Return data as one chunk; empty data gives nothing, for it would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


class _Expecting(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()
    NOTHING = auto()


class ChunkReader:
    """Takes the bytes of one chunked body, however they are cut, and returns its data."""

    def __init__(self, malformed: type[RelayError]) -> None:
        self.rest = b""
        """What followed the end of the body."""
        self._malformed = malformed
        self._expecting = _Expecting.SIZE
        self._partial = b""
        self._remaining = 0
        self._trailer_size = 0
        self._trailer_count = 0

    @property
    def ended(self) -> bool:
        """Whether the last chunk and the trailers' end have come."""
        return self._expecting is _Expecting.NOTHING

    def feed(self, data: bytes) -> bytes:
        """Return the data in these bytes; raise the blame's error at a wrong one."""
        data, self._partial = self._partial + data, b""
        pieces: list[bytes] = []
        position = 0
        while position < len(data) and not self.ended:
            if self._expecting is _Expecting.DATA:
                piece = data[position : position + self._remaining]
                self._remaining -= len(piece)
                position += len(piece)
                pieces.append(piece)
                if not self._remaining:
                    self._expecting = _Expecting.DATA_END
                continue
            end = data.find(b"\r\n", position)
            if end < 0:
                self._keep_partial(data[position:])
                return b"".join(pieces)
            self._take_line(data[position:end])
            position = end + 2
        self.rest = data[position:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _take_line(self, line: bytes) -> None:
        if self._expecting is _Expecting.SIZE:
            self._take_size(line)
        elif self._expecting is _Expecting.DATA_END:
            if line:
                raise self._malformed
            self._expecting = _Expecting.SIZE
        else:
            self._take_trailer(line)

    def _take_size(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line) if len(line) <= SIZE_LINE_LIMIT else None
        if match is None:
            raise self._malformed
        self._remaining = int(match[1], 16)
        self._expecting = _Expecting.DATA if self._remaining else _Expecting.TRAILERS

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self._expecting = _Expecting.NOTHING
            return
        self._trailer_size += len(line)
        self._trailer_count += 1
        too_many = self._trailer_size > HEAD_LIMIT or self._trailer_count > FIELD_COUNT_LIMIT
        if too_many or len(line) > LINE_LIMIT or not FIELD_LINE.fullmatch(line):
            raise self._malformed

    def _keep_partial(self, partial: bytes) -> None:
        """Keep the start of a line, unless no valid line starts like that."""
        limit = LINE_LIMIT if self._expecting is _Expecting.TRAILERS else SIZE_LINE_LIMIT
        if len(partial.removesuffix(b"\r")) > limit or not self._may_start(partial):
            raise self._malformed
        self._partial = partial

    def _may_start(self, line: bytes) -> bool:
        if self._expecting is _Expecting.DATA_END:
            return line in (b"", b"\r")
        expected = _PARTIAL_SIZE_LINE if self._expecting is _Expecting.SIZE else PARTIAL_FIELD_LINE
        return not line or expected.fullmatch(line) is not None
