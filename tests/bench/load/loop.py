"""The loop: who is called when a socket is ready."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from typing import Final

IN: Final = select.EPOLLIN
OUT: Final = select.EPOLLOUT
# The longest wait before a round is given up: a fuse.
FUSE_SECONDS: Final = 30.0


class Problem(Exception):
    """What came through a peer is not what was sent into it, or nothing came."""


class Loop:
    """Sockets and what to do when they are ready."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._ready: dict[int, Callable[[int], None]] = {}

    def add(self, handle: socket.socket, ready: Callable[[int], None]) -> None:
        """Call when there is something to read."""
        self._ready[handle.fileno()] = ready
        self._poll.register(handle, IN)

    def watch(self, handle: socket.socket, mask: int) -> None:
        """Call for this, and for nothing else, from now on."""
        self._poll.modify(handle, mask)

    def close(self, handle: socket.socket) -> None:
        """Have done with a socket."""
        self._poll.unregister(handle)
        del self._ready[handle.fileno()]
        handle.close()

    def turn(self, seconds: float = 0) -> None:
        """Call all that are ready, once; by default without waiting for any."""
        ready = self._ready
        for number, mask in self._poll.poll(seconds):
            if number in ready:  # an earlier call may have closed it
                ready[number](mask)

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Turn until something has happened."""
        deadline = time.monotonic() + FUSE_SECONDS
        while not done():
            self.turn(0.1)
            if time.monotonic() > deadline:
                raise Problem(f"not {what} within {FUSE_SECONDS:.0f} s")
