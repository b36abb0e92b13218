"""Where the credential goes into a request, and what else its grant and API need.

After everything of the agent's that could pass for a credential went out: upstream there is
exactly one, with exactly the configured value. Towards an LLM proxy a pass goes in its place, in
the same form (``chain``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from relay.config import FurtherHeader, GrantSettings
from relay.http.coding import restrict
from relay.http.grammar import Field
from relay.http.headers import field, list_items, merge_list
from relay.http.memo import Memo
from relay.http.message import RequestHead
from relay.proxy.header_policy import Crossing, goes_upstream, to_upstream

_BETA: Final = b"anthropic-beta"
_VERSION: Final = field(b"anthropic-version", b"2023-06-01")
_ACCEPT_ENCODING: Final = b"accept-encoding"

_restricted: Final = Memo(restrict)


class Injection:
    """How one grant's credential goes into a request.

    ``extra`` are the names of further fields that are set, in place of the agent's.
    """

    def __init__(
        self, grant: GrantSettings, *, anthropic: bool, extra: Iterable[bytes] = ()
    ) -> None:
        self._grant = grant
        self._anthropic = anthropic
        added = {name.lower() for name, _ in grant.add if name.lower() != _BETA}
        added |= {name.lower() for name in extra}
        replaced = grant.header_names | grant.remove | added
        self._crossing = Crossing(lambda key: goes_upstream(key) and key not in replaced)
        self._betas = [v for n, value in grant.add if n.lower() == _BETA for v in list_items(value)]
        self._added = [field(name, v) for name, v in grant.add if name.lower() != _BETA]
        self._forms = [
            (each.name, each.prefix, each.suffix)
            for each in (
                FurtherHeader(grant.header, grant.field, grant.prefix, grant.suffix),
                *grant.further,
            )
        ]
        self._credential: Sequence[bytes] = ()
        self._fields: list[Field] = []

    def apply(
        self, head: RequestHead, credential: Sequence[bytes], extra: Sequence[Field] = ()
    ) -> list[Field]:
        """Return the fields that go upstream: with exactly one credential, and what it needs.

        The credential is followed by what goes into the grant's further headers; what stands in its
        place at an LLM proxy has none of that. Nothing is for whom nothing is meant to be one.
        """
        fields = to_upstream(head, self._crossing)
        if self._betas or (self._anthropic and len(head.values(_BETA)) > 1):
            fields = merge_list(fields, _BETA, self._betas)
        if self._anthropic and _VERSION.key not in [field.key for field in fields]:
            fields.append(_VERSION)
        if [v for v in head.values(_ACCEPT_ENCODING) if _restricted[v] != v]:
            fields = [_readable(f) if f.key == _ACCEPT_ENCODING else f for f in fields]
        return [*fields, *self._added, *extra, *self._credential_fields(credential)]

    def _credential_fields(self, credential: Sequence[bytes]) -> list[Field]:
        if credential != self._credential:
            self._credential = credential
            self._fields = [
                field(name, prefix + value + suffix)
                for (name, prefix, suffix), value in zip(self._forms, credential, strict=False)
            ]
        return self._fields


def _readable(accepted: Field) -> Field:
    """Return an Accept-Encoding that asks for nothing that the meter could not read."""
    return field(accepted.name, _restricted[accepted.value])
