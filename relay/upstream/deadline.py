"""Time limits that move with every call, kept by one timer.

A timer of its own for every limit of every call would cost as much as reading a head. Knows
nothing of what the limits are for.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """A moment that moves, and a timer that catches up with it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._at = math.inf
        self._on_passed: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def set(self, seconds: float, on_passed: Callable[[], None]) -> None:
        """Have a function called so many seconds from now, in place of any other."""
        self._at = self._loop.time() + seconds
        self._on_passed = on_passed
        if self._at < self._timer_at:
            self._start_timer()

    def clear(self) -> None:
        """Have nothing called."""
        self._at = math.inf
        self._on_passed = None

    def cancel(self) -> None:
        """Have nothing called, and leave no timer behind."""
        self.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._timer_at = None, math.inf

    def _start_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._at
        self._timer = self._loop.call_at(self._at, self._catch_up)

    def _catch_up(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._at > self._loop.time():
            if self._at < math.inf:
                self._start_timer()
        elif self._on_passed is not None:
            on_passed = self._on_passed
            self.clear()
            on_passed()
