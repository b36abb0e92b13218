"""Which headers cross the relay, in each direction, and where the credential goes in.

What is not named here crosses unchanged, in order and in its own spelling: headers that
nobody has heard of yet included. Dropped are the hop-by-hop ones (RFC 9110 §7.6.1), those
that authenticate the agent to the relay, those that would steer a proxy behind the relay
or lead the agent past it, those in the relay's own name, and the framing, which each side states
anew.
"""

from __future__ import annotations

from typing import Final

from relay.config import GrantSettings
from relay.http.coding import restrict
from relay.http.grammar import CREDENTIALS, Field
from relay.http.headers import HOP_BY_HOP, field, list_items, merge_list, named_by_connection
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
_BETA: Final = b"anthropic-beta"
_VERSION: Final = field(b"anthropic-version", b"2023-06-01")
_ACCEPT_ENCODING: Final = b"accept-encoding"


def goes_upstream(key: bytes) -> bool:
    """Whether a field of the agent's with this lower-case name goes upstream."""
    # Servers that map headers to CGI variables cannot tell x_api_key from x-api-key.
    return not (key in _NEVER_TO_UPSTREAM or key.startswith(_STEERING_PREFIXES) or b"_" in key)


def goes_to_agent(key: bytes) -> bool:
    """Whether a field of the upstream's with this lower-case name goes to the agent."""
    return not (key in _NEVER_TO_AGENT or key.startswith(_NEVER_TO_AGENT_PREFIXES))


Crossing = Memo[bool]
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


_restricted: Final = Memo(restrict)


class Injection:
    """How one grant's credential goes into a request."""

    def __init__(self, grant: GrantSettings, *, anthropic: bool) -> None:
        self._grant = grant
        self._anthropic = anthropic
        added = {name.lower() for name, _ in grant.add if name.lower() != _BETA}
        replaced = frozenset({grant.header.lower()} | grant.remove | added)
        self._crossing = Crossing(lambda key: goes_upstream(key) and key not in replaced)
        self._betas = [v for n, value in grant.add if n.lower() == _BETA for v in list_items(value)]
        self._added = [field(name, v) for name, v in grant.add if name.lower() != _BETA]
        self._credential, self._field = b"", field(grant.header, b"")

    def apply(self, head: RequestHead, credential: bytes) -> list[Field]:
        """Return the fields that go upstream: with exactly one credential, and what it needs."""
        fields = to_upstream(head, self._crossing)
        if self._betas or (self._anthropic and len(head.values(_BETA)) > 1):
            fields = merge_list(fields, _BETA, self._betas)
        if self._anthropic and _VERSION.key not in [field.key for field in fields]:
            fields.append(_VERSION)
        if [v for v in head.values(_ACCEPT_ENCODING) if _restricted[v] != v]:
            fields = [_readable(f) if f.key == _ACCEPT_ENCODING else f for f in fields]
        return [*fields, *self._added, self._credential_field(credential)]

    def _credential_field(self, credential: bytes) -> Field:
        if credential != self._credential:
            grant = self._grant
            value = grant.prefix + credential + grant.suffix
            self._credential, self._field = credential, field(grant.header, value)
        return self._field


def _readable(accepted: Field) -> Field:
    """Return an Accept-Encoding that asks for nothing that the meter could not read."""
    return field(accepted.name, _restricted[accepted.value])
