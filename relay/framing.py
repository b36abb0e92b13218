"""Heads of HTTP/1.1 messages, read strictly from bytes.

Everything two parsers could read differently is refused: whoever stands behind the relay
must never see another request than the relay saw (RFC 9112 §11.2, request smuggling).
Lines are judged as they come, so what cannot be HTTP is refused at its first wrong byte.
The same rules serve both sides; only the error raised says who is to blame.
Knows nothing of sockets, and nothing of what the headers mean beyond framing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar, Final

from relay.errors import (
    HeadersTooLarge,
    MalformedRequest,
    RelayError,
    TargetTooLong,
    UpstreamMalformed,
    VersionNotSupported,
)

# Bytes. Apache allows 8190 a line, nginx 4 × 8 KiB, Node 16 KiB in all; Claude Code sends
# long beta lists and custom headers, and the API's edge takes about 64 KiB.
LINE_LIMIT: Final = 16 * 1024
HEAD_LIMIT: Final = 64 * 1024
FIELD_COUNT_LIMIT: Final = 128  # Apache: 100, aiohttp: 128

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
FIELD_LINE: Final = re.compile(rb"(" + TOKEN + rb"):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_REQUEST_LINE: Final = re.compile(rb"(" + TOKEN + rb") ([!-~]+) HTTP/([0-9])\.([0-9])")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
# What the beginning of each kind of line may look like.
_TOKEN_PART: Final = TOKEN[:-1] + b"*"
_TEXT: Final = rb"[^\x00-\x08\x0a-\x1f\x7f]*\r?"
PARTIAL_FIELD_LINE: Final = re.compile(rb"(?:" + TOKEN + rb"(?::" + _TEXT + rb")?|\r)?")


def _any_part(*steps: bytes) -> bytes:
    """Return a pattern that matches any beginning of the steps in a row."""
    pattern = b""
    for step in reversed(steps):
        pattern = b"(?:" + step + pattern + b")?"
    return pattern


_PARTIAL_VALUE: Final = re.compile(_TEXT)
_PARTIAL_REQUEST_LINE: Final = re.compile(
    rb"\r|(?:"
    + _TOKEN_PART
    + rb"|"
    + TOKEN
    + rb" (?:[!-~]+"
    + _any_part(b" ", b"H", b"T", b"T", b"P", b"/", b"1", rb"\.", b"[01]", b"\r")
    + rb")?)"
)
_OTHER_VERSION: Final = re.compile(TOKEN + rb" [!-~]+ HTTP/(?:[02-9]|1\.[2-9]).*", re.DOTALL)
_PARTIAL_STATUS_LINE: Final = re.compile(
    _any_part(
        *(b"H", b"T", b"T", b"P", b"/", b"1", rb"\.", b"[01]", b" ", b"[1-5]", b"[0-9]", b"[0-9]"),
        rb"(?: " + _TEXT + rb"|\r)",
    )
)


@dataclass(slots=True, repr=False)
class Field:
    """One header field as it came: its name, the name in lower case, and its value.

    Fields, and the heads they are in, are values: nobody changes one. Freezing them would
    cost a call more than reading it.
    """

    name: bytes
    key: bytes
    value: bytes
    line: bytes = field(init=False, compare=False)
    """The field as it stands in a message's head."""

    def __post_init__(self) -> None:
        self.line = b"%b: %b\r\n" % (self.name, self.value)

    def __repr__(self) -> str:
        return f"<Field {self.name!r}>"


@dataclass(slots=True, kw_only=True)
class MessageHead:
    """What requests and responses share: minor version, fields, and the body's framing.

    ``length`` is None where there is no Content-Length.
    """

    minor: int
    fields: tuple[Field, ...]
    length: int | None
    chunked: bool
    by_key: dict[bytes, Field] = field(init=False, repr=False, compare=False)
    """The fields by their lower-case names; of repeated ones the last."""

    def __post_init__(self) -> None:
        self.by_key = {each.key: each for each in self.fields}

    def values(self, key: bytes) -> list[bytes]:
        """Return the values of the fields with this lower-case name, in order."""
        last = self.by_key.get(key)
        if last is None:
            return []
        if len(self.by_key) == len(self.fields):
            return [last.value]
        return [each.value for each in self.fields if each.key == key]


@dataclass(slots=True, kw_only=True)
class RequestHead(MessageHead):
    """A request line and its fields; with neither length nor chunks there is no body."""

    method: bytes
    target: bytes


@dataclass(slots=True, kw_only=True)
class ResponseHead(MessageHead):
    """A status line and its fields; with neither length nor chunks the body ends by closing."""

    status: int
    reason: bytes


# Peers say the same lines in every head. Each is read once, as long as it is not too long
# and there are not too many, which bounds the memory that a peer can have used.
_KNOWN_LINE_LIMIT: Final = 256
_KNOWN_COUNT_LIMIT: Final = 1024
_known: Final[dict[bytes, Field]] = {}


def _read_field(line: bytes) -> Field | None:
    """Return the field in a whole line, or None where there is none."""
    match = FIELD_LINE.fullmatch(line)
    if match is None:
        return None
    name, value = match.groups()
    found = Field(name, name.lower(), value.rstrip(b" \t"))
    if len(line) <= _KNOWN_LINE_LIMIT:
        if len(_known) >= _KNOWN_COUNT_LIMIT:
            _known.clear()
        _known[line] = found
    return found


class HeadReader:
    """Reads lines up to the empty one that ends a head, each judged as it is complete."""

    start_line: ClassVar[re.Pattern[bytes]]
    partial_start_line: ClassVar[re.Pattern[bytes]]
    malformed: ClassVar[type[RelayError]]
    line_too_long: ClassVar[type[RelayError]]
    head_too_large: ClassVar[type[RelayError]]
    empty_lines_before: ClassVar[int]

    def __init__(self) -> None:
        self.rest = b""
        self._partial = b""
        self._checked = 0
        self._size = 0
        self._empty_lines = 0
        self._start_line: re.Match[bytes] | None = None
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
        while self._start_line is None:
            self._take_line(lines.pop(0))
        fields = self._fields
        for line in lines:
            known = _known.get(line)
            if known is None:
                self._take_line(line)
            else:
                fields.append(known)
        if len(fields) > FIELD_COUNT_LIMIT:
            raise self._wrong(self.head_too_large)

    def _feed_part(self, data: bytes) -> bool:
        self._size += len(data)
        data = self._partial + data
        position = 0
        while (end := data.find(b"\r\n", position)) >= 0:
            if end == position and self._start_line is not None:
                self.rest = data[end + 2 :]
                self._check_size(self._size - len(self.rest))
                return True
            self._take_line(data[position:end])
            position = end + 2
            self._checked = 0
        self._partial = data[position:]
        self._check_size(self._size)
        self._check_partial()
        return False

    def _check_size(self, size: int) -> None:
        if size > HEAD_LIMIT:
            raise self._wrong(self.head_too_large)

    def _take_line(self, line: bytes) -> None:
        if len(line) > LINE_LIMIT:
            raise self._too_long()
        if self._start_line is None:
            self._take_start_line(line)
        elif (found := _read_field(line)) is None:
            raise self._wrong()
        else:
            self._fields.append(found)
            if len(self._fields) > FIELD_COUNT_LIMIT:
                raise self._wrong(self.head_too_large)

    def _take_start_line(self, line: bytes) -> None:
        # RFC 9112 §2.2: a server should ignore an empty line before the request line.
        if not line and self._empty_lines < self.empty_lines_before:
            self._empty_lines += 1
            return
        match = self.start_line.fullmatch(line)
        if match is None:
            raise self._wrong()
        self._judge_start_line(match)
        self._start_line = match

    def _judge_start_line(self, match: re.Match[bytes]) -> None:
        """Refuse a start line that is well formed and still not acceptable."""

    def _check_partial(self) -> None:
        line = self._partial
        if len(line.removesuffix(b"\r")) > LINE_LIMIT:
            raise self._too_long()
        if self._start_line is None:
            if not self.partial_start_line.fullmatch(line):
                raise self._misbegun(line)
        elif self._checked:
            # Only what is new, and the byte before it, which may have been a CR.
            if not _PARTIAL_VALUE.fullmatch(line, self._checked - 1):
                raise self._wrong()
        elif not PARTIAL_FIELD_LINE.fullmatch(line):
            raise self._wrong()
        self._checked = len(line) if b":" in line and self._start_line is not None else 0

    def _misbegun(self, _: bytes) -> RelayError:
        """Return the error for a start line that cannot become a good one."""
        return self._wrong()

    def _too_long(self) -> RelayError:
        return self._wrong(self.line_too_long if self._start_line is None else self.head_too_large)

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
            if not _LENGTH.fullmatch(lengths[0]):
                raise self._wrong()
            head.length = int(lengths[0])


class RequestHeadReader(HeadReader):
    """Reads the head of a request; the agent is to blame for what is wrong."""

    start_line = _REQUEST_LINE
    partial_start_line = _PARTIAL_REQUEST_LINE
    malformed = MalformedRequest
    line_too_long = TargetTooLong
    head_too_large = HeadersTooLarge
    empty_lines_before = 1

    def _judge_start_line(self, match: re.Match[bytes]) -> None:
        if (match[3], match[4]) not in ((b"1", b"1"), (b"1", b"0")):
            raise VersionNotSupported

    def _misbegun(self, line: bytes) -> RelayError:
        return self._wrong(VersionNotSupported if _OTHER_VERSION.fullmatch(line) else None)

    def head(self) -> RequestHead:
        """Return the head once it is complete (RFC 9112 §3, §6)."""
        assert self._start_line is not None
        method, target, _, minor = self._start_line.groups()
        head = RequestHead(
            method=method,
            target=target,
            minor=int(minor),
            fields=tuple(self._fields),
            length=None,
            chunked=False,
        )
        self._read_framing(head)
        return head


class ResponseHeadReader(HeadReader):
    """Reads the head of a response; the upstream is to blame for what is wrong."""

    start_line = _STATUS_LINE
    partial_start_line = _PARTIAL_STATUS_LINE
    malformed = UpstreamMalformed
    line_too_long = UpstreamMalformed
    head_too_large = UpstreamMalformed
    empty_lines_before = 0

    def _wrong(self, kind: type[RelayError] | None = None) -> RelayError:
        status = int(self._start_line[2]) if self._start_line is not None else None
        return (kind or self.malformed)(status)

    def head(self) -> ResponseHead:
        """Return the head once it is complete (RFC 9112 §4, §6)."""
        assert self._start_line is not None
        minor, status, reason = self._start_line.groups()
        head = ResponseHead(
            status=int(status),
            reason=reason or b"",
            minor=int(minor),
            fields=tuple(self._fields),
            length=None,
            chunked=False,
        )
        self._read_framing(head)
        return head
