"""Connections to an upstream by way of a proxy that tunnels: CONNECT, and TLS within (RFC 9110).

Step by step: a connection to the proxy, TLS with it where its URL says so, CONNECT, and TLS with
the upstream, which is the first to hear of a call. What the proxy answers is read as strictly as
any answer, is believed in nothing but its status, and never goes further than the log. Once a way
is open it is a connection like any other: kept, used again and watched by the pool.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final

from relay.config import UpstreamAddress
from relay.errors import EgressFailed, EgressRefused, RelayError, UpstreamMalformed
from relay.http.message import MessageHead, ResponseHead
from relay.http.parser import ResponseHeadReader
from relay.upstream.client_connection import Connection
from relay.upstream.egress import Egress
from relay.upstream.http1 import INTERIM_LIMIT
from relay.upstream.pool import Pool
from relay.upstream.tls import may_carry_tls
from relay.upstream.tunnel_words import NotOpened, Refused, Step, why_not

# Of 4xx those that say that another time may do.
_PASSING_STATUSES: Final = (408, 425, 429)


class TunnelPool(Pool):
    """Connections to one upstream address by way of one proxy."""

    def __init__(
        self, address: UpstreamAddress, tls: ssl.SSLContext, connect_seconds: float, egress: Egress
    ) -> None:
        super().__init__(address, tls, connect_seconds)
        self._egress = egress
        self._new_tunnel: Callable[[], Tunnel] = lambda: Tunnel(egress, address, tls)

    async def connect(self) -> Connection:
        """Return a new connection to send a request on; one limit is for all steps together.

        Raises:
            CredentialMissing: The proxy's has no value.
            EgressRefused: The proxy refuses, and will.
            EgressFailed: There is no way for another reason.
        """
        await self._egress.settle()
        tunnel = self._new_tunnel()
        try:
            return await self._open_in_time(lambda: self._open_by(tunnel))
        except (NotOpened, OSError, UnicodeError) as error:  # TimeoutError is an OSError
            raise _blamed(error) from why_not(tunnel, error, self._connect_seconds)

    async def _open_by(self, tunnel: Tunnel) -> Connection:
        connection = self._new_connection()
        transport = await tunnel.open(connection)
        connection.connection_made(transport)
        if transport.is_closing():
            raise ConnectionResetError
        self._open_connections.add(connection)
        return connection


def _blamed(error: Exception) -> EgressFailed:
    """Return what the agent is told."""
    if not isinstance(error, Refused):
        return EgressFailed()
    lasting = 400 <= error.head.status < 500 and error.head.status not in _PASSING_STATUSES
    return EgressRefused() if lasting else EgressFailed()


class Tunnel:
    """A way through a proxy in the making; ``step`` is the one that it is at."""

    def __init__(self, egress: Egress, address: UpstreamAddress, tls: ssl.SSLContext) -> None:
        self.egress = egress
        self.address = address
        self.step: Step = "connect"
        self._tls = tls

    @property
    def authority(self) -> str:
        """The host and port that the proxy is asked for: the port is always said."""
        host = f"[{self.address.host}]" if ":" in self.address.host else self.address.host
        return f"{host}:{self.address.port}"

    async def open(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """Return a transport on which TLS with the upstream has begun, for this protocol.

        The protocol is not told of it (``connection_made``). There is no time limit here.

        Raises:
            NotOpened: The proxy does not open a way, or what answers is none.
            OSError, UnicodeError: A step failed otherwise (``ssl.SSLError`` is one).
        """
        transport = await self._ask()
        self.step = "tls"
        may_carry_tls(transport)
        try:
            inner = await asyncio.get_running_loop().start_tls(
                transport, protocol, self._tls, server_hostname=self.address.host
            )
        except BaseException:
            transport.abort()
            raise
        if inner is None:
            raise ConnectionResetError
        return inner

    async def _ask(self) -> asyncio.Transport:
        """Return a transport on which the proxy has opened the way."""
        loop = asyncio.get_running_loop()
        self.step = "connect"
        handle = await self.egress.dialer.connect()
        self.step = "proxy tls" if self.egress.tls else "CONNECT"
        transport, asking = await loop.create_connection(
            _Asking,
            sock=handle,
            ssl=self.egress.tls,
            server_hostname=self.egress.address.host if self.egress.tls else None,
        )
        self.step = "CONNECT"
        try:
            transport.write(self.egress.request(self.authority.encode()))
            self._check(await asking.answer)
        except BaseException:
            transport.abort()
            raise
        return transport

    def _check(self, answer: ResponseHead | NotOpened) -> None:
        if isinstance(answer, NotOpened):
            raise answer
        if answer.status == 407:
            self.egress.refused()
        if not 200 <= answer.status < 300:
            raise Refused(answer)


class _AnswerReader(ResponseHeadReader):
    """Reads the head of an answer to CONNECT, which has no body if the way is open.

    What it says of one does not count then (RFC 9110 §9.3.6), and is not read otherwise.
    """

    def _read_framing(self, _: MessageHead) -> None:
        """Leave it unread."""


class _Asking(asyncio.Protocol):
    """A connection to a proxy until it has answered; then it reads no more."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[ResponseHead | NotOpened] = loop.create_future()
        self._reader = _AnswerReader()
        self._interim_count = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP or TLS: always a full transport
        """Begin."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take a part of the answer."""
        try:
            while self._reader.feed(data):
                data, head = self._reader.rest, self._reader.head()
                if head.status >= 200:
                    self._take(head, data)
                    return
                self._count_interim()
        except RelayError:
            self._end(NotOpened("garbage"))

    def _count_interim(self) -> None:
        self._interim_count += 1
        if self._interim_count > INTERIM_LIMIT:
            raise UpstreamMalformed
        self._reader = _AnswerReader()

    def _take(self, head: ResponseHead, rest: bytes) -> None:
        # The upstream speaks second in TLS: what stands behind a 200 already is the proxy's own.
        if rest and head.status < 300:
            self._end(NotOpened("early data"))
            return
        assert self._transport is not None
        self._transport.pause_reading()  # what comes now is for whoever takes over
        self._end(head)

    def eof_received(self) -> None:
        """Note that there will be no answer."""
        self._end(NotOpened("ended"))

    def connection_lost(self, _: Exception | None) -> None:
        """Note that there will be no answer."""
        self._end(NotOpened("ended"))

    def _end(self, answer: ResponseHead | NotOpened) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)
