"""Whether the upstreams can be reached: known from calls, and from a bare connect without them."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from relay.config import RelaySettings
from relay.errors import (
    RelayError,
    UpstreamConnectTimeout,
    UpstreamError,
    UpstreamUnreachable,
)
from relay.pool import reach

PROBE_SECONDS: Final = 5.0
"""How old a call's news may be, and how often the connect is tried without any."""


class UpstreamState:
    """The last that is known of one relay's upstream."""

    def __init__(self, relay: RelaySettings, connect_seconds: float) -> None:
        self.up: bool | None = None
        self._address = relay.upstream
        self._connect_seconds = min(connect_seconds, PROBE_SECONDS)
        self._known_at = float("-inf")

    def answered(self) -> None:
        """A call got a response's head."""
        self._know(up=True)

    def failed(self, error: RelayError) -> None:
        """A call failed: before it reached the upstream, or there."""
        if isinstance(error, UpstreamError):
            unreached = (UpstreamUnreachable, UpstreamConnectTimeout)
            self._know(up=not isinstance(error, unreached))

    def _know(self, *, up: bool) -> None:
        self.up = up
        self._known_at = time.monotonic()

    async def watch(self) -> None:
        """Try a bare connect whenever no call has said anything for a while."""
        while True:
            wait = self._known_at + PROBE_SECONDS - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
                continue
            self._know(up=await reach(self._address, self._connect_seconds))
