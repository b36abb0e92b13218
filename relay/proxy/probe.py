"""The end of a chain that is only tried: the relay answers in the API's place, as a stream.

``relay doctor`` asks for it with a header. No credential is used, nothing is paid, and nothing
counts it. The answer goes back through the hops as the API's would; its text says of each hop
whether it passes on what it is given as it comes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from relay.http.grammar import Field
from relay.http.headers import field
from relay.http.message import RequestHead, ResponseHead
from relay.proxy.probe_events import events_of
from relay.upstream.interface import Sink

if TYPE_CHECKING:
    from relay.proxy.chain import ChainedCall, HopCall

PROBE: Final = b"x-relay-probe"
HOPS: Final = b"x-relay-hops"
"""In the answer to a probe: the hops that it got to, each with what became of it there."""

# How long a hop may take to pass on a piece before it is said to hold the answer back.
_HOLDING_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.01

log = logging.getLogger("relay")


def asks_for_probe(head: RequestHead) -> bool:
    """Whether a call is to end at the relay."""
    return head.values(PROBE) == [b"1"]


def hops_field(call: ChainedCall) -> Field:
    """Return the field that says which hops a probe got to."""
    states = (f"{each.record.name}={_state(each)}" for each in call.hop_calls)
    return field(HOPS, ", ".join(states).encode())


def _state(call: HopCall) -> str:
    if call.record.outcome is not None:
        return call.record.outcome
    return "passed" if call.came_back else "answered"


class ProbeReply:
    """An answer of the relay's own in place of an API's; ``bodiless`` to HEAD."""

    def __init__(self, call: ChainedCall, operation: str, *, bodiless: bool) -> None:
        self._hops: Sequence[HopCall] = [
            each for each in call.hop_calls if each.record.outcome != "skipped"
        ]
        self._events = events_of(operation)
        self._bodiless = bodiless
        self._sink: Sink | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._telling: asyncio.Task[None] | None = None
        self.head = ResponseHead(
            minor=1,
            fields=(field(b"content-type", b"text/event-stream; charset=utf-8"),),
            length=None,
            chunked=True,
            status=200,
            reason=b"OK",
        )
        self.heard_at = time.perf_counter()

    @property
    def has_ended(self) -> bool:
        """Whether the whole body has come."""
        return self._ended.done()

    def attach(self, sink: Sink) -> bytes:
        """Begin to tell; at first nothing is here."""
        self._sink = sink
        if self._bodiless:
            self._ended.set_result(None)
            return b""
        self._telling = asyncio.get_running_loop().create_task(self._tell())
        return b""

    async def ended(self) -> None:
        """Wait for the body's end."""
        await asyncio.shield(self._ended)

    def pause(self) -> None:
        """What there is to say is short."""

    def resume(self) -> None:
        """What there is to say is short."""

    def close(self) -> None:
        """Say no more."""
        self._sink = None
        if self._telling is not None:
            self._telling.cancel()

    async def _tell(self) -> None:
        streams = dict.fromkeys(self._hops, True)
        self._put(self._events.opening())
        for word in ("It ", "streams.\n"):
            before = {each: each.bytes_passed_on for each in self._hops}
            self._put(self._events.text(word))
            for hop in await self._holding_back(before):
                streams[hop] = False
        told = [{"name": hop.record.name, "streams": each} for hop, each in streams.items()]
        self._put(self._events.text(json.dumps({"hops": told})) + self._events.closing())
        self._ended.set_result(None)

    def _put(self, data: bytes) -> None:
        self.heard_at = time.perf_counter()
        if self._sink is not None:
            self._sink(data)

    async def _holding_back(self, before: dict[HopCall, int]) -> Sequence[HopCall]:
        """Return the hops that do not pass a piece on; they are given time.

        Where the last one holds it back, those in front of it have nothing to pass on.
        """
        deadline = time.perf_counter() + _HOLDING_SECONDS
        waiting = list(before)
        while waiting and time.perf_counter() < deadline:
            await asyncio.sleep(_LOOK_SECONDS)
            waiting = [each for each in waiting if each.bytes_passed_on <= before[each]]
        return waiting[-1:]
