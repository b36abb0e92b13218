"""Streams as fast as they are taken: each event written by itself, or in bursts of some."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from tests.bench.load.agents import connected
from tests.bench.load.events import DELTA
from tests.bench.load.loop import Loop
from tests.bench.load.streams import Asked, Ends, Streams
from tests.bench.load.upstream import Call

_EVENT: Final = DELTA % 0
# How often each stream is written to before the agents look what came: they, who have nothing
# to do with one event or another, must not take the time to.
_BETWEEN_READS: Final = 8


def unpaced(ends: Ends, asked: Asked) -> dict[str, float]:
    """Write to all streams for a while; return how many events came, and in what time."""
    with connected(ends.loop, asked.port, asked.streams) as agents:
        streams = Streams(ends, asked, agents)
        streams.open()
        cpu, started = asked.cpu_seconds(), time.perf_counter()
        events = _write(streams.calls, asked, ends.loop)
        streams.close(events)
        seconds = time.perf_counter() - started
        cpu = asked.cpu_seconds() - cpu
        return {"events": events, "seconds": seconds, "cpu_seconds": cpu}


def _write(calls: Sequence[Call], asked: Asked, loop: Loop) -> int:
    """Write to the calls in turn; return how many events."""
    piece = _EVENT * asked.burst
    pieces = 0
    closing = time.perf_counter() + asked.seconds
    while time.perf_counter() < closing:
        for _ in range(_BETWEEN_READS):
            for call in calls:
                pieces += call.write(piece)
        loop.turn()
    return pieces * asked.burst
