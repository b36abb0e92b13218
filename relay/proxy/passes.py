"""What LLM proxies get in the credential's place, and what they must show when they come back.

Two things together say which call in flight a return belongs to: the pass, which is of a client,
and the id, which is of one call and one hop. Both are random and worth nothing anywhere else, nor
here once the call is over. Passes of clients last as long as the process, for hops key their
caches and limits by the credential; so this outlives configurations.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

from relay.config import BUILT_IN_GRANTS, GrantSettings
from relay.errors import PassRefused
from relay.http.message import RequestHead
from relay.proxy.access import presented_tokens

if TYPE_CHECKING:
    from relay.proxy.chain import HopCall

CALL_ID: Final = b"X-Relay-Call"
"""The header that says which call, and at which hop."""
PASS_BITS: Final = 128
"""What a pass that comes from a source must hold at least, as its own passes do."""

_ID_KEY: Final = CALL_ID.lower()
_RANDOM_BYTES: Final = 32  # 43 characters


class HopPlace(NamedTuple):
    """A hop of a relay, by their names."""

    relay: str
    hop: str

    def __str__(self) -> str:
        return f"hop {self.hop} of relay {self.relay}"


def new_id() -> bytes:
    """Return an id for one call at one hop: 128 random bits."""
    return secrets.token_hex(PASS_BITS // 8).encode()


def new_pass(grant: str) -> bytes:
    """Return a pass in the shape of a grant's credential.

    Headroom, among others, decides by its beginning what a credential is.
    """
    beginning = BUILT_IN_GRANTS[grant].beginning if grant in BUILT_IN_GRANTS else ""
    return (beginning + secrets.token_urlsafe(_RANDOM_BYTES)).encode()


def is_strong(value: bytes) -> bool:
    """Whether a pass that was chosen by somebody else can hold 128 bits."""
    digits = all(byte in b"0123456789abcdefABCDEF-" for byte in value)
    return len(value) * (4 if digits else 6) >= PASS_BITS


class Passes:
    """The passes of all clients, and the calls in flight by what they are known by."""

    def __init__(self) -> None:
        self._of_clients: dict[tuple[str, HopPlace, str], bytes] = {}
        """By client, place and grant."""
        self._by_id: dict[tuple[HopPlace, bytes], HopCall] = {}
        self._by_pass: dict[tuple[HopPlace, bytes], HopCall] = {}
        """Of hops whose passes are of one call each."""

    def __repr__(self) -> str:
        return f"<Passes {len(self._by_id)} calls>"

    def of_client(self, client: str, place: HopPlace, grant: str) -> bytes:
        """Return the pass of a client at a hop: the same until the process ends."""
        key = (client, place, grant)
        if key not in self._of_clients:
            self._of_clients[key] = new_pass(grant)
        return self._of_clients[key]

    def expect(self, call: HopCall) -> None:
        """Let returns of a call in flight come from a hop."""
        self._by_id[call.place, call.id] = call
        if call.is_known_by_pass:
            self._by_pass[call.place, call.pass_] = call

    def forget(self, call: HopCall) -> None:
        """Let no return of a call come from a hop any more."""
        self._by_id.pop((call.place, call.id), None)
        if call.is_known_by_pass:
            self._by_pass.pop((call.place, call.pass_), None)

    def find(self, place: HopPlace, head: RequestHead, grant: GrantSettings | None) -> HopCall:
        """Return the call in flight that a return belongs to.

        A pass may stand where the call's grant has it; ``grant`` is the relay's by now.

        Raises:
            PassRefused: None owns it, whatever else is right about it.
        """
        ids = {value for value in head.values(_ID_KEY) if value}
        if len(ids) > 1:
            raise PassRefused("wrong")
        if not ids:
            return self._find_by_pass(place, self._shown(place, head, grant))
        call = self._by_id.get((place, ids.pop()))
        if call is None:
            raise PassRefused("over")
        shown = presented_tokens(head, call.grant)
        if not shown:
            raise PassRefused("none")
        if not all(_is_same(each, call.expected_pass()) for each in shown):
            raise PassRefused("wrong")
        return call

    def _shown(
        self, place: HopPlace, head: RequestHead, grant: GrantSettings | None
    ) -> set[bytes | None]:
        """Return what could be a pass: a reload may have given the relay another grant."""
        if shown := presented_tokens(head, grant):
            return set(shown)
        others = [each.grant for (at, _), each in self._by_pass.items() if at == place]
        return {each for other in others for each in presented_tokens(head, other)}

    def _find_by_pass(self, place: HopPlace, shown: set[bytes | None]) -> HopCall:
        if not shown:
            raise PassRefused("none")
        if len(shown) > 1:
            raise PassRefused("wrong")  # one pass is right at most: nothing is compared with all
        (value,) = shown
        call = self._by_pass.get((place, value or b""))
        if call is None:
            raise PassRefused("no id" if self._owns(place, value) else "wrong")
        return call

    def _owns(self, place: HopPlace, shown: bytes | None) -> bool:
        """Whether a pass is right, and says only whose a call is."""
        passes = [each for key, each in self._of_clients.items() if key[1] == place]
        passes += [each.expected_pass() for key, each in self._by_id.items() if key[0] == place]
        return any(_is_same(shown, right) for right in passes)


def _is_same(shown: bytes | None, right: bytes) -> bool:
    return bool(shown and right) and hmac.compare_digest(shown or b"", right)
