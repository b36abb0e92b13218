"""The handling of one call, from its head to its last byte.

Find the route, admit the client, take the credential, forward, stream, observe: each stage
is a module of its own, and a stage that fails raises one of the relay's errors. Where LLM proxies
are on the way, ``chain`` says what is forwarded where.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from functools import partial

from relay.downstream.server_connection import Request, ServerConnection
from relay.errors import Draining, RelayError, RelayFault, UpgradeRefused
from relay.http.grammar import Field
from relay.http.headers import wants_websocket
from relay.http.message import RequestHead
from relay.http.target import check_target
from relay.proxy.chain import Chain, ChainedCall
from relay.proxy.exchange import Exchange
from relay.proxy.forward import check_reply
from relay.proxy.lifecycle import Lifecycle
from relay.proxy.onward import Onward
from relay.proxy.probe import asks_for_probe, hops_field
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
from relay.telemetry.call import first_value
from relay.telemetry.metrics import Metrics
from relay.telemetry.recorder import Recorder
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
        self._chained: ChainedCall | None = None
        """Its way through LLM proxies, where its relay has any."""
        self._onward: Onward | None = None
        """The first leg of that."""
        self._runtime.enter()

    async def _relay(self) -> bool:
        head = self._request.read()
        target = self._read_target(head)
        route = find_relay(target, self._runtime.routes)
        if is_probe(head.method, target):
            self._measured = False  # no call: Claude Code asks whether anybody is there
            return self._answer_empty(head)
        self._begin(route, target, head)
        self._admit(head, target, route)
        if route.chain is None:
            reply = await self._forward(route, head, target)
        else:
            reply = await self._send_onward(route.chain, route, head, target)
        try:
            self._accept(reply)
            way = DIRECT
            if self._onward is not None:
                way = Way(added=self._added_fields(), source=self._onward.patience)
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
        self._runtime.access.check_host(head, self._connection.local_address)
        self._runtime.access.check_origin(head)
        return split_target(head.target)

    def _begin(self, route: Route, target: Target, head: RequestHead) -> None:
        self._record.relay = target.relay
        self._record.operation = target.operation
        self._record.is_endpoint = target.is_endpoint
        self._record.is_billed = target.is_billed
        self._record.grant = route.settings.grant.name
        self._record.session_id = first_value(head, b"x-claude-code-session-id")
        self._record.agent_id = first_value(head, b"x-claude-code-agent-id")
        self._record.parent_agent_id = first_value(head, b"x-claude-code-parent-agent-id")
        self._record.api = route.settings.api
        if route.chain is not None and asks_for_probe(head):
            self._measured = False
        else:
            self._recorder.begin(self._record)

    def _admit(self, head: RequestHead, target: Target, route: Route) -> None:
        if wants_websocket(head):
            raise UpgradeRefused
        self._record.client = self._runtime.access.admit(head)
        check_path(target.rest, route.settings.allow)
        if self._lifecycle.draining:
            raise Draining

    async def _forward(self, route: Route, head: RequestHead, target: Target) -> Reply:
        credential = await route.forwarder.take_credential()
        self._record.on_finish = partial(route.judge, route.forwarder.credential.version)
        body = self._open_body(head, route.settings)
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
        probe = not self._measured
        await chain.settle()
        if not probe:
            await route.forwarder.take_credential()
        self._chained = ChainedCall(chain, route, self._runtime, self._record, probe=probe)
        body: AgentBody = self._open_body(head, route.settings)
        self._onward = Onward(self._chained, None, self._record, self._metrics)
        return await self._onward.send(head, target, body)

    def _accept(self, reply: Reply) -> None:
        check_reply(reply.head)
        self._reply = reply
        self._record.answered(reply.head)

    def _added_fields(self) -> Sequence[Field]:
        """Return what the answer says of the way that the call went."""
        if self._chained is None:
            return ()
        if self._chained.probe:
            return [hops_field(self._chained)]
        return self._chained.error_fields()

    # The ends

    def _succeed(self) -> None:
        """Note that the answer was passed on whole."""
        self._record.succeeded()
        if self._chained is not None and self._chained.error_fields():
            assert self._chained.finding is not None
            self._record.outcome = self._chained.finding.outcome
        if self._onward is not None:
            self._onward.ended()

    async def _fail(self, error: RelayError) -> bool:
        if self._onward is not None:
            self._onward.failed(error)
        return await super()._fail(error)

    def _error_fields(self) -> Sequence[Field]:
        if self._chained is not None and self._chained.probe:
            return [hops_field(self._chained)]
        return ()

    def _end(self) -> None:
        if self._chained is not None:
            self._chained.close()
        if self._onward is not None:
            self._onward.over()
        self._runtime.leave()
        if self._measured:
            self._recorder.end(self._record)

    def _give_up(self) -> None:
        """The agent has left, or the relay is cutting what still runs."""
        if self._reply is not None and self._reply.has_ended:
            self._succeed()
        elif self._lifecycle.cutting:
            self._record.outcome = RelayFault.outcome
