"""Ports that nobody gets anywhere with: one refuses, one accepts nobody, one does no TLS."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.harness.listener import Listener
from tests.harness.peer import Caller


@contextmanager
def refusing() -> Iterator[int]:
    """Hold a port that nobody listens on, so that nobody else comes to; yield it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextmanager
def accepting_nobody(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Listen with a queue that is full, so that what comes is dropped; yield the port."""
    with socket.socket() as full:
        full.bind((host, port))
        full.listen(0)
        port = full.getsockname()[1]
        with socket.create_connection((host, port)):
            yield port


class NoTls(Listener):
    """A listener that says one thing to whoever says something, or nothing; and listens."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self._answer = answer

    @property
    def heard(self) -> bytes:
        """What came, of all connections."""
        return b"".join(bytes(caller.received) for caller in self._connections)

    def _take(self, caller: Caller) -> None:
        caller.transport.write(self._answer)
