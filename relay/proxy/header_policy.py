"""Which headers cross the relay, in each direction.

What is not named here crosses unchanged, in order and in its own spelling: headers that
nobody has heard of yet included. Dropped are the hop-by-hop ones (RFC 9110 §7.6.1), those
that authenticate the agent to the relay, those that would steer a proxy behind the relay
or lead the agent past it, those in the relay's own name, and the framing, which each side states
anew.
"""

from __future__ import annotations

from typing import Final

from relay.http.grammar import CREDENTIALS, Field
from relay.http.headers import HOP_BY_HOP, named_by_connection
from relay.http.memo import Memo
from relay.http.message import MessageHead, RequestHead

# The relay states these itself, or answers them itself.
_OWN_TO_UPSTREAM: Final = frozenset({b"host", b"content-length", b"expect", b"forwarded"})
# What the relay says of itself, to agents and to what is on its way.
_RELAYS_OWN: Final = b"x-relay-"
# x-headroom-base-url lets its sender choose where the credential goes; x-forwarded-*,
# x-original-* and x-rewrite-* steer other proxies.
_STEERING_PREFIXES: Final = (
    _RELAYS_OWN,
    b"proxy-",
    b"x-forwarded-",
    b"x-original-",
    b"x-rewrite-",
    b"x-headroom-",
)
_NEVER_TO_UPSTREAM: Final = HOP_BY_HOP | CREDENTIALS | _OWN_TO_UPSTREAM
# The agent is no browser and the relay keeps no jar: a cookie would only be a way to track.
# Alt-Svc names another address for the same host, past the relay (RFC 7838).
_NEVER_TO_AGENT: Final = HOP_BY_HOP | {
    *(b"alt-svc", b"content-length", b"set-cookie", b"set-cookie2"),
}
_NEVER_TO_AGENT_PREFIXES: Final = (_RELAYS_OWN, b"proxy-", b"access-control-")


def goes_upstream(key: bytes) -> bool:
    """Whether a field of the agent's with this lower-case name goes upstream."""
    # Servers that map headers to CGI variables cannot tell x_api_key from x-api-key.
    return not (key in _NEVER_TO_UPSTREAM or key.startswith(_STEERING_PREFIXES) or b"_" in key)


def goes_to_agent(key: bytes) -> bool:
    """Whether a field of the upstream's with this lower-case name goes to the agent."""
    return not (key in _NEVER_TO_AGENT or key.startswith(_NEVER_TO_AGENT_PREFIXES))


Crossing = Memo[bool]
"""Which lower-case names of fields cross."""

_TO_AGENT: Final = Crossing(goes_to_agent)


def to_upstream(head: RequestHead, crossing: Crossing) -> list[Field]:
    """Return the agent's fields that go upstream, in order."""
    return _without_named(head, [field for field in head.fields if crossing[field.key]])


def to_agent(head: MessageHead) -> list[Field]:
    """Return the upstream's fields that go to the agent, in order."""
    return _without_named(head, [field for field in head.fields if _TO_AGENT[field.key]])


def _without_named(head: MessageHead, fields: list[Field]) -> list[Field]:
    """Leave out what the sender meant for this hop alone (RFC 9110 §7.6.1)."""
    if named := named_by_connection(head) - HOP_BY_HOP:
        return [field for field in fields if field.key not in named]
    return fields
