"""Whether the upstreams can be reached: known from calls, and from a bare connect without them.

Where a proxy is on the way out, that is who is connected to; nothing is asked of it, since a
credential that it refuses every few seconds locks an account.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from typing import Final

from relay.config import HopSettings, RelaySettings
from relay.errors import (
    RelayError,
    UpstreamConnectTimeout,
    UpstreamError,
    UpstreamUnreachable,
)
from relay.upstream.dial import NO_DESCRIPTOR, Dialer, reaches
from relay.upstream.tunnel_words import NoWay

PROBE_SECONDS: Final = 5.0
"""How old a call's news may be, and how often the connect is tried without any."""

TLS_FAILED: Final = "TLS failed"


class UpstreamState:
    """The last that is known of one relay's upstream, or of a hop."""

    def __init__(self, peer: RelaySettings | HopSettings, connect_seconds: float) -> None:
        self.up: bool | None = None
        self.reason = ""
        """Why there was no connection, where more is known than that nothing answers."""
        self._address = peer.upstream
        egress = peer.egress if isinstance(peer, RelaySettings) else None
        self._proxy = None if egress is None else egress.proxy
        first = self._proxy or peer.upstream
        self._dialer = Dialer(first.host, first.port)
        self._beyond_connect = False
        """Whether what failed would not show in a bare connect: then only a call can mend it."""
        self._connect_seconds = min(connect_seconds, PROBE_SECONDS)
        self._known_at = float("-inf")

    def answered(self) -> None:
        """A call got a response's head."""
        self._know(up=True)

    def failed(self, error: RelayError) -> None:
        """A call failed: before it reached the upstream, or there."""
        if isinstance(error, UpstreamUnreachable | UpstreamConnectTimeout):
            cause = error.__cause__
            if isinstance(cause, NoWay):
                self._know(up=False, reason=str(cause), beyond=cause.beyond_connect)
            else:
                beyond = isinstance(cause, ssl.SSLError)
                self._know(up=False, reason=explain(error), beyond=beyond)
        elif isinstance(error, UpstreamError):
            self._know(up=True)

    def _know(self, *, up: bool, reason: str = "", beyond: bool = False) -> None:
        self.up = up
        self._beyond_connect = beyond
        self.reason = reason
        self._known_at = time.monotonic()

    async def watch(self) -> None:
        """Try a bare connect whenever no call has said anything for a while."""
        while True:
            wait = self._known_at + PROBE_SECONDS - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
                continue
            reached = await reaches(self._dialer, self._connect_seconds)
            if reached is None:  # nothing was learnt
                self._known_at = time.monotonic()
                continue
            up = reached and not self._beyond_connect
            self._know(up=up, reason="" if up else self.reason, beyond=self._beyond_connect)

    @property
    def problem(self) -> str:
        """Return what is wrong while it is down, for the log; else nothing."""
        if self.up is not False:
            return ""
        if not self.reason and self._proxy is not None:
            where = f"{self._proxy}, the proxy on the way to {self._address}"
            return f"nothing answers at {where}; calls get 502 until something does"
        if not self.reason:
            return f"nothing answers at {self._address}; calls get 502 until something does"
        return f"{self._address} cannot be reached: {self.reason}; calls fail until that is mended"


def explain(error: RelayError) -> str:
    """Return why there is no connection, or nothing where nobody answered."""
    cause = error.__cause__
    if isinstance(error, UpstreamConnectTimeout):
        return "no connection in time"
    if isinstance(cause, ssl.SSLCertVerificationError):
        reason = getattr(cause, "verify_message", "unknown")  # only a handshake sets it
        return f"{TLS_FAILED}, the certificate is not accepted: {reason}"
    if isinstance(cause, ssl.SSLError):
        return f"{TLS_FAILED}: {(cause.reason or 'no handshake').replace('_', ' ').lower()}"
    if isinstance(cause, socket.gaierror):
        return f"the name has no address: {(cause.strerror or 'unknown').lower()}"
    if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
        return NO_DESCRIPTOR
    return ""
