"""One authenticated request to an upstream, up to the response's head.

The credential is bound to the relay and goes in here, after everything of the agent's that
could pass for one went out. What can be prepared once per relay is: the Host line and the
names to drop. An answer that must not reach the agent becomes an error here.
"""

from __future__ import annotations

import ssl
from typing import Final

from relay.config import GrantSettings, RelaySettings, Timeouts
from relay.credentials import Credential
from relay.errors import CredentialMissing, UpstreamRedirected
from relay.framing import Field, RequestHead, ResponseHead
from relay.headers import field, list_items, merge_list, serialize, to_upstream
from relay.pool import Pool
from relay.routing import Target
from relay.sending import Body, Limits, Reply

_BETA: Final = b"anthropic-beta"
_VERSION: Final = field(b"anthropic-version", b"2023-06-01")
_NOT_MODIFIED: Final = 304
_UNAUTHORIZED: Final = 401


class Injection:
    """How one grant's credential goes into a request."""

    def __init__(self, grant: GrantSettings, *, anthropic: bool) -> None:
        self._grant = grant
        self._anthropic = anthropic
        added = {name.lower() for name, _ in grant.add if name.lower() != _BETA}
        self._replaced = frozenset({grant.header.lower()} | grant.remove | added)
        self._betas = [v for n, value in grant.add if n.lower() == _BETA for v in list_items(value)]
        self._added = [field(name, v) for name, v in grant.add if name.lower() != _BETA]

    def apply(self, fields: list[Field], credential: bytes) -> list[Field]:
        """Return the fields with exactly one credential, and what its grant asks for."""
        fields = [field for field in fields if field.key not in self._replaced]
        if self._anthropic or self._betas:
            fields = merge_list(fields, _BETA, self._betas)
        if self._anthropic and not any(field.key == _VERSION.key for field in fields):
            fields.append(_VERSION)
        grant = self._grant
        value = grant.prefix + credential + grant.suffix
        return [*fields, *self._added, field(grant.header, value)]


class Forwarder:
    """Forwards the calls of one relay."""

    def __init__(self, relay: RelaySettings, credential: Credential, timeouts: Timeouts) -> None:
        self.credential = credential
        self._prefix = relay.upstream.prefix
        self._host_line = b"Host: %b\r\n" % relay.upstream.authority
        self._injection = Injection(relay.grant, anthropic=relay.api == "anthropic")
        self._limits = Limits(timeouts.headers, timeouts.idle, timeouts.write)
        tls = ssl.create_default_context(cafile=relay.ca_file) if relay.upstream.tls else None
        if tls is not None:
            tls.set_alpn_protocols(["http/1.1"])
        self._pool = Pool(relay.upstream, tls, timeouts.connect)

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
        self, head: RequestHead, target: Target, credential: bytes, body: Body
    ) -> Reply:
        """Send the request; return the reply once its head is there and may be passed on.

        Raises:
            UpstreamError: There is no such reply.
        """
        connection = await self._pool.acquire()
        request = self._prepare(head, target, credential)
        bodiless = head.method == b"HEAD"
        reply = await connection.send(request, body, self._limits, bodiless=bodiless)
        if reply.head.status == _UNAUTHORIZED:
            self.credential.refused()
        if _is_redirect(reply.head):
            reply.close()
            raise UpstreamRedirected(reply.head.status)
        return reply

    def _prepare(self, head: RequestHead, target: Target, credential: bytes) -> bytes:
        fields = self._injection.apply(to_upstream(head), credential)
        return b"%b %b%b%b HTTP/1.1\r\n%b%b%b\r\n" % (
            head.method,
            self._prefix,
            target.rest,
            target.query,
            self._host_line,
            serialize(fields),
            _framing_line(head),
        )

    def close(self) -> None:
        """Close the kept connections; those in use close with their call."""
        self._pool.close()


def _framing_line(head: RequestHead) -> bytes:
    if head.chunked:
        return b"Transfer-Encoding: chunked\r\n"
    return b"" if head.length is None else b"Content-Length: %d\r\n" % head.length


def _is_redirect(head: ResponseHead) -> bool:
    return 300 <= head.status < 400 and head.status != _NOT_MODIFIED
