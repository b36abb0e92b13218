"""Which headers cross the relay, in each direction.

What is not named here crosses unchanged, in order and in its own spelling: headers that
nobody has heard of yet included. Dropped are the hop-by-hop ones (RFC 9110 §7.6.1), those
that authenticate the agent to the relay, those that would steer a proxy behind the relay,
and the framing, which each side states anew. Knows nothing of sockets.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from relay.http.grammar import CREDENTIALS, Field
from relay.http.memo import Remembered
from relay.http.message import MessageHead, RequestHead

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
# The relay states these itself, or answers them itself.
_OWN_TO_UPSTREAM: Final = frozenset({b"host", b"content-length", b"expect", b"forwarded"})
# x-headroom-base-url lets its sender choose where the credential goes; x-forwarded-*,
# x-original-* and x-rewrite-* steer other proxies.
_STEERING_PREFIXES: Final = (
    b"proxy-",
    b"x-forwarded-",
    b"x-original-",
    b"x-rewrite-",
    b"x-headroom-",
)
_NEVER_TO_UPSTREAM: Final = HOP_BY_HOP | CREDENTIALS | _OWN_TO_UPSTREAM
# The agent is no browser and the relay keeps no jar: a cookie would only be a way to track.
_NEVER_TO_AGENT: Final = HOP_BY_HOP | {b"content-length", b"set-cookie", b"set-cookie2"}
_TO_AGENT_PREFIXES: Final = (b"proxy-", b"access-control-")
_NOTHING_NAMED: Final[frozenset[bytes]] = frozenset()


def goes_upstream(key: bytes) -> bool:
    """Whether a field of the agent's with this lower-case name goes upstream."""
    # Servers that map headers to CGI variables cannot tell x_api_key from x-api-key.
    return not (key in _NEVER_TO_UPSTREAM or key.startswith(_STEERING_PREFIXES) or b"_" in key)


def goes_to_agent(key: bytes) -> bool:
    """Whether a field of the upstream's with this lower-case name goes to the agent."""
    return not (key in _NEVER_TO_AGENT or key.startswith(_TO_AGENT_PREFIXES))


Crossing = Remembered[bool]
"""Which lower-case names cross."""

_TO_UPSTREAM: Final = Crossing(goes_upstream)
_TO_AGENT: Final = Crossing(goes_to_agent)


def to_upstream(head: RequestHead, crossing: Crossing = _TO_UPSTREAM) -> list[Field]:
    """Return the agent's fields that go upstream, in order."""
    return _crossing_fields(head, crossing)


def to_agent(head: MessageHead) -> list[Field]:
    """Return the upstream's fields that go to the agent, in order."""
    return _crossing_fields(head, _TO_AGENT)


def _crossing_fields(head: MessageHead, crossing: Crossing) -> list[Field]:
    fields = [field for field in head.fields if crossing[field.key]]
    if named := named_by_connection(head) - HOP_BY_HOP:
        return [field for field in fields if field.key not in named]
    return fields


def named_by_connection(head: MessageHead) -> frozenset[bytes]:
    """Return the lower-case tokens of the Connection fields (RFC 9110 §7.6.1)."""
    if b"connection" not in head.by_key:
        return _NOTHING_NAMED
    return _tokens[b",".join(head.values(b"connection"))]


def list_items(value: bytes) -> list[bytes]:
    """Return the elements of a comma-separated field value (RFC 9110 §5.6.1)."""
    return [item for part in value.split(b",") if (item := part.strip(b" \t"))]


_tokens: Final = Remembered(lambda value: frozenset(list_items(value.lower())))


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
    values = head.values(b"expect")
    return head.minor == 1 and any(value.lower() == b"100-continue" for value in values)
