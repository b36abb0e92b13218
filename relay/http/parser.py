"""Heads of HTTP/1.1 messages, read strictly from bytes.

Everything two parsers could read differently is refused: whoever stands behind the relay
must never see another request than the relay saw (RFC 9112 §11.2, request smuggling).
Lines are judged as they come, so what cannot be HTTP is refused at its first wrong byte.
The same rules serve both sides; only the error raised says who is to blame.
Knows nothing of sockets, and nothing of what the headers mean beyond framing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final

from relay.errors import (
    HeadersTooLarge,
    MalformedRequest,
    RelayError,
    TargetTooLong,
    UpstreamMalformed,
    VersionNotSupported,
)
from relay.http.grammar import (
    FIELD_LINE_STAGES,
    LINE_LIMIT,
    OTHER_VERSION,
    REQUEST_LINE_STAGES,
    STATUS_LINE_STAGES,
    Field,
    NoField,
    PartialLine,
    RequestLine,
    Stage,
    StatusLine,
    agents_fields,
    read_fields,
    read_request_line,
    read_status_line,
)
from relay.http.message import MessageHead, RequestHead, ResponseHead

# Bytes. The API's edge takes about 64 KiB.
HEAD_LIMIT: Final = 64 * 1024
FIELD_COUNT_LIMIT: Final = 128  # Apache: 100, aiohttp: 128
_LENGTH_DIGITS: Final = 18  # what stays below 2**63
_HTTP_1_0: Final = (b"1", b"0")
_SPOKEN: Final = (_HTTP_1_0, (b"1", b"1"))


class HeadReader(ABC):
    """Reads lines up to the empty one that ends a head, each judged as it is complete."""

    start_line_stages: ClassVar[tuple[Stage, ...]]
    malformed: ClassVar[type[RelayError]]
    line_too_long: ClassVar[type[RelayError]]
    head_too_large: ClassVar[type[RelayError]]
    empty_lines_before: ClassVar[int]

    def __init__(self) -> None:
        self.rest = b""
        self._partial = bytearray()
        self._judge = PartialLine(self.start_line_stages)
        self._size = 0
        self._empty_lines = 0
        self._started = False
        self._fields: list[Field] = []

    @property
    def begun(self) -> bool:
        """Whether a part of a head has come."""
        return self._size > 0

    def feed(self, data: bytes) -> bool:
        """Take bytes; True once the head is complete, with what follows it in ``rest``."""
        if not self._size and (end := data.find(b"\r\n\r\n", 1, HEAD_LIMIT)) > 0:
            # As it comes nearly always: whole.
            self._take_lines(data[:end].split(b"\r\n"))
            self.rest = data[end + 4 :]
            return True
        return self._feed_part(data)

    def _take_lines(self, lines: list[bytes]) -> None:
        while not self._started:
            self._take_line(lines.pop(0))
        try:
            self._fields = self._read_fields(lines)
        except NoField:
            for line in lines:  # one of them, and what is wrong depends on those before it
                self._take_line(line)
        if len(self._fields) > FIELD_COUNT_LIMIT:
            raise self._wrong(self.head_too_large)

    def _feed_part(self, data: bytes) -> bool:
        self._size += len(data)
        if self._partial and data.find(b"\n") < 0:  # its line goes on, and nothing else
            self._keep_partial(data)
            return False
        data = bytes(self._partial) + data
        self._partial.clear()
        position = 0
        while (end := data.find(b"\r\n", position)) >= 0:
            if end == position and self._started:
                self.rest = data[end + 2 :]
                self._check_size(self._size - len(self.rest))
                return True
            self._take_line(data[position:end])
            position = end + 2
            self._judge.begin(FIELD_LINE_STAGES if self._started else self.start_line_stages)
        self._keep_partial(data[position:])
        return False

    def _check_size(self, size: int) -> None:
        if size > HEAD_LIMIT:
            raise self._wrong(self.head_too_large)

    def _take_line(self, line: bytes) -> None:
        if len(line) > LINE_LIMIT:
            raise self._too_long()
        if not self._started:
            self._take_start_line(line)
            return
        try:
            self._fields += self._read_fields([line])
        except NoField:
            raise self._wrong() from None
        if len(self._fields) > FIELD_COUNT_LIMIT:
            raise self._wrong(self.head_too_large)

    def _take_start_line(self, line: bytes) -> None:
        # RFC 9112 §2.2: a server should ignore an empty line before the request line.
        if not line and self._empty_lines < self.empty_lines_before:
            self._empty_lines += 1
        elif self._read_start_line(line):
            self._started = True
        else:
            raise self._misbegun(line)

    @abstractmethod
    def _read_start_line(self, line: bytes) -> bool:
        """Take what a start line says; False if it is malformed."""

    def _read_fields(self, lines: Sequence[bytes]) -> list[Field]:
        """Return the field in each line; raise NoField if there is none in one."""
        return read_fields(lines)

    def _keep_partial(self, data: bytes) -> None:
        """Keep more of a line that is not there yet, unless no good line begins like that."""
        line = self._partial
        line += data
        if len(line) - line.endswith(b"\r") > LINE_LIMIT:
            raise self._too_long()
        if not self._judge.may_go_on(line):
            raise self._wrong() if self._started else self._misbegun(line)
        self._check_size(self._size)

    def _misbegun(self, _: bytes | bytearray) -> RelayError:
        """Return the error for a start line that cannot become a good one."""
        return self._wrong()

    def _too_long(self) -> RelayError:
        return self._wrong(self.head_too_large if self._started else self.line_too_long)

    def _wrong(self, kind: type[RelayError] | None = None) -> RelayError:
        """Return the error to raise: by default, that the message is malformed."""
        return (kind or self.malformed)()

    def _read_framing(self, head: MessageHead) -> None:
        """Note length and chunkedness; both at once, or either twice, is malformed."""
        lengths = head.values(b"content-length")
        codings = head.values(b"transfer-encoding")
        if len(lengths) + len(codings) > 1:
            raise self._wrong()
        if codings:
            if head.minor == 0 or codings[0].lower() != b"chunked":
                raise self._wrong()
            head.chunked = True
        elif lengths:
            length = lengths[0]
            if not length.isdigit() or len(length) > _LENGTH_DIGITS:
                raise self._wrong()
            head.length = int(length)


class RequestHeadReader(HeadReader):
    """Reads the head of a request; the agent is to blame for what is wrong."""

    start_line_stages = REQUEST_LINE_STAGES
    malformed = MalformedRequest
    line_too_long = TargetTooLong
    head_too_large = HeadersTooLarge
    empty_lines_before = 1

    def __init__(self) -> None:
        super().__init__()
        self._start: RequestLine | None = None

    def _read_start_line(self, line: bytes) -> bool:
        start = self._start = read_request_line(line)
        if start is not None and start.version not in _SPOKEN:
            raise VersionNotSupported
        return start is not None

    def _read_fields(self, lines: Sequence[bytes]) -> list[Field]:
        return [agents_fields[line] for line in lines]

    def _misbegun(self, line: bytes | bytearray) -> RelayError:
        return self._wrong(VersionNotSupported if OTHER_VERSION.fullmatch(line) else None)

    def head(self) -> RequestHead:
        """Return the head once it is complete (RFC 9112 §3, §6)."""
        assert self._start is not None
        method, target, version = self._start
        head = RequestHead(
            method=method,
            target=target,
            minor=0 if version == _HTTP_1_0 else 1,
            fields=tuple(self._fields),
            length=None,
            chunked=False,
        )
        self._read_framing(head)
        return head


class ResponseHeadReader(HeadReader):
    """Reads the head of a response; the upstream is to blame for what is wrong."""

    start_line_stages = STATUS_LINE_STAGES
    malformed = UpstreamMalformed
    line_too_long = UpstreamMalformed
    head_too_large = UpstreamMalformed
    empty_lines_before = 0

    def __init__(self) -> None:
        super().__init__()
        self._start: StatusLine | None = None

    def _read_start_line(self, line: bytes) -> bool:
        self._start = read_status_line(line)
        return self._start is not None

    def _wrong(self, kind: type[RelayError] | None = None) -> RelayError:
        status = self._start.status if self._start is not None else None
        return (kind or self.malformed)(status)

    def head(self) -> ResponseHead:
        """Return the head once it is complete (RFC 9112 §4, §6)."""
        assert self._start is not None
        minor, status, reason = self._start
        head = ResponseHead(
            status=status,
            reason=reason,
            minor=minor,
            fields=tuple(self._fields),
            length=None,
            chunked=False,
        )
        self._read_framing(head)
        return head
