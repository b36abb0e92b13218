"""Streams as fast as they are taken, each event still written by itself."""

from __future__ import annotations

import time
from typing import Final

from tests.bench.load.agents import connected
from tests.bench.load.events import DELTA, END
from tests.bench.load.loop import OUT, Problem
from tests.bench.load.streams import Asked, Ends, Streams
from tests.bench.load.upstream import Call

_EVENT: Final = DELTA % 0
_PAYLOAD: Final = _EVENT.split(b"\r\n")[1]


class Tap:
    """Writes the events of one stream, until it is closed."""

    def __init__(self, call: Call, closing: float) -> None:
        self.events = 0
        self._call = call
        self._closing = closing
        self._rest = b""
        self._ended = False

    def write(self, _: int) -> None:
        """Write an event, or what was left of one."""
        if not self._rest:
            self._rest = self._next()
        self._rest = self._rest[self._call.handle.send(self._rest) :]
        if self._ended and not self._rest:
            self._call.receive_again()

    def _next(self) -> bytes:
        if time.perf_counter() < self._closing:
            self.events += 1
            return _EVENT
        self._ended = True
        return END


def unpaced(ends: Ends, asked: Asked) -> dict[str, float]:
    """Write to all streams for a while; return how many events came, and in what time."""
    with connected(ends.loop, asked.port, asked.streams) as agents:
        return _unpaced(Streams(ends, asked, agents), ends, asked)


def _unpaced(streams: Streams, ends: Ends, asked: Asked) -> dict[str, float]:
    streams.open()
    cpu = asked.cpu_seconds()
    started = time.perf_counter()
    taps = []
    for call in streams.calls:
        taps.append(tap := Tap(call, started + asked.seconds))
        call.ready = tap.write
        ends.loop.watch(call.handle, OUT)
    streams.await_ends()
    seconds = time.perf_counter() - started
    cpu = asked.cpu_seconds() - cpu
    events = sum(tap.events for tap in taps)
    if sum(agent.size for agent in streams.agents) < events * len(_PAYLOAD):
        raise Problem("less came than was sent")
    return {"events": events, "seconds": seconds, "cpu_seconds": cpu}
