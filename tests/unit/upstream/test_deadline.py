"""A moment that moves, and the timer that catches up with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from relay.upstream.deadline import Deadline


class Timer:
    """A timer of the test's."""

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        """Note it."""
        self.cancelled = True


class Clock:
    """The part of an event loop that a deadline knows."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        """Return the time that it is made to be."""
        return self.now

    def call_at(self, at: float, call: Callable[[], None]) -> Timer:
        """Keep a timer."""
        self.timers.append(Timer(at, call))
        return self.timers[-1]

    @property
    def waiting(self) -> list[Timer]:
        """The timers that will go off."""
        return [timer for timer in self.timers if not timer.cancelled]

    def advance(self, now: float) -> None:
        """Let what is due go off."""
        self.now = now
        for timer in [each for each in self.waiting if each.at <= now]:
            timer.cancelled = True
            timer.call()


@pytest.fixture
def clock() -> Clock:
    """The clock of the deadline."""
    return Clock()


@pytest.fixture
def deadline(clock: Clock) -> Deadline:
    """A deadline by that clock."""
    loop: asyncio.AbstractEventLoop = clock  # type: ignore[assignment]  # all that it uses of one
    return Deadline(loop)


def test_it_passes_once(clock: Clock, deadline: Deadline) -> None:
    """At its moment, not before."""
    passed: list[float] = []
    deadline.set(10, lambda: passed.append(clock.now))
    clock.advance(109.9)
    assert passed == []
    clock.advance(110)
    clock.advance(200)
    assert passed == [110]
    assert clock.waiting == []


def test_moving_it_back_makes_no_timer(clock: Clock, deadline: Deadline) -> None:
    """The one there is finds that it is early, and comes again."""
    passed: list[float] = []
    for start in (100.0, 104.0, 109.0):
        clock.advance(start)
        deadline.set(10, lambda: passed.append(clock.now))
    assert len(clock.timers) == 1
    clock.advance(110)
    assert passed == []
    assert [timer.at for timer in clock.waiting] == [119]
    clock.advance(119)
    assert passed == [119]


def test_moving_it_forward_is_in_time(clock: Clock, deadline: Deadline) -> None:
    """A shorter limit than the last one is kept, and by one timer."""
    passed: list[str] = []
    deadline.set(600, lambda: passed.append("head"))
    deadline.set(30, lambda: passed.append("idle"))
    assert [timer.at for timer in clock.waiting] == [130]
    clock.advance(1000)
    assert passed == ["idle"]


def test_cleared_it_does_not_pass(clock: Clock, deadline: Deadline) -> None:
    """And may be set again."""
    passed: list[str] = []
    deadline.set(10, lambda: passed.append("first"))
    deadline.clear()
    clock.advance(111)
    assert clock.waiting == []
    deadline.set(10, lambda: passed.append("second"))
    clock.advance(121)
    assert passed == ["second"]


def test_cancelled_it_leaves_no_timer(clock: Clock, deadline: Deadline) -> None:
    """A connection that is gone is not held by one."""
    deadline.set(600, lambda: None)
    deadline.cancel()
    assert clock.waiting == []


def test_it_may_be_set_as_it_passes(clock: Clock, deadline: Deadline) -> None:
    """As by a limit of silence that finds the other side just heard."""
    passed: list[float] = []

    def look() -> None:
        passed.append(clock.now)
        deadline.set(5, look)

    deadline.set(10, look)
    clock.advance(110)
    clock.advance(115)
    assert passed == [110, 115]
