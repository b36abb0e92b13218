"""Streams as models write them: each event by itself, at a moment of its own, and stamped."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Final

from tests.bench.load.agents import Agent, connected
from tests.bench.load.events import DELTA, STAMP
from tests.bench.load.loop import Problem
from tests.bench.load.streams import Asked, Ends, Streams
from tests.bench.load.upstream import Call

# A stamp that the framing of a peer's chunks cuts in two is not found. With paced events that
# takes a long stall; more than these would be something else.
_MOST_LOST: Final = 0.01


def paced(ends: Ends, asked: Asked) -> dict[str, float]:
    """Send each stream's events at its rate, evenly; return how long they took.

    Streams do not know of each other: each begins at a moment of its own, the same in every
    round. Stamps are taken when an event is sent, not when it should have been.
    """
    with connected(ends.loop, asked.port, asked.streams) as agents:
        return _paced(Streams(ends, asked, agents), ends, asked)


def _paced(streams: Streams, ends: Ends, asked: Asked) -> dict[str, float]:
    streams.open()
    latencies = _stamped(streams.agents)
    cpu = asked.cpu_seconds()
    started = time.perf_counter_ns()
    sent = _send(_starts(streams.calls, asked.rate), asked, ends.loop.turn)
    seconds = (time.perf_counter_ns() - started) / 1e9
    cpu = asked.cpu_seconds() - cpu
    memory = asked.resident_kib()
    streams.close(sent)
    if len(latencies) < sent * (1 - _MOST_LOST):
        raise Problem(f"of {sent} events {len(latencies)} came")
    latencies.sort()
    return {
        "events": sent,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "resident_kib": memory,
        "p50_us": latencies[len(latencies) // 2] / 1e3,
        "p99_us": latencies[len(latencies) * 99 // 100] / 1e3,
    }


def _starts(calls: Sequence[Call], rate: float) -> list[tuple[float, Call]]:
    """Return when each stream begins, in nanoseconds; the first one first."""
    chance = random.Random(len(calls))  # no secret
    starts = [(chance.random() * 1e9 / rate, call) for call in calls]
    return sorted(starts, key=lambda start: start[0])


def _send(starts: list[tuple[float, Call]], asked: Asked, turn: Callable[[], None]) -> int:
    """Send all events, each when it is due, reading all the time; return how many.

    It never sleeps, so that nothing that it measures is its own waking up.
    """
    period = 1e9 / asked.rate
    each = int(asked.seconds * asked.rate)
    began = time.perf_counter_ns()
    for number in range(each):
        for start, call in starts:
            due = began + start + number * period
            turn()
            while time.perf_counter_ns() < due:
                turn()
            call.write(DELTA % time.perf_counter_ns())
    turn()
    return each * len(starts)


def _stamped(agents: Sequence[Agent]) -> list[int]:
    """Have the agents look for stamps; return where their ages will be, in nanoseconds."""
    ages: list[int] = []

    def take(data: bytes) -> None:
        now = time.perf_counter_ns()
        ages.extend(now - int(stamp) for stamp in STAMP.findall(data))

    for agent in agents:
        agent.take = take
    return ages
