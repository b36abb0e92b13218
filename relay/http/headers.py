"""Header fields by what HTTP says of them: lists, Connection, hop-by-hop names, framing.

Which of them cross the relay is ``proxy/header_policy``'s. Knows nothing of sockets.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from relay.http.grammar import Field
from relay.http.message import MessageHead

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_NOTHING_NAMED: Final[frozenset[bytes]] = frozenset()
_KEEP_ALIVE: Final = b"keep-alive"
_KEEP_ALIVE_NAMED: Final = frozenset({_KEEP_ALIVE})


def named_by_connection(head: MessageHead) -> frozenset[bytes]:
    """Return the lower-case tokens of the Connection fields (RFC 9110 §7.6.1)."""
    if b"connection" not in head.by_key:
        return _NOTHING_NAMED
    value = b",".join(head.values(b"connection")).lower()
    # What nearly all of them say, and it is asked for several times a call.
    return _KEEP_ALIVE_NAMED if value == _KEEP_ALIVE else frozenset(list_items(value))


def list_items(value: bytes) -> list[bytes]:
    """Return the elements of a comma-separated field value (RFC 9110 §5.6.1)."""
    return [item for part in value.split(b",") if (item := part.strip(b" \t"))]


def merge_list(fields: list[Field], name: bytes, extra: Iterable[bytes] = ()) -> list[Field]:
    """Return the fields with all lines of a list-valued header as one, plus extra elements.

    A single line that lacks no element stays as it is, byte for byte.
    """
    key = name.lower()
    values = [field.value for field in fields if field.key == key]
    present = [item for value in values for item in list_items(value)]
    missing = [item for item in extra if item not in present]
    if len(values) <= 1 and not missing:
        return fields
    repeated = len(set(present)) < len(present)
    lines = dict.fromkeys(present) if repeated else [value for value in values if value]
    merged = Field(name, key, b", ".join([*lines, *missing]))
    position = next((i for i, field in enumerate(fields) if field.key == key), len(fields))
    others = [field for field in fields if field.key != key]
    return [*others[:position], merged, *others[position:]]


def serialize(fields: Iterable[Field]) -> bytes:
    """Return the fields as they stand in a message's head."""
    return b"".join([field.line for field in fields])


def field(name: bytes, value: bytes) -> Field:
    """Return a field of the relay's own making."""
    return Field(name, name.lower(), value)


def wants_close(head: MessageHead) -> bool:
    """Whether the sender ends the connection after this message (RFC 9112 §9.3)."""
    return head.minor == 0 or b"close" in named_by_connection(head)


def expects_continue(head: MessageHead) -> bool:
    """Whether the sender waits to be told to send its body (RFC 9110 §10.1.1)."""
    if b"expect" not in head.by_key or head.minor == 0:
        return False
    return any(value.lower() == b"100-continue" for value in head.values(b"expect"))


def wants_websocket(head: MessageHead) -> bool:
    """Whether the sender asks for a WebSocket in place of an answer (RFC 6455 §4.1)."""
    if b"upgrade" not in head.by_key:
        return False
    return any(b"websocket" in list_items(value.lower()) for value in head.values(b"upgrade"))
