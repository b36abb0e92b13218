"""The handling of one call, from its head to its last byte.

Find the route, admit the client, take the credential, forward, stream, observe: each stage
is a module of its own, and a stage that fails raises one of the relay's errors. Before the
answer's head an error becomes an answer; after it, the connection breaks off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial

from relay.downstream.server_connection import Request, ServerConnection
from relay.errors import (
    BodyTooLarge,
    Draining,
    RelayError,
    RelayFault,
    UpgradeRefused,
)
from relay.http import answer
from relay.http.headers import expects_continue, list_items
from relay.http.message import RequestHead
from relay.http.target import check_target
from relay.proxy.forward import check_reply
from relay.proxy.lifecycle import Lifecycle
from relay.proxy.request import AgentBody
from relay.proxy.response import ResponseWriter
from relay.proxy.routing import (
    Target,
    check_path,
    find_relay,
    is_probe,
    split_target,
)
from relay.proxy.runtime import Route
from relay.telemetry.call import CallRecord, first_value
from relay.telemetry.metrics import Metrics
from relay.telemetry.recorder import Recorder
from relay.upstream.interface import Reply

log = logging.getLogger("relay")


class Calls:
    """Handles calls to the relays."""

    def __init__(self, lifecycle: Lifecycle, metrics: Metrics, recorder: Recorder) -> None:
        self._lifecycle = lifecycle
        self._observers = (metrics, recorder)

    def handle(self, connection: ServerConnection, request: Request) -> Coroutine[None, None, bool]:
        """Answer one request; return whether another may follow on its connection."""
        return Call(self._lifecycle, self._observers, connection, request).run()


class Call:
    """One request on its way through the stages."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        observers: tuple[Metrics, Recorder],
        connection: ServerConnection,
        request: Request,
    ) -> None:
        self._lifecycle = lifecycle
        self._runtime = lifecycle.runtime
        self._metrics, self._recorder = observers
        self._connection = connection
        self._request = request
        self._record = CallRecord()
        self._measured = True
        self._continued = False
        self._reply: Reply | None = None

    async def run(self) -> bool:
        """Handle the call and observe it; return whether the connection may be kept."""
        self._runtime.enter()
        try:
            keep = await self._relay()
        except asyncio.CancelledError:
            self._give_up()
            raise
        except RelayError as error:
            keep = await self._fail(error)
        except Exception:
            log.exception("a fault of the relay")
            keep = await self._fail(RelayFault())
        finally:
            self._runtime.leave()
            if self._measured:
                self._recorder.end(self._record)
        if not self._connection.writable:
            await self._connection.catch_up(self._lifecycle.runtime.settings.timeouts.write)
        return keep

    async def _relay(self) -> bool:
        head = self._request.read()
        target = self._read_target(head)
        route = find_relay(target, self._runtime.routes)
        if is_probe(head.method, target):
            return self._answer_probe(head)
        self._begin(route, target, head)
        self._admit(head, target, route)
        credential = await route.forwarder.take_credential()
        self._record.on_finish = partial(route.judge, route.forwarder.credential.version)
        body = self._open_body(head, route)
        reply = await self._forward(route, head, target, credential, body)
        try:
            self._accept(reply)
            writer = self._writer(head, reply)
            # An answer may take minutes: what asked for it is not kept for as long.
            del head, target, credential, body
            self._request.head = None
            await writer.run()
        finally:
            reply.close()
        self._record.succeeded()
        return not writer.closes

    # The stages

    def _read_target(self, head: RequestHead) -> Target:
        self._record.method = head.method.decode("ascii")
        check_target(head.method, head.target)
        self._record.path = head.target.partition(b"?")[0].decode("ascii")
        self._runtime.access.check_host(head, self._connection.local_address)
        self._runtime.access.check_origin(head)
        return split_target(head.target)

    def _answer_probe(self, head: RequestHead) -> bool:
        """Claude Code asks whether anybody is there: no call, and nothing to measure."""
        self._measured = False
        close = self._is_last(head)
        self._connection.write(answer.plain_answer(200, [], b"", head_only=True, close=close))
        return not close

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
        self._recorder.begin(self._record)

    def _admit(self, head: RequestHead, target: Target, route: Route) -> None:
        if any(b"websocket" in list_items(v.lower()) for v in head.values(b"upgrade")):
            raise UpgradeRefused
        self._record.client = self._runtime.access.admit(head)
        check_path(target.rest, route.settings.allow)
        if self._lifecycle.draining:
            raise Draining

    def _open_body(self, head: RequestHead, route: Route) -> AgentBody:
        max_body = route.settings.max_body
        if max_body is not None and head.length is not None and head.length > max_body:
            raise BodyTooLarge
        if expects_continue(head):
            self._connection.write(answer.CONTINUE)
            self._continued = True
        return AgentBody(
            self._request,
            self._record,
            stall_seconds=self._runtime.settings.timeouts.request_body,
            max_body=max_body,
        )

    async def _forward(
        self, route: Route, head: RequestHead, target: Target, credential: bytes, body: AgentBody
    ) -> Reply:
        try:
            reply = await route.forwarder.forward(head, target, credential, body, self._record)
        except RelayError as error:
            route.upstream.failed(error)
            raise
        route.upstream.answered()
        return reply

    def _accept(self, reply: Reply) -> None:
        self._metrics.read_limits(self._record.relay, reply.head.fields)
        check_reply(reply.head)
        self._reply = reply
        self._record.answered(reply.head)

    def _writer(self, head: RequestHead, reply: Reply) -> ResponseWriter:
        return ResponseWriter(
            self._connection,
            head,
            reply,
            self._record,
            write_seconds=self._runtime.settings.timeouts.write,
            close=self._lifecycle.draining,
        )

    # The ends

    async def _fail(self, error: RelayError) -> bool:
        """Answer with the error, or break off an answer that has begun."""
        self._record.failed(error)
        if self._reply is not None:
            await self._connection.break_off(self._runtime.settings.timeouts.write)
            return False
        head = self._request.head
        close = error.closes or self._is_last(head)
        head_only = head is not None and head.method == b"HEAD"
        self._connection.write(
            answer.own_answer(error, self._record.api, head_only=head_only, close=close)
        )
        return not close

    def _is_last(self, head: RequestHead | None) -> bool:
        return answer.ends_connection(
            head, draining=self._lifecycle.draining, continued=self._continued
        )

    def _give_up(self) -> None:
        """The agent has left, or the relay is cutting what still runs."""
        if self._reply is not None and self._reply.has_ended:
            self._record.succeeded()
        elif self._lifecycle.cutting:
            self._record.outcome = RelayFault.outcome
