"""All connections of agents together: tended while they live, and ended when the relay does."""

from __future__ import annotations

import asyncio

from relay.downstream.server_connection import Gate


class Gates:
    """The open gates, and word of every request that is over."""

    def __init__(self) -> None:
        self._open: set[Gate] = set()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, gate: Gate) -> None:
        """Note a new connection."""
        self._open.add(gate)

    def closed(self, gate: Gate) -> None:
        """Note that a connection has gone."""
        self._open.discard(gate)
        self._changed.set()

    def request_over(self) -> None:
        """Note that a request has been answered, or given up."""
        self._changed.set()

    @property
    def busy(self) -> int:
        """How many connections have a request under way."""
        return sum(1 for gate in self._open if gate.busy)

    def tend(self, write_seconds: float) -> None:
        """Find the connections whose agents left, are silent, or do not take what is theirs."""
        for gate in list(self._open):
            gate.check_silence()
            gate.notice_departure()
            gate.cut_if_stuck(write_seconds)

    async def finish(self) -> None:
        """Close each connection once it has nothing under way; wait for the last."""
        while self._open:
            self._changed.clear()
            for gate in list(self._open):
                if not gate.busy:
                    gate.close()
            if self._open:
                await self._changed.wait()

    def cut(self) -> None:
        """Break off whatever is under way."""
        for gate in list(self._open):
            gate.cut()

    def abort(self) -> None:
        """Drop every connection."""
        for gate in list(self._open):
            gate.abort()
