"""The handling of one call, from its head to its last byte.

Find the route, admit the client, take the credential, forward, stream, observe: each stage
is a module of its own, and a stage that fails raises one of the relay's errors. Where LLM proxies
are on the way, ``chain`` says what is forwarded where.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from functools import partial

from relay.downstream.server_connection import Request, ServerConnection
from relay.errors import Draining, RelayError, RelayFault, UpgradeRefused, UpstreamError
from relay.http.grammar import Field
from relay.http.headers import wants_websocket
from relay.http.message import RequestHead
from relay.http.target import check_target
from relay.proxy.chain import Chain, ChainedCall
from relay.proxy.exchange import Exchange
from relay.proxy.lifecycle import Lifecycle
from relay.proxy.limits import check_relay, check_spending, take_place
from relay.proxy.onward import Onward
from relay.proxy.probe import asks_for_probe, hops_field
from relay.proxy.proof import prove
from relay.proxy.request import AgentBody
from relay.proxy.response import DIRECT, Way
from relay.proxy.routing import (
    Target,
    check_path,
    find_relay,
    is_probe,
    split_target,
)
from relay.proxy.runtime import Route
from relay.telemetry.metrics import Metrics
from relay.telemetry.recorder import Recorder
from relay.telemetry.session import place_of
from relay.telemetry.spending import Account
from relay.upstream.interface import Reply


class Calls:
    """Handles calls to the relays."""

    def __init__(self, lifecycle: Lifecycle, metrics: Metrics, recorder: Recorder) -> None:
        self._lifecycle = lifecycle
        self._observers = (metrics, recorder)

    def handle(self, connection: ServerConnection, request: Request) -> Coroutine[None, None, bool]:
        """Answer one request; return whether another may follow on its connection."""
        return Call(self._lifecycle, self._observers, connection, request).run()


class Call(Exchange):
    """One call of an agent's."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        observers: tuple[Metrics, Recorder],
        connection: ServerConnection,
        request: Request,
    ) -> None:
        super().__init__(lifecycle, connection, request)
        self._metrics, self._recorder = observers
        self._measured = True
        self._probe = False
        """Whether it only tries the chain; who is admitted alone may do so unmeasured."""
        self._account: Account | None = None
        """Whose place among the calls at once it has, if it has one."""
        self._chained: ChainedCall | None = None
        """Its way through LLM proxies, where its relay has any."""
        self._runtime.enter()

    async def _relay(self) -> bool:
        head = self._request.read()
        target = self._read_target(head)
        route = find_relay(target, self._runtime.routes)
        if is_probe(head.method, target):
            self._measured = False  # no call: Claude Code asks whether anybody is there
            port = self._agent.local_port
            return self._answer_empty(head, prove(head, self._runtime.clients, port))
        self._begin(route, target, head)
        await self._admit(head, target, route)
        self._measured = not self._probe
        if route.chain is None:
            reply = await self._forward(route, head, target)
        else:
            reply = await self._send_onward(route.chain, route, head, target)
        try:
            self._accept(reply)
            way = DIRECT
            if self._onward is not None:
                way = Way(
                    added=self._fields_of_chain(self._record.code), source=self._onward.patience
                )
            writer = self._writer(head, reply, way)
            # An answer may take minutes: what asked for it is not kept for as long.
            del head, target
            await writer.run()
        finally:
            reply.close()
        self._succeed()
        return not writer.closes

    # The stages

    def _read_target(self, head: RequestHead) -> Target:
        self._record.method = head.method.decode("ascii")
        check_target(head.method, head.target)
        self._record.path = head.target.partition(b"?")[0].decode("ascii")
        self._runtime.access.check_host(head, self._agent.local_address)
        self._runtime.access.check_origin(head)
        return split_target(head.target)

    def _begin(self, route: Route, target: Target, head: RequestHead) -> None:
        self._describe(target, route.settings)
        whose = place_of(head)
        self._record.session_id, self._record.agent_id, self._record.parent_agent_id = whose
        if self._lifecycle.tracer is not None:
            self._record.trace = self._lifecycle.tracer.begin(head, target.operation)
        self._probe = route.chain is not None and asks_for_probe(head)
        if not self._probe:
            self._recorder.begin(self._record)

    async def _admit(self, head: RequestHead, target: Target, route: Route) -> None:
        record, ledger = self._record, self._lifecycle.ledger
        if wants_websocket(head):
            raise UpgradeRefused
        record.client = self._runtime.access.admit(head)
        record.folder = self._runtime.folder_of(record.client)
        check_relay(self._runtime, record)
        check_path(target.rest, route.settings.allow)
        if not self._probe:
            await check_spending(ledger, self._runtime, record, target)
            self._account = take_place(ledger.spending, record)
        if self._lifecycle.draining:
            raise Draining

    async def _forward(self, route: Route, head: RequestHead, target: Target) -> Reply:
        credential = await route.forwarder.take_credential()
        self._record.on_finish = partial(route.judge, route.forwarder.credential.version)
        body = self._open_body(head, route.settings)
        if (trace := self._record.trace) is not None:
            head = trace.go_on(head, self._record, route.settings.upstream.place)
        try:
            reply = await route.forwarder.forward(head, target, credential, body, self._record)
        except RelayError as error:
            route.upstream.failed(error)
            raise
        route.upstream.answered()
        self._metrics.read_limits(self._record.relay, reply.head.fields)
        return reply

    async def _send_onward(
        self, chain: Chain, route: Route, head: RequestHead, target: Target
    ) -> Reply:
        """Send it on its way through the LLM proxies; what can be refused is refused before."""
        await chain.settle()
        if not self._probe:
            await route.forwarder.take_credential()
            await route.forwarder.settle_egress()
        self._chained = ChainedCall(chain, route, self._runtime, self._record, probe=self._probe)
        body: AgentBody = self._open_body(head, route.settings)
        self._onward = Onward(self._chained, None, self._record, self._metrics)
        return await self._onward.send(head, target, body)

    def _fields_of_chain(self, status: int | None) -> Sequence[Field]:
        """Return what an answer of the upstream's, or for want of one, says of the way there."""
        if self._chained is None:
            return ()
        if self._chained.probe:
            return [hops_field(self._chained)]
        return self._chained.error_fields(status)

    # The ends

    def _succeed(self) -> None:
        super()._succeed()
        self._take_finding(self._record.code)

    async def _fail(self, error: RelayError) -> bool:
        if self._chained is not None:
            self._chained.close()  # an agent that has to be told by a reset may take its time
        keep = await super()._fail(error)
        if self._reply is None and isinstance(error, UpstreamError):
            self._take_finding(error.status)
        return keep

    def _take_finding(self, status: int | None) -> None:
        """Let the outcome be what failed beyond the first hop, where the answer says so."""
        found = None if self._chained is None else self._chained.found_beyond(status)
        if found is not None:
            self._record.outcome = found.outcome

    def _error_fields(self, error: RelayError) -> Sequence[Field]:
        return self._fields_of_chain(error.status if isinstance(error, UpstreamError) else None)

    def _end(self) -> None:
        if self._chained is not None:
            self._chained.close()
        self._runtime.leave()
        if self._account is not None:
            self._lifecycle.ledger.spending.at_once.leave(self._account)
        if self._measured:
            self._recorder.end(self._record)

    def _give_up(self) -> None:
        if self._lifecycle.cutting:
            self._record.outcome = RelayFault.outcome
        super()._give_up()  # unless its answer had come whole
