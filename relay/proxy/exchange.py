"""One request that the relay answers by what an upstream says: what calls and returns share.

The stages that do not depend on who asks: the body, the answer, and the ends. Before the answer's
head an error becomes an answer; after it, the connection breaks off.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence

from relay.config import RelaySettings
from relay.downstream.server_connection import Request, ServerConnection
from relay.errors import BodyTooLarge, Headers, RelayError, RelayFault
from relay.http import answer
from relay.http.grammar import Field
from relay.http.headers import expects_continue
from relay.http.message import RequestHead
from relay.proxy.forward import check_reply
from relay.proxy.lifecycle import Lifecycle
from relay.proxy.onward import Onward
from relay.proxy.request import AgentBody
from relay.proxy.response import DIRECT, ResponseWriter, Way
from relay.proxy.routing import Target
from relay.proxy.runtime import Runtime
from relay.telemetry.call import CallRecord
from relay.upstream.interface import Reply

log = logging.getLogger("relay")


class Exchange(ABC):
    """One request on its way through the stages."""

    def __init__(
        self, lifecycle: Lifecycle, connection: ServerConnection, request: Request
    ) -> None:
        self._lifecycle = lifecycle
        self._runtime: Runtime = lifecycle.runtime
        """The configuration that it is handled by to its end."""
        self._agent = connection.transport
        self._request = request
        self._record = CallRecord()
        self._continued = False
        self._reply: Reply | None = None
        self._onward: Onward | None = None
        """The leg that it goes on by, where LLM proxies are on its way."""

    async def run(self) -> bool:
        """Handle the request and observe it; return whether the connection may be kept."""
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
            if self._onward is not None:
                self._onward.over()
            self._end()
        await self._agent.catch_up(self._lifecycle.runtime.settings.timeouts.write)
        return keep

    @abstractmethod
    async def _relay(self) -> bool:
        """Handle the request; return whether the connection may be kept."""

    @abstractmethod
    def _end(self) -> None:
        """Note that it is over, however it ended."""

    # The stages

    def _describe(self, target: Target, relay: RelaySettings) -> None:
        """Note what is asked for; and have what it costs counted, where that is of interest."""
        ledger, record = self._lifecycle.ledger, self._record
        record.relay, record.grant, record.api = relay.name, relay.grant.name, relay.api
        record.operation = target.operation
        record.is_endpoint, record.is_billed = target.is_endpoint, target.is_billed
        record.is_counted = ledger.is_counting
        if record.is_counted and record.method == "GET" and target.operation == "responses":
            response_id = target.rest.rpartition(b"/")[2].decode("ascii", "replace")
            record.background = response_id if ledger.awaits(response_id) else ""

    def _open_body(self, head: RequestHead, relay: RelaySettings) -> AgentBody:
        max_body = relay.max_body
        if max_body is not None and head.length is not None and head.length > max_body:
            raise BodyTooLarge
        if expects_continue(head):
            self._agent.write(answer.CONTINUE)
            self._continued = True
        return AgentBody(
            self._request,
            self._record,
            stall_seconds=self._runtime.settings.timeouts.request_body,
            max_body=max_body,
        )

    def _accept(self, reply: Reply) -> None:
        """Take an answer that may be passed on; what comes of it is its own from here on."""
        check_reply(reply.head)
        self._reply = reply
        self._record.answered(reply.head)

    def _writer(self, head: RequestHead, reply: Reply, way: Way = DIRECT) -> ResponseWriter:
        self._request.head = None  # an answer may take minutes: what asked is not kept as long
        return ResponseWriter(
            self._agent,
            head,
            reply,
            self._record,
            write_seconds=self._runtime.settings.timeouts.write,
            way=way._replace(close=True) if self._lifecycle.draining else way,
        )

    # The ends

    def _succeed(self) -> None:
        """Note that the answer was passed on whole."""
        self._record.succeeded()
        if self._onward is not None:
            self._onward.ended()

    def _give_up(self) -> None:
        """Note that whoever asked has left, or is being cut off."""
        if self._reply is not None and self._reply.has_ended:
            self._succeed()

    async def _fail(self, error: RelayError) -> bool:
        """Answer with the error, or break off an answer that has begun."""
        self._record.failed(error)
        if self._onward is not None:
            self._onward.failed(error)
        if self._reply is not None:
            await self._agent.break_off(self._runtime.settings.timeouts.write)
            return False
        head = self._request.head
        close = error.closes or self._is_last(head)
        head_only = head is not None and head.method == b"HEAD"
        self._agent.write(
            answer.own_answer(
                error,
                self._record.api,
                self._error_fields(error),
                head_only=head_only,
                close=close,
            )
        )
        return not close

    def _error_fields(self, _: RelayError) -> Sequence[Field]:
        """Return what else the answer to an error of the relay's own says."""
        return ()

    def _answer_empty(self, head: RequestHead, headers: Headers = ()) -> bool:
        """Say that the relay is there, to who asks for no more; return whether to go on."""
        close = self._is_last(head)
        self._agent.write(answer.plain_answer(200, [*headers], b"", head_only=True, close=close))
        return not close

    def _is_last(self, head: RequestHead | None) -> bool:
        return answer.ends_connection(
            head, draining=self._lifecycle.draining, continued=self._continued
        )
