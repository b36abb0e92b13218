"""The way on: a request sent to the upstream, tried again, its answer passed on or remembered.

Observed on headroom-ai 0.42.0: three attempts after 429 and 529, after 500 and 503 only where
no stream was asked for. Whatever is sent is recorded as a leg.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

from .answers import Answer, error_answer
from .arguments import Arguments
from .coding import UndecodableError, decoded
from .compression import Tokens, compressed, tokens_of
from .outgoing import outgoing_request, readiness_check
from .passage import Passage, Received, forwarded_answer, unreachable_answer
from .record import Exchange, Leg, Record
from .settings import Settings
from .steering import steered_answer
from .upstream import Outgoing, Upstream, UpstreamCutError, UpstreamRefusedError
from .wire import RequestHead

RETRIED = (429, 529)
RETRIED_UNLESS_STREAMED = (500, 503)
ATTEMPTS = 3

Result = TypeVar("Result", None, Passage)


@dataclass(frozen=True)
class Call:
    """A request that is to go on, and how."""

    head: RequestHead
    body: bytes
    exchange: Exchange
    arguments: Arguments


@dataclass
class Forwarder:
    """Sends on what a hop receives."""

    record: Record
    settings: Settings
    _upstream: Upstream = field(default_factory=Upstream)
    _remembered: dict[tuple[object, ...], Answer] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None] | asyncio.Task[Passage]] = field(default_factory=set)
    _last: Outgoing | None = None

    def begin(self) -> None:
        """Begin as Headroom does: by asking whether its upstreams are there."""
        self._hold(asyncio.ensure_future(self.check_upstreams()))

    async def check_upstreams(self) -> None:
        """Ask each upstream's address whether it is there."""
        for address in self.settings.upstreams.values():
            await self._ask_whole(readiness_check(address), [])

    async def replay(self) -> Leg | None:
        """Send the last request again, which may long be over; None if there was none."""
        if self._last is None:
            return None
        legs: list[Leg] = []
        await self._ask_whole(self._last, legs)
        return legs[0]

    async def close(self) -> None:
        """End all that is under way."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._upstream.close()

    async def forward(self, call: Call) -> Passage:
        """Send a request on; return what is passed on of its answer."""
        if call.arguments.text("deaf") != "1":
            return await self._forward(call)
        forwarding = self._hold(asyncio.ensure_future(self._forward(call)))
        read: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._hold(asyncio.ensure_future(_read_on(forwarding, read)))
        passage = await asyncio.shield(forwarding)
        return passage if passage.events is None else Passage(passage.answer, _events_in(read))

    def _hold(self, task: asyncio.Task[Result]) -> asyncio.Task[Result]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _forward(self, call: Call) -> Passage:
        if refusal := steered_answer(call.exchange, self.settings.allowed_base_urls):
            return Passage(refusal)
        try:
            plain = decoded(call.body, call.head.first("content-encoding"))
            body = compressed(plain) if self.settings.compresses else plain
            upstreams = self.settings.upstreams
            request = outgoing_request(call.head, body, upstreams, call.arguments)
            if self.settings.caches and not call.exchange.body.wants_stream:
                return await self._remember(request, call, tokens_of(plain, body))
            return await self._send(request, call, tokens_of(plain, body))
        except UndecodableError:
            kind, text = "invalid_request_error", "Invalid request body"
            return Passage(error_answer(call.exchange, 400, "Bad Request", kind, text))
        except (UpstreamRefusedError, UpstreamCutError):
            return Passage(unreachable_answer(call.exchange))

    async def _remember(self, request: Outgoing, call: Call, tokens: Tokens) -> Passage:
        """Answer from memory what the same credential has asked before."""
        headers = dict(request.headers)
        who = headers.get("authorization"), headers.get("x-api-key")
        key = (*who, request.method, request.url, request.body)
        if key in self._remembered:
            return Passage(self._remembered[key])
        passage = await self._send(request, call, tokens)
        if passage.answer.status == 200:
            self._remembered[key] = passage.answer
        return passage

    async def _send(self, request: Outgoing, call: Call, tokens: Tokens) -> Passage:
        await self._ask_before(request, call)
        twins = call.arguments.count("times", 1) - 1
        asking = [self._ask_whole(request, call.exchange.legs) for _ in range(twins)]
        others = tuple(self._hold(asyncio.ensure_future(each)) for each in asking)
        try:
            received = await self._attempt(request, call)
            exchange, headers = call.exchange, received.headers
            answer = forwarded_answer(exchange, received.status, headers, tokens)
            if answer.streamed:
                return Passage(answer, received.events(), received, others)
            answer = replace(answer, pieces=(await received.whole(),))
            await asyncio.gather(*others)
        except BaseException:
            for other in others:
                other.cancel()
            raise
        return Passage(answer)

    async def _ask_before(self, request: Outgoing, call: Call) -> None:
        """Ask what a hop asks for itself: another page, or the same over and over."""
        self._last = request
        if also := call.arguments.text("also"):
            upstreams, given = self.settings.upstreams, call.arguments
            other = outgoing_request(call.head, request.body, upstreams, given, page=also)
            await self._ask_whole(other, call.exchange.legs)
        for _ in range(call.arguments.count("rounds", 1) - 1):
            await self._ask_whole(request, call.exchange.legs)

    async def _attempt(self, request: Outgoing, call: Call) -> Received:
        streamed = call.exchange.body.wants_stream
        retried = RETRIED if streamed else (*RETRIED, *RETRIED_UNLESS_STREAMED)
        for attempt in range(1, call.arguments.count("attempts", ATTEMPTS)):
            received = await self._ask(request, call.exchange.legs)
            if received.status not in retried:
                return received
            await received.whole()
            # Observed: what the upstream asks for, else about three seconds in all.
            seconds = float(dict(received.headers).get("retry-after", attempt))
            await asyncio.sleep(seconds * self.settings.retry_scale)
        return await self._ask(request, call.exchange.legs)

    async def _ask_whole(self, request: Outgoing, legs: list[Leg]) -> None:
        """Send a request and read its answer, whatever comes; the record says what did."""
        with suppress(UpstreamRefusedError, UpstreamCutError):
            await (await self._ask(request, legs)).whole()

    async def _ask(self, request: Outgoing, legs: list[Leg]) -> Received:
        leg = self.record.add_leg(request.url, request.method, request.headers, request.body)
        legs.append(leg)
        try:
            answer = await self._upstream.ask(request)
        except UpstreamRefusedError:
            self.record.move_leg(leg, "refused")
            raise
        except UpstreamCutError:
            self.record.move_leg(leg, "cut")
            raise
        except BaseException:
            self.record.move_leg(leg, "left")
            raise
        return Received(answer, leg, self.record)


async def _read_on(
    forwarding: "asyncio.Future[Passage]", read: "asyncio.Queue[bytes | None]"
) -> None:
    """Read a stream to its end, also where nobody wants it any more."""
    events = (await forwarding).events
    if events is not None:
        async with aclosing(events):
            async for event in events:
                read.put_nowait(event)
        read.put_nowait(None)


async def _events_in(read: "asyncio.Queue[bytes | None]") -> AsyncGenerator[bytes, None]:
    while (event := await read.get()) is not None:
        yield event
