"""The lines of HTTP/1.1 heads: what each may be, and what its beginning may look like.

Everything two parsers could read differently is no line here (RFC 9112 §11.2). Agents say the
same lines in every head, so those are remembered that are known to hold nothing of anybody.
Knows nothing of sockets, nor of whose fault a wrong line is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from relay.http.memo import Memo

# Bytes. Apache allows 8190 a line, nginx 4 × 8 KiB, Node 16 KiB in all; Claude Code sends
# long beta lists and custom headers.
LINE_LIMIT: Final = 16 * 1024
CREDENTIALS: Final = frozenset(
    {b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"cookie", b"cookie2"}
)
"""What an agent authenticates itself with; nothing of it goes upstream."""
_REMEMBERED: Final = frozenset(
    {
        *(b"accept", b"accept-encoding", b"accept-language", b"anthropic-beta"),
        *(b"anthropic-dangerous-direct-browser-access", b"anthropic-version", b"connection"),
        *(b"content-type", b"host", b"openai-beta", b"originator", b"sec-fetch-mode"),
        *(b"user-agent", b"x-app"),
    }
)
_REMEMBERED_PREFIX: Final = b"x-stainless-"
"""The SDKs' own: of the machine that they run on, and of their time limits."""

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
FIELD_LINE: Final = re.compile(rb"(" + TOKEN + rb"):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_NAME: Final = re.compile(TOKEN)
_CONTROLS: Final = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])
_REQUEST_LINE: Final = re.compile(rb"(" + TOKEN + rb") ([!-~]+) HTTP/([0-9])\.([0-9])")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
# What the beginning of each kind of line may look like.
_TOKEN_PART: Final = TOKEN[:-1] + b"*"
_TEXT: Final = rb"[^\x00-\x08\x0a-\x1f\x7f]*\r?"


def _any_part(*steps: bytes) -> bytes:
    """Return a pattern that matches any beginning of the steps in a row."""
    pattern = b""
    for step in reversed(steps):
        pattern = b"(?:" + step + pattern + b")?"
    return pattern


_VERSION: Final = (b"H", b"T", b"T", b"P", b"/", b"1", rb"\.", b"[01]")
_TARGET_ON: Final = _any_part(b" ", *_VERSION, b"\r")
OTHER_VERSION: Final = re.compile(TOKEN + rb" [!-~]+ HTTP/(?:[02-9]|1\.[2-9]).*", re.DOTALL)


class Stage(NamedTuple):
    """A part of a line: how the line may go on from within it."""

    rest: re.Pattern[bytes]
    leaves: re.Pattern[bytes] | None = None
    """Matches as far as the next stage, once there is a byte of that."""
    begins_anywhere: bool = False
    """Whether what may follow does not depend on how much of this stage there is already."""


def _stages(*rows: tuple[bytes, bytes | None, bool]) -> tuple[Stage, ...]:
    return tuple(
        Stage(re.compile(rest), re.compile(leaves, re.DOTALL) if leaves else None, anywhere)
        for rest, leaves, anywhere in rows
    )


_FIRST_BYTE: Final = rb"(?=[^\r])"
_WORD: Final = rb"[^ ]* (?=.)"
FIELD_LINE_STAGES: Final = _stages(
    (rb"(?:" + TOKEN + rb"(?::" + _TEXT + rb")?|\r)?", _FIRST_BYTE, False),
    (_TOKEN_PART + rb"(?::" + _TEXT + rb")?", rb"[^:]*:(?=.)", True),
    (_TEXT, None, True),
)
REQUEST_LINE_STAGES: Final = _stages(
    (
        rb"\r|(?:" + _TOKEN_PART + rb"|" + TOKEN + rb" (?:[!-~]+" + _TARGET_ON + rb")?)",
        _FIRST_BYTE,
        False,
    ),
    (_TOKEN_PART + rb"(?: (?:[!-~]+" + _TARGET_ON + rb")?)?", _WORD, True),
    (rb"[!-~]*" + _TARGET_ON, _WORD, True),
    (_any_part(*_VERSION, b"\r"), None, False),
)
STATUS_LINE_STAGES: Final = _stages(
    (
        _any_part(*_VERSION, b" ", b"[1-5]", b"[0-9]", b"[0-9]", rb"(?: " + _TEXT + rb"|\r)"),
        rb".{13}(?=.)",  # behind "HTTP/1.1 200 " there is nothing but the reason
        False,
    ),
    (_TEXT, None, True),
)


class PartialLine:
    """Judges the beginning of a line as it grows; looks at no byte more than a few times."""

    __slots__ = ("_checked", "_index", "_stages")

    def __init__(self, stages: tuple[Stage, ...]) -> None:
        self.begin(stages)

    def begin(self, stages: tuple[Stage, ...]) -> None:
        """Judge a new line."""
        self._stages = stages
        self._index = self._checked = 0

    def may_go_on(self, line: bytes | bytearray) -> bool:
        """Whether any good line begins like this; what was judged last time is a part of it."""
        stage = self._stages[self._index]
        if not stage.rest.fullmatch(line, self._checked):
            return False
        while stage.leaves and (match := stage.leaves.match(line, self._checked)):
            self._index += 1
            stage, self._checked = self._stages[self._index], match.end()
        if stage.begins_anywhere:
            # The last byte is looked at again, for it may be a CR.
            self._checked = max(self._checked, len(line) - 1)
        return True


@dataclass(slots=True, repr=False, init=False)
class Field:
    """One header field as it came: its name, the name in lower case, and its value."""

    name: bytes
    key: bytes
    value: bytes
    line: bytes = field(compare=False)
    """The field as it stands in a message's head."""

    def __init__(self, name: bytes, key: bytes, value: bytes) -> None:
        self.name, self.key, self.value = name, key, value
        self.line = b"%b: %b\r\n" % (name, value)

    def __repr__(self) -> str:
        return f"<Field {self.name!r}>"


class NoField(Exception):
    """A line is no header field."""


def read_fields(lines: Sequence[bytes]) -> list[Field]:
    """Return the field in each line (RFC 9112 §5); raise NoField if there is none in one.

    As ``FIELD_LINE`` has it; of all lines at once that takes two thirds of the time.
    """
    text = b"".join(lines)
    if text.translate(None, _CONTROLS) != text:
        raise NoField
    if len(text) > LINE_LIMIT and max(map(len, lines)) > LINE_LIMIT:
        raise NoField
    try:
        parts = [line.split(b":", 1) for line in lines]
        return [Field(name, _keys[name], value.strip()) for name, value in parts]
    except ValueError:  # no colon
        raise NoField from None


def read_field(line: bytes) -> Field:
    """Return the field in a line; raise NoField if there is none."""
    return read_fields([line])[0]


def _read_name(name: bytes) -> bytes:
    if not _NAME.fullmatch(name):
        raise NoField
    return name.lower()


_keys: Final = Memo(_read_name)
"""The lower-case form of a field's name."""


def _is_remembered(field: Field) -> bool:
    return field.key in _REMEMBERED or field.key.startswith(_REMEMBERED_PREFIX)


agents_fields: Final = Memo(read_field, _is_remembered)
"""The field in a line of an agent's; raises as ``read_field``, which takes 1 µs for it.

A request of Claude Code has twenty of these.
"""


class RequestLine(NamedTuple):
    """What a request line says."""

    method: bytes
    target: bytes
    version: tuple[bytes, bytes]


class StatusLine(NamedTuple):
    """What a status line says; of the version, its minor number."""

    minor: int
    status: int
    reason: bytes


def read_request_line(line: bytes) -> RequestLine | None:
    """Return what a line says, of whatever version (RFC 9112 §3); None if it is malformed."""
    match = _REQUEST_LINE.fullmatch(line)
    return RequestLine(match[1], match[2], (match[3], match[4])) if match else None


def read_status_line(line: bytes) -> StatusLine | None:
    """Return what a line says (RFC 9112 §4); None if it is malformed, or not of HTTP/1."""
    match = _STATUS_LINE.fullmatch(line)
    return StatusLine(int(match[1]), int(match[2]), match[3] or b"") if match else None
