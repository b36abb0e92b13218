"""How often something is looked at: once in a turn of the event loop, or by a thread.

What answers at once is looked at on every question, and one look serves all of the same turn.
What may keep its reader waiting is looked at by a thread, once a second, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from relay import threads

# How often something is looked at that may keep its reader waiting; and how long the first look is
# awaited, before anything is known. What answers at all does so in far less.
APART_SECONDS: Final = 1.0
FIRST_SECONDS: Final = 1.0
# A file changed so recently may change again without its time stamp moving (git calls such
# an entry "racily clean"; kernels stamp with the timer's tick, 1 to 10 ms).
RACY_NANOSECONDS: Final = 100_000_000

T = TypeVar("T")


class Turn:
    """Whether there was a look in this turn of the event loop.

    A look takes about 10 µs, and there is one for every client whose token is in a file; without
    one it is 0.1 µs.
    """

    def __init__(self) -> None:
        self.seen = False

    def see(self) -> None:
        """Let a look serve all questions of the same turn."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no loop, no turns
            return
        loop.call_soon(self.look_again)
        self.seen = True

    def look_again(self) -> None:
        """Let no look serve any more."""
        self.seen = False


class LooksApart(Generic[T]):
    """Looks by threads, one after the other."""

    def __init__(self, look: Callable[[], T]) -> None:
        self._look = look
        self._running: _Look[T] | None = None
        self._due = float("-inf")
        self._patience = FIRST_SECONDS

    def latest(self) -> T | None:
        """Return what a look has found since this was asked, and begin the next in its time."""
        if self._running is None:
            now = time.monotonic()
            if now < self._due:
                return None
            self._due = now + APART_SECONDS
            self._running = _Look(self._look)
        running, patience, self._patience = self._running, self._patience, 0.0
        if not running.is_over(patience):
            return None
        self._running = None
        return running.found

    def hurry(self) -> None:
        """Begin the next look at the next question."""
        self._due = float("-inf")


class _Look(Generic[T]):
    """A look by a thread of its own."""

    def __init__(self, look: Callable[[], T]) -> None:
        self._look = look
        self.found: T | None = None
        """None where it failed: then nothing is learnt."""
        self._over = threading.Event()
        try:
            threads.start(self._run)
        except OSError:  # no thread is left
            self._over.set()

    def _run(self) -> None:
        with contextlib.suppress(Exception):  # of a fault of ours nothing is learnt either
            self.found = self._look()
        self._over.set()

    def is_over(self, wait_seconds: float) -> bool:
        """Whether it has come to its end; it is given that long."""
        return self._over.wait(wait_seconds)
