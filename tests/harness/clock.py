"""A wall clock that a test sets: calendar periods begin and end when it says so.

Time limits run on the monotonic clock, which stays as it is.
"""

from __future__ import annotations

import time
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
