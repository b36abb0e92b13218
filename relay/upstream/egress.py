"""One proxy on the way out at work: how it is reached, and what it is told of who asks.

Its credential is taken each time a way is asked for, so that a file may change meanwhile. Knows
nothing of what goes through.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

from relay.config import EgressSettings, RelaySettings, UpstreamAddress
from relay.credentials.credential import Credential
from relay.credentials.shape import Remark, remarks
from relay.errors import CredentialMissing
from relay.upstream.dial import Dialer
from relay.upstream.tls import proxy_tls_context


class Egress:
    """A proxy that opens ways out by CONNECT."""

    def __init__(self, settings: EgressSettings) -> None:
        self.settings = settings
        self.dialer = Dialer(settings.proxy.host, settings.proxy.port)
        self.tls = proxy_tls_context(settings)
        self.credential = Credential("egress", settings.sources) if settings.sources else None

    def __repr__(self) -> str:
        return f"<Egress {self.settings.proxy}>"

    @property
    def address(self) -> UpstreamAddress:
        """Where it listens."""
        return self.settings.proxy

    async def look(self) -> None:
        """Wait for a first reading of its credential."""
        if self.credential is not None and self.credential.value() is None:
            await self.credential.settle()

    async def settle(self) -> None:
        """Wait for a first reading of its credential; raise CredentialMissing without a value."""
        await self.look()
        if self.credential is not None and not self.credential.ready:
            raise CredentialMissing

    def request(self, authority: bytes) -> bytes:
        """Return what asks for a way to a host and port (RFC 9110 §9.3.6, RFC 7617 §2)."""
        value = None if self.credential is None else self.credential.value()
        line = b"" if value is None else b"Proxy-Authorization: Basic %b\r\n" % _encoded(value)
        return b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (authority, authority, line)

    def refused(self) -> None:
        """Have the credential read again, for the proxy did not take it."""
        if self.credential is not None:
            self.credential.refused()

    def close(self) -> None:
        """Stop what runs in the background for its credential."""
        if self.credential is not None:
            self.credential.close()

    @property
    def remarks(self) -> list[Remark]:
        """What is wrong with its credential by the looks of it."""
        if self.credential is None:
            return []
        reading = self.credential.reading
        found = remarks(reading, self.credential.name)
        if reading.value is not None and ":" not in reading.value:
            found.append(Remark("has no colon", "write user:password there"))
        return found

    @property
    def secrets(self) -> Iterator[bytes]:
        """Yield what no text may hold, the longest first."""
        value = None if self.credential is None else self.credential.value()
        if value is not None:
            yield _encoded(value)
            yield value
            yield from filter(None, [value.partition(b":")[2]])


def _encoded(value: bytes) -> bytes:
    return base64.b64encode(value)


def egress_of(relay: RelaySettings) -> Egress | None:
    """Return a relay's way out, of its own; None where it is straight."""
    return None if relay.egress is None else Egress(relay.egress)
