"""Takes connections from a listening socket; while no file descriptor is left, they wait.

Not the event loop's own way: libuv closes what it has no descriptor for, and once another thread
has taken the one that it keeps in reserve for that, it asks again without end, with all of a core.
nginx pauses as well.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Final

# How many are taken before whatever else is ready has its turn.
AT_ONCE: Final = 64
# nginx waits 0.5 s. No event says that a descriptor is free again.
PAUSE_SECONDS: Final = 0.1
# It is said so often at most, for as long as it lasts.
SAY_AGAIN_SECONDS: Final = 60.0
# Nothing left of the process's, of the system's, or of its memory (accept(2)).
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

log = logging.getLogger("relay")

ProtocolFactory = Callable[[], asyncio.Protocol]


class Acceptor:
    """Takes the connections that come to one listening socket, which it owns."""

    def __init__(self, handle: socket.socket, factory: ProtocolFactory) -> None:
        self._loop = asyncio.get_running_loop()
        self._handle = handle
        self._factory = factory
        self._beginning: set[asyncio.Task[object]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._said_at: float | None = None
        handle.setblocking(False)  # noqa: FBT003  # the name says what it is
        self._loop.add_reader(handle, self._accept)

    def close(self) -> None:
        """Take no more; those that wait are refused by the kernel."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._handle)
        self._handle.close()

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, _address = self._handle.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._wait(error)
                    return
                # The connection's own error: it is gone, and the next may be well (accept(2)).
            else:
                self._begin(connection)

    def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(False)  # noqa: FBT003  # as above
        beginning = self._loop.create_task(
            self._loop.connect_accepted_socket(self._factory, connection)
        )
        self._beginning.add(beginning)
        beginning.add_done_callback(self._beginning.discard)

    def _wait(self, error: OSError) -> None:
        now = self._loop.time()
        if self._said_at is None or now - self._said_at >= SAY_AGAIN_SECONDS:
            self._said_at = now
            log.warning("connections wait to be accepted: %s", (error.strerror or "").lower())
        self._loop.remove_reader(self._handle)
        self._pause = self._loop.call_later(PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._handle, self._accept)
