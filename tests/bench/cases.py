"""What is measured: each case asks one peer for one round of one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from tests.bench.calls import Calls
from tests.bench.field import Plan, Way, running_peer
from tests.bench.loading import Load
from tests.bench.peers import Upstreams
from tests.bench.processes import await_rest, forget_peak, resident_kib
from tests.bench.rounds import Sample

# The names of figures.
PER_SECOND: Final = "per_second"
P50: Final = "p50_us"
P99: Final = "p99_us"
CPU: Final = "cpu_us"
BUSY: Final = "busy"
GROWN: Final = "grown_mib"
IDLE: Final = "idle_mib"
STREAM: Final = "stream_kib"
HELD: Final = "held_mib"
START: Final = "start_ms"
WITHOUT_A_PEER: Final = (PER_SECOND, P50, P99)
"""What there is to say of calls that go to the upstream directly."""

# The names of cases.
CALLS_1: Final = "calls_1"
CALLS_32: Final = "calls_32"
PACED: Final = "streams_paced"
UNPACED: Final = "streams_unpaced"
BURSTS: Final = "streams_bursts"
UPLOADS_2: Final = "uploads_2mb"
UPLOADS_64: Final = "uploads_64mb"
MEMORY: Final = "memory"
CROWD: Final = "memory_of_streams"
STARTING: Final = "start"

STREAMS: Final = 100
RATE: Final = 100
BURST: Final = 32
SLOW_STREAMS: Final = 1000
CROWD_STREAMS: Final = 500
SLOW_RATE: Final = 1
MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """A thing to measure."""

    name: str
    group: str
    """What it is asked for by."""
    title: str
    measure: Callable[[Way], Sample]
    unit: str = ""
    """What is counted, where something is."""
    peers_only: bool = False
    """Whether there is nothing to measure without a peer."""
    saturates: bool = False
    """Whether the peer should be what everything else waits for."""


class Cases:
    """All cases, with what they need."""

    def __init__(
        self, plan: Plan, upstreams: Upstreams, calls: Calls, load: Load, seconds: float
    ) -> None:
        self._plan = plan
        self._upstreams = upstreams
        self._calls = calls
        self._load = load
        self._seconds = seconds

    def __iter__(self) -> Iterator[Case]:
        """Yield them in the order of the report."""
        json, streams = "json", "streams"
        yield Case(CALLS_1, json, "JSON calls on 1 connection", self._on(1), "calls/s")
        title = "JSON calls on 32 connections"
        yield Case(CALLS_32, json, title, self._on(32), "calls/s", saturates=True)
        title = f"{STREAMS} streams of {RATE} events/s"
        yield Case(PACED, streams, title, self._paced, "events/s")
        title = f"{STREAMS} streams, unpaced"
        yield Case(UNPACED, streams, title, self._unpaced(1), "events/s", saturates=True)
        title = f"{title}, {BURST} events to a write"
        yield Case(BURSTS, streams, title, self._unpaced(BURST), "events/s", saturates=True)
        for name, megabytes in ((UPLOADS_2, 2), (UPLOADS_64, 64)):
            title, measure = f"Uploads of {megabytes} MB", self._uploads(megabytes)
            yield Case(name, "uploads", title, measure, "MB/s", saturates=True)
        title = f"Memory: idle, and for each of {SLOW_STREAMS:,} slow streams"
        yield Case(MEMORY, "memory", title, self._memory, peers_only=True)
        title = f"Memory with {CROWD_STREAMS} slow streams"
        yield Case(CROWD, "memory", title, self._crowd, peers_only=True)
        title = "From the start to the first connection"
        yield Case(STARTING, "start", title, self._start, peers_only=True)

    def _on(self, connections: int) -> Callable[[Way], Sample]:
        return lambda way: self._calls.measure(way, connections, self._seconds)

    def _paced(self, way: Way) -> Sample:
        seen = self._load.run("paced", way, streams=STREAMS, rate=RATE, seconds=self._seconds)
        return _rates(seen, seen["events"]) | {P50: seen[P50], P99: seen[P99]}

    def _unpaced(self, burst: int) -> Callable[[Way], Sample]:
        asked = {"streams": STREAMS, "burst": burst, "seconds": self._seconds / 2}

        def measure(way: Way) -> Sample:
            seen = self._load.run("unpaced", way, **asked)
            return _rates(seen, seen["events"])

        return measure

    def _uploads(self, megabytes: int) -> Callable[[Way], Sample]:
        def measure(way: Way) -> Sample:
            before = _resident(way)
            if way.pid is not None:
                forget_peak(way.pid)
            size = megabytes * MEGABYTE
            seen = self._load.run("uploads", way, size=size, seconds=self._seconds / 2)
            grown = {GROWN: (_resident(way, "VmHWM") - before) / 1024}
            return _rates(seen, seen["bytes"] / MEGABYTE) | grown

        return measure

    def _memory(self, way: Way) -> Sample:
        with running_peer(way.name, self._plan, self._upstreams) as fresh:
            if fresh.pid is not None:
                await_rest(fresh.pid)
            idle = _resident(fresh)
            # The first call brings in what is there once, whatever the number of calls.
            self._load.run("paced", fresh, streams=1, rate=SLOW_RATE, seconds=1)
            served = _resident(fresh)
            slow = {"streams": SLOW_STREAMS, "rate": SLOW_RATE, "seconds": self._seconds}
            seen = self._load.run("paced", fresh, **slow)
        return {
            IDLE: idle / 1024,
            STREAM: (seen["resident_kib"] - served) / SLOW_STREAMS,
        }

    def _crowd(self, way: Way) -> Sample:
        with running_peer(way.name, self._plan, self._upstreams) as fresh:
            slow = {"streams": CROWD_STREAMS, "rate": SLOW_RATE, "seconds": self._seconds}
            return {HELD: self._load.run("paced", fresh, **slow)["resident_kib"] / 1024}

    def _start(self, way: Way) -> Sample:
        with running_peer(way.name, self._plan, self._upstreams) as fresh:
            return {START: fresh.start_seconds * 1000}


def _rates(seen: Sample, count: float) -> Sample:
    cpu, seconds = seen["cpu_seconds"], seen["seconds"]
    return {PER_SECOND: count / seconds, CPU: cpu / count * 1e6, BUSY: cpu / seconds}


def _resident(way: Way, figure: str = "VmRSS") -> int:
    return 0 if way.pid is None else resident_kib(way.pid, figure)
