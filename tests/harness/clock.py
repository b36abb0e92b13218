"""Clocks that a test sets: the one of the day, for all of the process, and a module's own.

Calendar periods begin and end when the test says so. Time limits run on the monotonic clock,
which stays as it is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

NOON = "2026-11-26 12:00:00"
"""Of a Thursday within a month: no period ends while a test runs."""


def at(text: str) -> float:
    """Return the moment of a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


class WallClock:
    """What this process takes for the time of day; it goes on by itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, begins: str = NOON) -> None:
        self._real = time.time
        self._ahead = 0.0
        self.set(begins)
        monkeypatch.setattr(time, "time", self)

    def set(self, text: str) -> None:
        """Have it be so late now, in UTC."""
        self._ahead = at(text) - self._real()

    def __call__(self) -> float:
        """Return Unix seconds."""
        return self._real() + self._ahead


@dataclass
class SetClock:
    """What a module has in place of ``time``: it moves when it is told to."""

    now: float = 100.0
    day: float = 0.0
    """When the clock began, in Unix seconds."""

    def perf_counter(self) -> float:
        """Return seconds."""
        return self.now

    monotonic = perf_counter

    def time(self) -> float:
        """Return Unix seconds."""
        return self.day + self.now

    def time_ns(self) -> int:
        """Return Unix nanoseconds."""
        return int(self.time() * 1_000_000_000)
