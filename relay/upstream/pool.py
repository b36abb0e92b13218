"""Kept connections to one upstream, the making of new ones, and the one retry where that fails.

The last one used is used first. A kept connection is taken only after a look at its
socket: an idle one that has anything to read is closing or confused. So a request is
written only on connections that were open an instant ago, and never twice.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

from relay.config import UpstreamAddress
from relay.errors import UpstreamConnectTimeout, UpstreamUnreachable
from relay.upstream.client_connection import Connection
from relay.upstream.dial import Dialer

# Headroom (uvicorn) closes idle connections after 5.0 s; stay below it.
KEEP_IDLE_SECONDS: Final = 4.0
# A refused connection is tried once more: an upstream that restarts misses only an instant.
RETRY_AFTER_SECONDS: Final = 0.2


class Pool:
    """Connections to one upstream address."""

    def __init__(
        self, address: UpstreamAddress, tls: ssl.SSLContext | None, connect_seconds: float
    ) -> None:
        self._dialer = Dialer(address.host, address.port)
        self._host = address.host
        self._tls = tls
        self._connect_seconds = connect_seconds
        self._idle: list[Connection] = []
        """Those that wait for a call; the one that has waited longest first."""
        self._sweep: asyncio.TimerHandle | None = None
        self._open_connections: set[Connection] = set()
        self._closed = False

    @property
    def idle(self) -> int:
        """Connections that wait for a call."""
        return len(self._idle)

    @property
    def active(self) -> int:
        """Connections that carry a call."""
        return len(self._open_connections) - len(self._idle)

    def take(self) -> Connection | None:
        """Return a kept connection to send a request on, or None where there is none."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_quiet():
                return connection
            connection.abort()
        return None

    async def connect(self) -> Connection:
        """Return a new connection to send a request on.

        Raises:
            UpstreamUnreachable: Name, connect or TLS failed, twice.
            UpstreamConnectTimeout: There was no connection within the limit.
        """
        try:
            return await self._open_in_time(self._open)
        except TimeoutError as error:
            raise UpstreamConnectTimeout from error
        except (OSError, UnicodeError) as error:
            raise UpstreamUnreachable from error

    async def _open_in_time(self, open_one: Callable[[], Awaitable[Connection]]) -> Connection:
        async with asyncio.timeout(self._connect_seconds):
            try:
                return await open_one()
            except (socket.gaierror, ssl.SSLError):
                raise
            except OSError:
                await asyncio.sleep(RETRY_AFTER_SECONDS)
                return await open_one()

    async def _open(self) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            self._new_connection,
            sock=await self._dialer.connect(),
            ssl=self._tls,
            server_hostname=self._host if self._tls else None,
        )
        self._open_connections.add(connection)
        return connection

    def _new_connection(self) -> Connection:
        return Connection(self._keep, self._forget)

    def _keep(self, connection: Connection) -> None:
        if self._closed:
            connection.abort()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep_in(KEEP_IDLE_SECONDS)

    def _sweep_in(self, seconds: float) -> None:
        self._sweep = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        """Close the connections that have waited too long; come back when the next will have."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            wait = self._idle[0].idle_since + KEEP_IDLE_SECONDS - now
            if wait > 0:
                self._sweep_in(wait)
                return
            self._drop(self._idle[0])
        self._sweep = None

    def _drop(self, connection: Connection) -> None:
        self._forget(connection)
        connection.abort()

    def _forget(self, connection: Connection) -> None:
        """Note that a connection is gone, idle or not."""
        self._open_connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def close(self) -> None:
        """Close the idle connections; those in use close when their call ends."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        while self._idle:
            self._drop(self._idle[-1])
