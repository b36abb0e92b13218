"""One authenticated request to an upstream, up to the response's head.

The credential is bound to the relay and goes in here, after everything of the agent's that
could pass for one went out. What can be prepared once per relay is: the Host line and the
names to drop. An answer that must not reach the agent becomes an error here.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

from relay.config import RelaySettings, Timeouts
from relay.credentials.credential import Credential
from relay.errors import CredentialMissing, UpstreamRedirected
from relay.http.headers import serialize
from relay.http.message import RequestHead, ResponseHead
from relay.proxy.credential_injection import Injection
from relay.proxy.routing import Target
from relay.upstream.interface import Body, Limits, Reply
from relay.upstream.pool import Pool
from relay.upstream.tls import tls_context

_NOT_MODIFIED: Final = 304
_UNAUTHORIZED: Final = 401


class Timing(Protocol):
    """Where a forwarder notes when things happened, on ``time.perf_counter``'s clock."""

    waited: float
    """Seconds until there was a connection."""
    sent_at: float | None
    """When the request's head went out."""


class Forwarder:
    """Forwards the calls of one relay."""

    def __init__(self, relay: RelaySettings, credential: Credential, timeouts: Timeouts) -> None:
        self.credential = credential
        self._prefix = relay.upstream.prefix
        self._host_line = b"Host: %b\r\n" % relay.upstream.authority
        self._injection = Injection(relay.grant, anthropic=relay.api == "anthropic")
        self._limits = Limits(timeouts.headers, timeouts.idle, timeouts.write)
        self._pool = Pool(relay.upstream, tls_context(relay), timeouts.connect)

    async def take_credential(self) -> bytes:
        """Return the credential's value; raise CredentialMissing where there is none."""
        value = self.credential.value()
        if value is None:
            await self.credential.settle()
            value = self.credential.value()
        if value is None:
            raise CredentialMissing
        return value

    async def forward(
        self, head: RequestHead, target: Target, credential: bytes, body: Body, timing: Timing
    ) -> Reply:
        """Send the request; return the reply once its head is there.

        Raises:
            UpstreamError: There is none.
        """
        request = self._prepare(head, target, credential)
        asked_at = time.perf_counter()
        connection = self._pool.take() or await self._pool.connect()
        timing.waited = time.perf_counter() - asked_at
        answer = connection.begin(request, body, self._limits, bodiless=head.method == b"HEAD")
        timing.sent_at = time.perf_counter()
        reply = await answer
        if reply.head.status == _UNAUTHORIZED:
            self.credential.refused()
        return reply

    def _prepare(self, head: RequestHead, target: Target, credential: bytes) -> bytes:
        fields = self._injection.apply(head, credential)
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
        """How many connections to the upstream are idle, and how many are in use."""
        return self._pool.idle, self._pool.active

    def close(self) -> None:
        """Close the kept connections; those in use close with their call."""
        self._pool.close()


def _framing_line(head: RequestHead) -> bytes:
    if head.chunked:
        return b"Transfer-Encoding: chunked\r\n"
    return b"" if head.length is None else b"Content-Length: %d\r\n" % head.length


def check_reply(head: ResponseHead) -> None:
    """Raise UpstreamRedirected for an answer that must not reach the agent."""
    if 300 <= head.status < 400 and head.status != _NOT_MODIFIED:
        raise UpstreamRedirected(head.status)
