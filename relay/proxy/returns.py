"""The return address: where LLM proxies send calls on, and each goes one leg further.

``/<relay>/<hop>/<rest>`` belongs to a call in flight, by what it shows (``passes``), or is
refused. It is read as strictly as an agent's request, may do no more than its call, and ends with
it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Coroutine, Mapping
from typing import Final

from relay.downstream.server_connection import Request, ServerConnection
from relay.errors import (
    LegRefused,
    LimitReached,
    OriginRefused,
    PassCause,
    PassRefused,
    RelayError,
    UpgradeRefused,
)
from relay.http.headers import wants_websocket
from relay.http.message import RequestHead
from relay.http.target import check_target
from relay.proxy.access import check_host_form, comes_from_page
from relay.proxy.chain import HopCall
from relay.proxy.exchange import Exchange
from relay.proxy.hop import RefusedReturn
from relay.proxy.hop_words import QUIET_SECONDS
from relay.proxy.lifecycle import Lifecycle
from relay.proxy.limits import check_spending
from relay.proxy.onward import Onward
from relay.proxy.passes import HopPlace
from relay.proxy.response import Way
from relay.proxy.routing import Target, check_path
from relay.telemetry.metrics import Metrics

log = logging.getLogger("relay")

_HINTS: Final[Mapping[PassCause, str]] = {
    "none": "it shows no pass: have it carry on the credential that it is sent",
    "wrong": "it shows a wrong pass: have it carry on the credential that it is sent, or, where "
    "it sends a key of its own, name that as its pass",
    "unknown": "no such hop is declared: name it in the relay's hops, or have it send on to an "
    "address that relay check prints",
    "no id": "its pass is right and does not say which call: have it carry on x-relay-call, or "
    "set pass: call, or, where it sends a key of its own, name that as its pass",
    "over": "the call that it belongs to is over, or was another hop's",
}
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Returns:
    """Handles what comes to the return address."""

    def __init__(self, lifecycle: Lifecycle, metrics: Metrics) -> None:
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._quiet_until: dict[HopPlace | None, float] = {}
        """By hop; None is of all that is declared nowhere."""
        self._warned: set[HopPlace] = set()

    def handle(self, connection: ServerConnection, request: Request) -> Coroutine[None, None, bool]:
        """Answer one request; return whether another may follow on its connection."""
        return ReturnedLeg(self._lifecycle, self._metrics, self, connection, request).run()

    def say_refused(self, place: HopPlace, error: PassRefused) -> None:
        """Log why a return of a hop's was refused, once a minute."""
        now = time.perf_counter()
        self._lifecycle.memory.refusals[place] = RefusedReturn(now, _HINTS[error.cause])
        if self._may_say(place):
            log.warning("%s came back and got 401: %s", place, _HINTS[error.cause])

    def say_unknown(self, place: HopPlace) -> None:
        """Log once a minute that something came back to a place that is no hop's."""
        if self._may_say(None):
            is_named = place.relay in self._lifecycle.runtime.routes and _NAME.fullmatch(place.hop)
            who = place if is_named else "something"
            log.warning("%s came back and got 401: %s", who, _HINTS["unknown"])

    def _may_say(self, place: HopPlace | None) -> bool:
        now = time.monotonic()
        if now < self._quiet_until.get(place, 0.0):
            return False
        self._quiet_until[place] = now + QUIET_SECONDS
        return True

    def say_too_much(self, place: HopPlace, operation: str, of_call: str) -> None:
        """Log once that a hop asks for more than its call may."""
        if place not in self._warned:
            self._warned.add(place)
            log.warning(
                "%s asked for %s within a call of %s, or for too much at once: refused with 403",
                place,
                operation,
                of_call,
            )


class ReturnedLeg(Exchange):
    """What came back from a hop, on its way one leg further."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        metrics: Metrics,
        returns: Returns,
        connection: ServerConnection,
        request: Request,
    ) -> None:
        super().__init__(lifecycle, connection, request)
        self._metrics = metrics
        self._returns = returns
        self._task: asyncio.Task[object] | None = None
        self._from: HopCall | None = None
        """The call's dealings with the hop that it came back from, once it is accepted."""

    def cut(self) -> None:
        """End it at once: its call is over."""
        if self._task is not None:
            self._task.cancel()
        self._agent.abort()

    async def _relay(self) -> bool:
        self._task = asyncio.current_task()
        head = self._request.read()
        place, target = self._read_target(head)
        if target is None:
            return self._answer_empty(head)
        came_from = self._find_call(place, head)
        await self._admit(came_from, target)
        body = self._open_body(head, came_from.call.route.settings)
        self._onward = Onward(came_from.call, came_from, self._record, self._metrics)
        reply = await self._onward.send(came_from.hop.own_fields_off(head), target, body)
        try:
            self._accept(reply)
            self._note_answer(came_from)
            writer = self._writer(head, reply, Way(source=self._onward.patience))
            del head, target, body
            await writer.run()
        finally:
            reply.close()
        self._succeed()
        return not writer.closes

    # The stages

    def _read_target(self, head: RequestHead) -> tuple[HopPlace, Target | None]:
        """Return where it came from and what it asks for: nothing, where a hop looks around."""
        check_target(head.method, head.target)
        check_host_form(head)
        if comes_from_page(head):
            raise OriginRefused
        if wants_websocket(head):
            raise UpgradeRefused
        place, target = _split_target(head.target)
        self._record.method = head.method.decode("ascii")
        if target.rest or target.query or head.method not in (b"HEAD", b"GET"):
            return place, target
        if not self._is_known(place):
            self._returns.say_unknown(place)
            raise PassRefused("unknown")
        return place, None

    def _is_known(self, place: HopPlace) -> bool:
        route = self._runtime.routes.get(place.relay)
        hops = () if route is None or route.chain is None else route.chain.hops
        return any(hop.place == place for hop in hops)

    def _find_call(self, place: HopPlace, head: RequestHead) -> HopCall:
        route = self._runtime.routes.get(place.relay)
        grant = None if route is None else route.settings.grant
        if route is not None:
            self._record.api = route.settings.api
        try:
            return self._lifecycle.memory.passes.find(place, head, grant)
        except PassRefused as error:
            if self._is_known(place):
                self._returns.say_refused(place, error)
            else:
                self._returns.say_unknown(place)
            raise

    async def _admit(self, came_from: HopCall, target: Target) -> None:
        call, record = came_from.call, self._record
        self._runtime = call.runtime
        record.path = target.rest.decode("ascii")
        record.client, record.folder = call.record.client, call.record.folder
        record.session_id = call.record.session_id
        self._describe(target, call.route.settings)
        check_path(target.rest, call.route.settings.allow)
        try:
            came_from.check(target, self._record)
            if not call.probe and not came_from.is_first(target):
                await self._check_spending(came_from, target)
            came_from.admit(self, target, record)
        except LegRefused:
            self._returns.say_too_much(came_from.place, target.operation, call.record.operation)
            raise
        self._from = came_from
        self._agent.is_excused = came_from.patience.may_take_nothing
        if not call.probe:
            self._metrics.begin_leg(record)

    async def _check_spending(self, came_from: HopCall, target: Target) -> None:
        """See that a further leg may be begun: what a hop asks for beyond the call counts too."""
        call = came_from.call
        try:
            await check_spending(self._lifecycle.ledger, call.runtime, self._record, target)
        except LimitReached as error:
            call.finding = error
            raise
        if call.over:
            raise PassRefused("over")

    def _note_answer(self, came_from: HopCall) -> None:
        """Note that there is an answer from beyond the hop."""
        came_from.call.finding = None
        summary = came_from.record
        if summary.first_byte is None and self._record.operation == came_from.call.record.operation:
            summary.beyond_at = self._record.first_byte

    # The ends

    async def _fail(self, error: RelayError) -> bool:
        if self._from is not None:
            self._from.call.finding = error
        elif error.rejection is not None:
            self._metrics.refused_return(error.rejection)
        return await super()._fail(error)

    def _end(self) -> None:
        if self._from is None:
            return
        self._from.leg_over(self, self._record)
        if not self._from.call.probe:
            self._metrics.end_leg(self._record)
            if any(each is self._record for each in self._from.call.summary.attempts):
                self._lifecycle.ledger.take_attempt(self._record)


def _split_target(target: bytes) -> tuple[HopPlace, Target]:
    """Return the parts of ``/<relay>/<hop>/<rest>?<query>``."""
    path, mark, query = target.partition(b"?")
    relay, _, rest = path[1:].decode("ascii", "replace").partition("/")
    hop, slash, rest = rest.partition("/")
    place = HopPlace(relay, hop)
    return place, Target(relay, (slash + rest).encode(), mark + query)
