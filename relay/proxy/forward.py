"""One authenticated request to an upstream, up to the response's head.

The credential is bound to the relay and goes in here, after everything of the agent's that
could pass for one went out. What can be prepared once per relay is: the Host line and the
names to drop. An answer that must not reach the agent becomes an error here.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Iterable, Sequence
from typing import Final

from relay.config import HopSettings, RelaySettings, Timeouts
from relay.credentials.credential import Credential
from relay.errors import CredentialMissing, UpstreamRedirected
from relay.http.grammar import Field
from relay.http.headers import serialize
from relay.http.message import RequestHead, ResponseHead
from relay.proxy.credential_injection import Injection
from relay.proxy.extra_headers import ExtraHeaders
from relay.proxy.routing import Target
from relay.telemetry.call import CallRecord
from relay.upstream.client_connection import Connection
from relay.upstream.egress import Egress
from relay.upstream.interface import Body, Patience, Reply, TimeLimits
from relay.upstream.pool import Pool
from relay.upstream.tls import tls_context
from relay.upstream.tunnel import TunnelPool

_NOT_MODIFIED: Final = 304
_UNAUTHORIZED: Final = 401


class Sender:
    """Sends prepared requests to one address: of an API, or of an LLM proxy on the way to it."""

    def __init__(
        self,
        peer: RelaySettings | HopSettings,
        timeouts: Timeouts,
        egress: Egress | None = None,
    ) -> None:
        self._prefix = peer.upstream.prefix
        self._host_line = b"Host: %b\r\n" % peer.upstream.authority
        self._limits = TimeLimits(timeouts.headers, timeouts.idle, timeouts.write)
        self._pool = _pool(peer, timeouts.connect, egress)

    async def connect(self, record: CallRecord) -> Connection:
        """Return a connection to send a request on.

        Raises:
            UpstreamError: There is none. Nothing has been written.
        """
        asked_at = time.perf_counter()
        try:
            return self._pool.take() or await self._pool.connect()
        finally:
            record.waited += time.perf_counter() - asked_at

    def send(
        self,
        connection: Connection,
        request: bytes,
        body: Body,
        record: CallRecord,
        patience: Patience | None = None,
        *,
        bodiless: bool,
    ) -> Awaitable[Reply]:
        """Send a prepared request at once; return what waits for the reply, once its head is there.

        Raises:
            UpstreamError: There is none.
        """
        answer = connection.begin(request, body, self._limits, patience, bodiless=bodiless)
        record.sent_at = time.perf_counter()
        return answer

    def prepare(self, head: RequestHead, target: Target, fields: Iterable[Field]) -> bytes:
        """Return a request's head as it goes out, with these fields in place of the agent's."""
        return b"%b %b%b%b HTTP/1.1\r\n%b%b%b\r\n" % (
            head.method,
            self._prefix,
            target.rest,
            target.query,
            self._host_line,
            serialize(fields),
            _framing_line(head),
        )

    @property
    def connections(self) -> tuple[int, int]:
        """How many connections are idle, and how many are in use."""
        return self._pool.idle, self._pool.active

    def close(self) -> None:
        """Close the kept connections; those in use close with their call."""
        self._pool.close()


class Forwarder(Sender):
    """Forwards the calls of one relay to its API, with the credential."""

    def __init__(
        self,
        relay: RelaySettings,
        credential: Credential,
        timeouts: Timeouts,
        egress: Egress | None = None,
    ) -> None:
        super().__init__(relay, timeouts, egress)
        self.credential = credential
        self._egress = egress
        self.headers = ExtraHeaders(relay.headers)
        self._injection = Injection(
            relay.grant, anthropic=relay.api == "anthropic", extra=self.headers.names
        )

    async def take_credential(self) -> Sequence[bytes]:
        """Return the credential's value, and what goes into its grant's further headers.

        Raises:
            CredentialMissing: It has none, or a header that has a source has none.
        """
        values = self.credential.values()
        if values is None:
            await self.credential.settle()
            values = self.credential.values()
        if values is None:
            raise CredentialMissing
        await self.headers.settle()
        return values

    async def settle_egress(self) -> None:
        """Raise CredentialMissing where the proxy on the way out wants one that has no value."""
        if self._egress is not None:
            await self._egress.settle()

    async def forward(
        self,
        head: RequestHead,
        target: Target,
        credential: Sequence[bytes],
        body: Body,
        record: CallRecord,
    ) -> Reply:
        """Send the request; return the reply once its head is there.

        Raises:
            UpstreamError: There is none.
        """
        fields = self._injection.apply(head, credential, self.headers.fields())
        request = self.prepare(head, target, fields)
        connection = await self.connect(record)
        bodiless = head.method == b"HEAD"
        reply = await self.send(connection, request, body, record, bodiless=bodiless)
        if reply.head.status == _UNAUTHORIZED:
            self.credential.refused()
        return reply


def _pool(peer: RelaySettings | HopSettings, connect_seconds: float, egress: Egress | None) -> Pool:
    """Return the connections to an address: straight, or by way of a proxy."""
    tls = tls_context(peer)
    if egress is None:
        return Pool(peer.upstream, tls, connect_seconds)
    assert tls is not None, "a proxy is on the way to https alone"
    return TunnelPool(peer.upstream, tls, connect_seconds, egress)


def _framing_line(head: RequestHead) -> bytes:
    if head.chunked:
        return b"Transfer-Encoding: chunked\r\n"
    return b"" if head.length is None else b"Content-Length: %d\r\n" % head.length


def check_reply(head: ResponseHead) -> None:
    """Raise UpstreamRedirected for an answer that must not reach the agent."""
    if 300 <= head.status < 400 and head.status != _NOT_MODIFIED:
        raise UpstreamRedirected(head.status)
