"""The seam between forwarding and the sending side: a head and a body go out, a reply comes back.

What forwards and streams knows these forms alone, so that the sending side can be measured,
and replaced.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from relay.http.message import ResponseHead

Sink = Callable[[bytes], None]
"""Takes each piece of a body as it arrives."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: without a response head, without a piece of the body, with nothing taken."""

    headers: float
    idle: float
    write: float


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
        """The head, strictly read."""

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
