"""The body of one request as it arrives from the agent: what has come and is not read yet.

The connection puts pieces in as it reads them, whoever forwards the body takes them out. In
between is a limited space: where it is full, the source is asked to pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

# Bytes. What one read of a socket gives at most, so that the next is on its way meanwhile.
SPACE: Final = 256 * 1024

_Pause = Callable[[bool], None]


class BodyBuffer:
    """A body between the one who reads it off the wire and the one who passes it on."""

    __slots__ = ("_discards", "_on_full", "_paused", "_pieces", "_size", "_waiter", "complete")

    def __init__(self, on_full: _Pause) -> None:
        self._on_full = on_full
        self._pieces: list[bytes] = []
        self._size = 0
        self._paused = False
        self._discards = False
        self._waiter: asyncio.Future[None] | None = None
        self.complete = False
        """Whether the last piece has come."""

    # For the connection

    def put(self, piece: bytes) -> None:
        """Take a further piece."""
        if self._discards:
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= SPACE and not self._paused:
            self._set_paused(paused=True)
        self._wake()

    def end(self) -> None:
        """Note that the last piece has come."""
        self.complete = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _set_paused(self, *, paused: bool) -> None:
        self._paused = paused
        self._on_full(paused)

    # For those who pass it on

    def take(self) -> bytes:
        """Return what is there, without waiting."""
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if self._paused:
            self._set_paused(paused=False)
        return data

    @property
    def read(self) -> bool:
        """Whether the body has ended, and everything of it was taken."""
        return self.complete and not self._pieces

    async def next(self) -> bytes:
        """Wait for something and return it; empty at the end."""
        while not (self._pieces or self.complete):
            await self._change()
        return self.take()

    async def discard(self) -> None:
        """Drop what is there and what still comes, up to the end."""
        self._discards = True
        self.take()
        while not self.complete:
            await self._change()

    async def _change(self) -> None:
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        await waiter
