"""ExtraHeaders whose values come from sources: what a hop or an API wants beside the credential."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from relay.config import HeaderSettings
from relay.credentials.credential import Credential
from relay.errors import CredentialMissing
from relay.http.grammar import Field
from relay.http.headers import field


class ExtraHeaders:
    """The declared headers of one hop or one relay, with their current values."""

    def __init__(self, settings: Sequence[HeaderSettings]) -> None:
        self._sources = [
            (each.name, Credential(each.name.decode("ascii"), each.sources)) for each in settings
        ]
        self.names = frozenset(each.name.lower() for each in settings)
        """In lower case."""

    @property
    def credentials(self) -> Iterator[Credential]:
        """The sources of the values."""
        return (credential for _, credential in self._sources)

    async def settle(self) -> None:
        """Wait for the first readings; raise CredentialMissing where there is still no value."""
        for _, credential in self._sources:
            if credential.value() is None:
                await credential.settle()
            if credential.value() is None:
                raise CredentialMissing

    def fields(self, without: bytes = b"") -> list[Field]:
        """Return the fields that are set now; ``without`` leaves out one name, in lower case."""
        return [
            field(name, value)
            for name, credential in self._sources
            if name.lower() != without and (value := credential.value()) is not None
        ]

    def value(self, key: bytes) -> bytes | None:
        """Return the current value of the header with this lower-case name, if it is declared."""
        found = (credential for name, credential in self._sources if name.lower() == key)
        return next((credential.value() for credential in found), None)
