"""What the stand-in received and sent on, when, and how each exchange ended.

An exchange is recorded when its head has arrived and moves from `receiving` to `answering`
to `done`, or to `aborted` when the client went away first. A leg, which is a request that
was sent on, moves from `sending` to `answering` to `done`, or ends as `refused` (nobody
listens), `cut` (by the other side) or `left` (by the stand-in). Whoever waits for a state is
woken by the change itself. Header values are latin-1 text, times are wall-clock seconds,
so that they compare with those of another container on the same machine.
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from .body import Body
from .wire import Header, RequestHead

State = Literal["receiving", "answering", "done", "aborted"]
LegState = Literal["sending", "answering", "done", "refused", "cut", "left"]


@dataclass
class Leg:
    """One request that was sent on, and what came back."""

    url: str
    method: str
    headers: list[Header]
    body: Body
    state: LegState = "sending"
    status: int | None = None
    answer_headers: list[Header] = field(default_factory=list)
    received_bytes: int = 0
    started: float = field(default_factory=time.time)
    ended: float | None = None

    def header(self, name: str) -> str | None:
        """Return the value of the header `name` that was sent, in any case."""
        return _first(self.headers, name)

    def answer_header(self, name: str) -> str | None:
        """Return the value of the header `name` that came back, in any case."""
        return _first(self.answer_headers, name)

    def as_json(self) -> dict[str, object]:
        """Return the leg as it appears in the list of requests."""
        return dict(vars(self)) | _body_as_json(self.body)


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
    legs: list[Leg] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        """Return the value of the first line of the header `name`, in any case."""
        return _first(self.headers, name)

    def as_json(self) -> dict[str, object]:
        """Return the exchange as it appears in the list of requests."""
        legs = {"legs": [leg.as_json() for leg in self.legs]}
        return dict(vars(self)) | legs | _body_as_json(self.body)


def _first(headers: list[Header], name: str) -> str | None:
    found = (value for header, value in headers if header.lower() == name.lower())
    return next(found, None)


def _body_as_json(body: Body) -> dict[str, object]:
    return {"body": body.text, "body_bytes": body.size, "body_sha256": body.sha256}


class Record:
    """All exchanges and legs since the start or the last `clear`, oldest first."""

    def __init__(self, first_id: int = 1) -> None:
        """Begin with nothing; exchanges are numbered from `first_id`."""
        self.exchanges: list[Exchange] = []
        self.legs: list[Leg] = []
        self.on_arrival: Callable[[Exchange], None] | None = None
        self._ids = itertools.count(first_id)
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
        if self.on_arrival is not None:
            self.on_arrival(exchange)
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

    def add_leg(self, url: str, method: str, headers: tuple[Header, ...], body: bytes) -> Leg:
        """Record that a request is sent on."""
        leg = Leg(url, method, list(headers), Body())
        leg.body.feed(body)
        self.legs.append(leg)
        self._announce()
        return leg

    def move_leg(self, leg: Leg, state: LegState) -> None:
        """Record that a leg has come to `state`; the final states keep their first time."""
        if leg.ended is not None:
            return
        leg.state = state
        if state not in ("sending", "answering"):
            leg.ended = time.time()
        self._announce()

    def clear(self) -> None:
        """Forget all exchanges and legs; those under way end unrecorded."""
        self.exchanges, self.legs = [], []
        self._announce()

    def in_state(self, state: str | None) -> list[Exchange]:
        """Return the exchanges in `state`, or all for None."""
        return [each for each in self.exchanges if state in (None, each.state)]

    async def wait_for(self, state: str | None, count: int = 1) -> list[Exchange]:
        """Return the exchanges in `state` as soon as there are at least `count`."""
        await self.wait_until(lambda: len(self.in_state(state)) >= count)
        return self.in_state(state)

    async def wait_for_legs(self, state: LegState, count: int = 1) -> list[Leg]:
        """Return the legs in `state` as soon as there are at least `count`."""
        await self.wait_until(lambda: len(self.legs_in(state)) >= count)
        return self.legs_in(state)

    def legs_in(self, state: LegState) -> list[Leg]:
        """Return the legs in `state`."""
        return [leg for leg in self.legs if leg.state == state]

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Return as soon as something holds that is true of the record."""
        while not holds():
            await self._change.wait()

    def _announce(self) -> None:
        self._change.set()
        self._change = asyncio.Event()
