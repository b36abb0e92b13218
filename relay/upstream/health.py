"""Whether the upstreams can be reached: known from calls, and from a bare connect without them.

Where a proxy is on the way out, that is who is connected to; nothing is asked of it, since a
credential that it refuses every few seconds locks an account.
"""

from __future__ import annotations

import asyncio
import errno
import os
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
from relay.upstream.dial import NO_DESCRIPTOR, Dialer, reach
from relay.upstream.tls import what_tls_says
from relay.upstream.tunnel_words import NoWay

PROBE_SECONDS: Final = 5.0
"""How old a call's news may be, and how often the connect is tried without any."""

TLS_FAILED: Final = "TLS failed"
_LATE: Final = "no connection in time"
_NOTHING: Final = "calls get 502 until something does"


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
            if isinstance(cause, NoWay) and cause.unconnected is not None:
                self._know(up=False, reason=self._of_first(_why(cause.unconnected)))
            elif isinstance(cause, NoWay):
                self._know(up=False, reason=str(cause), beyond=True)
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
            await self._try()

    async def _try(self) -> None:
        try:
            await reach(self._dialer, self._connect_seconds)
        except (OSError, UnicodeError) as error:
            reason = _why(error)
            if reason == NO_DESCRIPTOR:  # nothing was learnt
                self._known_at = time.monotonic()
                return
            self._know(up=False, reason=self._of_first(reason))
            return
        # What failed beyond a connect, as TLS, only a call can mend.
        up = not self._beyond_connect
        self._know(up=up, reason="" if up else self.reason, beyond=self._beyond_connect)

    def _of_first(self, reason: str) -> str:
        """Return why there is no connection, as of the proxy where that is who was not reached."""
        if self._proxy is None or reason in ("", NO_DESCRIPTOR):
            return reason
        return f"the proxy {self._proxy}: {reason}"

    @property
    def _asked(self) -> str:
        if self._proxy is None:
            return str(self._address)
        return f"{self._proxy}, the proxy on the way to {self._address}"

    @property
    def fault(self) -> str:
        """Return why there is no connection while it is down; else nothing."""
        if self.up is not False:
            return ""
        if not self.reason:
            return f"nothing answers at {self._asked}"
        return f"{self._address} cannot be reached: {self.reason}"

    @property
    def problem(self) -> str:
        """Return what is wrong while it is down, for the log; else nothing."""
        if not self.fault:
            return ""
        until = "calls fail until that is mended" if self.reason else _NOTHING
        return f"{self.fault}; {until}"


def explain(error: RelayError) -> str:
    """Return why there is no connection, or nothing where nobody answered."""
    if isinstance(error, UpstreamConnectTimeout):
        return _LATE
    return _why(error.__cause__)


def _why(cause: BaseException | None) -> str:
    """Return what an error says of a connection that was not made; nothing, if it was refused."""
    if isinstance(cause, TimeoutError):
        return _LATE
    if isinstance(cause, ssl.SSLError):
        return f"{TLS_FAILED}{what_tls_says(cause)}"
    if isinstance(cause, socket.gaierror | UnicodeError):
        reason = getattr(cause, "strerror", None) or "it cannot be one"
        return f"the name has no address: {reason.lower()}"
    number = cause.errno if isinstance(cause, OSError) else None
    if number in (errno.EMFILE, errno.ENFILE):
        return NO_DESCRIPTOR
    return os.strerror(number).lower() if number not in (None, errno.ECONNREFUSED) else ""
