"""What the stand-in received, when, and how each exchange ended.

An exchange is recorded when its head has arrived and moves from `receiving` to `answering`
to `done`, or to `aborted` when the client went away first. Whoever waits for a state is
woken by the change itself. Header values are latin-1 text, times are wall-clock seconds,
so that they compare with those of another container on the same machine.
"""

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from typing import Literal

from .body import Body
from .wire import Header, RequestHead

State = Literal["receiving", "answering", "done", "aborted"]


@dataclass
class Exchange:
    """One request and how it was answered; `events` are the times of the pieces written."""

    id: int
    connection: int
    method: str
    target: str
    version: str
    headers: list[Header]
    kind: str
    routed_to: str | None
    beta_effective: str | None
    body: Body
    mode: str | None = None
    state: State = "receiving"
    started: float = field(default_factory=time.time)
    ended: float | None = None
    trailers: list[Header] = field(default_factory=list)
    events: list[float] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        """Return the value of the first line of the header `name`, in any case."""
        found = (value for header, value in self.headers if header.lower() == name.lower())
        return next(found, None)

    def as_json(self) -> dict[str, object]:
        """Return the exchange as it appears in the list of requests."""
        fields = dict(vars(self))
        fields["body"] = self.body.text
        return fields | {"body_bytes": self.body.size, "body_sha256": self.body.sha256}


class Record:
    """All exchanges since the start or the last `clear`, oldest first."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.exchanges: list[Exchange] = []
        self._ids = itertools.count(1)
        self._change = asyncio.Event()

    def add(
        self,
        connection: int,
        head: RequestHead,
        *,
        kind: str,
        routed_to: str | None = None,
        beta_effective: str | None = None,
    ) -> Exchange:
        """Record that a request arrived."""
        exchange = Exchange(
            id=next(self._ids),
            connection=connection,
            method=head.method,
            target=head.target,
            version=head.version,
            headers=list(head.headers),
            kind=kind,
            routed_to=routed_to,
            beta_effective=beta_effective,
            body=Body(head.first("content-encoding")),
        )
        self.exchanges.append(exchange)
        self._announce()
        return exchange

    def move(self, exchange: Exchange, state: State) -> None:
        """Record that an exchange has come to `state`; the final states keep their first time."""
        if exchange.ended is not None:
            return
        exchange.state = state
        if state in ("done", "aborted"):
            exchange.ended = time.time()
        self._announce()

    def clear(self) -> None:
        """Forget all exchanges; those under way end unrecorded."""
        self.exchanges = []
        self._announce()

    def in_state(self, state: str | None) -> list[Exchange]:
        """Return the exchanges in `state`, or all for None."""
        return [each for each in self.exchanges if state in (None, each.state)]

    async def wait_for(self, state: str | None, count: int = 1) -> list[Exchange]:
        """Return the exchanges in `state` as soon as there are at least `count`."""
        while len(found := self.in_state(state)) < count:
            await self._change.wait()
        return found

    def _announce(self) -> None:
        self._change.set()
        self._change = asyncio.Event()
