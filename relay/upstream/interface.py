"""Types shared by proxy and upstream client: a head and a body go out, a reply comes back.

What forwards and streams knows these forms alone, so that the sending side can be measured,
and replaced.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from relay.http.message import ResponseHead

Sink = Callable[[bytes], None]
"""Takes each piece of a body as it arrives."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds: without a response head, without a piece of the body, with nothing taken."""

    headers: float
    idle: float
    write: float


class Patience:
    """What excuses the silence of an LLM proxy: as long as something of its call is beyond it."""

    __slots__ = ("_free_since", "_read_since", "_unread", "beyond")

    def __init__(self) -> None:
        self.beyond = 0
        """How many legs of the call are beyond the proxy."""
        self._unread = 0
        """How many of its answers are not read for now, for who wants them takes nothing."""
        self._free_since = self._read_since = -math.inf

    def enter(self) -> None:
        """Note that a leg has gone beyond it."""
        self.beyond += 1

    def leave(self) -> None:
        """Note that a leg beyond it has ended: its clock starts anew."""
        self.beyond -= 1
        self._free_since = time.perf_counter()

    def stop_reading(self) -> None:
        """Note that an answer of its is not read for now."""
        self._unread += 1

    def read_on(self) -> None:
        """Note that the answer is read again."""
        self._unread -= 1
        self._read_since = time.perf_counter()

    def may_take_nothing(self, limit_seconds: float) -> bool:
        """Whether it was itself not read within so many seconds: then it need not read either."""
        return self._unread > 0 or time.perf_counter() - self._read_since < limit_seconds

    def wait(self, limit_seconds: float) -> float:
        """Return for how many seconds more, at least, it cannot be called silent."""
        if self.beyond:
            return limit_seconds
        return self._free_since + limit_seconds - time.perf_counter()


class Body(Protocol):
    """A request's body: at most one of ``pieces`` and ``whole`` is needed."""

    @property
    def chunked(self) -> bool:
        """Whether it goes out in chunks; else the head has stated its length."""

    def whole(self) -> bytes | None:
        """Return all of it if it is here already, else None."""

    def pieces(self) -> AsyncIterator[bytes]:
        """Return it piece by piece; what the iterator raises ends the call."""


class Reply(Protocol):
    """A response whose head has come."""

    @property
    def head(self) -> ResponseHead:
        """The head, strictly read; until the body is attached."""

    def attach(self, sink: Sink) -> bytes:
        """Return what is here of the body; from now on the sink gets what comes."""

    async def ended(self) -> None:
        """Wait for the body's clean end; raise what ended it otherwise."""

    @property
    def has_ended(self) -> bool:
        """Whether the whole body has come."""

    @property
    def heard_at(self) -> float:
        """When the upstream was last heard, on ``time.perf_counter``'s clock."""

    def pause(self) -> None:
        """Read no more for now."""

    def resume(self) -> None:
        """Read on."""

    def close(self) -> None:
        """Be done with the call: the connection is kept if it can be, else cut."""
