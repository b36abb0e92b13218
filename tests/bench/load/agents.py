"""The agents' end: connections to a peer, for the length of a round."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Final

from tests.bench.load.events import LAST_CHUNK
from tests.bench.load.loop import OUT, Loop, Problem

_READ_SIZE: Final = 256 * 1024
_OK: Final = b"HTTP/1.1 200 "


class Agent:
    """A connection, with one call after the other."""

    def __init__(self, port: int, loop: Loop) -> None:
        self.handle = socket.create_connection(("127.0.0.1", port))
        self.handle.settimeout(0)
        self.handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.take: Callable[[bytes], None] = lambda _: None
        """Called with what comes, as it comes."""
        self.write: Callable[[], None] = lambda: None
        """Called when there is room, where somebody watches for that."""
        self.ended = True
        """Whether the last chunk of the answer has come."""
        self.size = 0
        """Bytes of the answer so far."""
        self._tail = b""
        loop.add(self.handle, self._ready)

    def call(self, request: bytes) -> None:
        """Send a request that is small enough for the socket to take it whole."""
        self.ended = False
        self.size = 0
        self._tail = b""
        sent = self.handle.send(request)
        assert sent == len(request)

    def _ready(self, mask: int) -> None:
        if mask & OUT:
            self.write()
        if mask != OUT:
            self._receive()

    def _receive(self) -> None:
        data = self.handle.recv(_READ_SIZE)
        if not data:
            raise Problem(f"an answer broke off after {self.size} bytes")
        if not self.size and not data.startswith(_OK):
            raise Problem(f"answered {data[:200]!r}")
        self.size += len(data)
        self.take(data)
        if data.endswith(b"\r\n") and (self._tail + data[-5:]).endswith(LAST_CHUNK):
            self.ended = True
        self._tail = data[-5:]


@contextlib.contextmanager
def connected(loop: Loop, port: int, count: int) -> Iterator[list[Agent]]:
    """Yield so many agents, each with a connection of its own."""
    agents = []
    try:
        for _ in range(count):
            agents.append(Agent(port, loop))
            loop.turn()  # where the listener is ours, its backlog must not fill
        yield agents
    finally:
        for agent in agents:
            loop.close(agent.handle)
