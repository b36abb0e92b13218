"""All connections of agents together: tended while they live, and ended when the relay does."""

from __future__ import annotations

import asyncio

from relay.downstream.server_connection import ServerConnection


class Connections:
    """The open connections, and word of every request that is over."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        """How many may be open; one more, and the longest idle is closed."""
        self._open: dict[ServerConnection, None] = {}
        """In the order in which they came."""
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: ServerConnection) -> None:
        """Note a new connection, and make room for it."""
        self._open[connection] = None
        if self._most is not None and len(self._open) > self._most:
            idle = [each for each in self._open if not each.busy]
            oldest = min(idle, key=lambda each: each.silent_since)
            self.closed(oldest)  # the event loop says so only once others have come as well
            oldest.transport.abort()

    def closed(self, connection: ServerConnection) -> None:
        """Note that a connection has gone."""
        self._open.pop(connection, None)
        self._changed.set()

    def request_over(self) -> None:
        """Note that a request has been answered, or given up."""
        self._changed.set()

    @property
    def busy(self) -> int:
        """How many connections have a request under way."""
        return sum(1 for connection in self._open if connection.busy)

    def tend(self, write_seconds: float) -> None:
        """Find the connections whose agents left, are silent, or do not take what is theirs."""
        for connection in list(self._open):
            connection.check_silence()
            connection.transport.notice_departure()
            connection.transport.cut_if_stuck(write_seconds)

    async def finish(self) -> None:
        """Close each connection once it has nothing under way; wait for the last."""
        while self._open:
            self._changed.clear()
            for connection in list(self._open):
                if not connection.busy:
                    connection.transport.close()
            if self._open:
                await self._changed.wait()

    def cut(self) -> None:
        """Break off whatever is under way."""
        for connection in list(self._open):
            connection.transport.cut()

    def abort(self) -> None:
        """Drop every connection."""
        for connection in list(self._open):
            connection.transport.abort()
