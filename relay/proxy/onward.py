"""One leg of a call onward: to the next hop that is there, or to the API with the credential.

A hop that cannot be reached is left out where the configuration says so, and only before a byte
was written. What becomes of the leg is noted of the hop that it went to.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from relay.config import UpstreamAddress
from relay.errors import (
    HopBypassed,
    RelayError,
    UpstreamConnectTimeout,
    UpstreamError,
    UpstreamUnreachable,
)
from relay.http.message import RequestHead
from relay.proxy.answer_ids import answer_id
from relay.proxy.chain import ChainedCall, HopCall
from relay.proxy.hop import Hop
from relay.proxy.probe import ProbeReply
from relay.proxy.routing import Target
from relay.proxy.upstream_words import GATEWAY_STATUSES
from relay.telemetry.call import CallRecord
from relay.telemetry.hops import HopOutcome
from relay.telemetry.metrics import Metrics
from relay.upstream.client_connection import Connection
from relay.upstream.interface import Body, Patience, Reply

_UNAUTHORIZED: Final = 401


class Onward:
    """A leg that goes on from one hop, or from the agent where ``after`` is None."""

    def __init__(
        self, call: ChainedCall, after: HopCall | None, record: CallRecord, metrics: Metrics
    ) -> None:
        self._call = call
        self._after = after
        self._record = record
        self._metrics = metrics
        self._to: HopCall | None = None
        """The hop that it was sent to."""
        self._returns_before = 0
        """How often the call had come back from there when it was sent."""
        self._answer_id: bytes | None = None
        self._is_settled = False
        """Whether it is known what became of it."""

    @property
    def patience(self) -> Patience | None:
        """What excuses the silence of the hop that it was sent to."""
        return None if self._to is None else self._to.patience

    async def send(self, head: RequestHead, target: Target, body: Body) -> Reply:
        """Send it; return the reply once its head is there.

        Raises:
            UpstreamError: There is none.
            CredentialMissing: It goes to the API, and there is no credential by now.
        """
        first = 0 if self._after is None else self._after.index + 1
        hops = self._call.chain.hops
        for index in range(first, len(hops)):
            connection = await self._reach(hops[index], index)
            if connection is not None:
                return await self._send_to_hop(connection, head, target, body)
        if self._call.probe:
            return ProbeReply(self._call, target.operation, bodiless=head.method == b"HEAD")
        return await self._send_to_api(head, target, body)

    # To a hop

    async def _reach(self, hop: Hop, index: int) -> Connection | None:
        """Return a connection to a hop, or None where it is left out."""
        if hop.can_be_skipped and hop.is_known_down:
            self._call.skip(index)
            return None
        self._to = self._call.begin_at(index)
        self._to.leg_record = self._record
        self._returns_before = self._to.in_all
        try:
            return await hop.sender.connect(self._record)
        except (UpstreamUnreachable, UpstreamConnectTimeout) as error:
            hop.state.failed(error)
            if not (hop.can_be_skipped and hop.is_known_down):
                raise
            self._call.skip(index)
            self._to = None
            return None

    async def _send_to_hop(
        self, connection: Connection, head: RequestHead, target: Target, body: Body
    ) -> Reply:
        call = self._to
        assert call is not None
        hop = call.hop
        head = self._traced(head, hop.settings.upstream, hop.settings.name)
        request = hop.sender.prepare(head, target, hop.fields(head, call))
        bodiless = head.method == b"HEAD"
        try:
            reply = await hop.sender.send(
                connection, request, body, self._record, call.patience, bodiless=bodiless
            )
        except RelayError as error:
            hop.state.failed(error)
            raise
        hop.state.answered()
        call.record.first_byte = reply.heard_at
        self._answer_id = answer_id(reply.head, self._record.api)
        if reply.head.status == _UNAUTHORIZED and not call.came_back:
            reply.close()
            raise HopBypassed(reply.head.status)
        return reply

    # To the API

    async def _send_to_api(self, head: RequestHead, target: Target, body: Body) -> Reply:
        call, record = self._call, self._record
        forwarder = call.route.forwarder
        credential = await forwarder.take_credential()
        version = forwarder.credential.version
        record.on_finish = partial(call.route.judge, version, secrets=call.secrets)
        call.summary.attempts.append(record)
        head = self._traced(head, call.route.settings.upstream)
        try:
            reply = await forwarder.forward(head, target, credential, body, record)
        except RelayError as error:
            call.route.upstream.failed(error)
            raise
        call.route.upstream.answered()
        self._metrics.read_limits(record.relay, reply.head.fields)
        call.chain.memory.answers.hear(answer_id(reply.head, record.api))
        return reply

    def _traced(
        self, head: RequestHead, to: UpstreamAddress, hop: str | None = None
    ) -> RequestHead:
        """Return the head with an id of the leg's own, where there are traces."""
        trace = self._call.record.trace
        if trace is None:
            return head
        after = None if self._after is None else self._after.leg_record
        return trace.go_on(head, self._record, to.place, hop=hop, after=after)

    # What became of it

    def ended(self) -> None:
        """Note that the answer was passed on whole."""
        if self._to is None or self._record.code is None:
            return
        if self._to.in_all > self._returns_before:
            self._end_as("passed")
        elif self._record.code >= 400:
            if self._record.code in GATEWAY_STATUSES:
                self._to.hop.note_dead_end(self._record.code)
            self._end_as("refused")
        elif self._answer_id is None or self._answer_id in self._call.chain.memory.answers:
            self._end_as("answered")
        else:
            self._to.hop.note_bypass()
            self._end_as("bypass")

    def failed(self, error: RelayError) -> None:
        """Note what ended it, where that was the hop's doing."""
        if self._to is None:
            return
        if isinstance(error, HopBypassed):
            self._to.hop.note_refusal(since=self._record.started)
            self._end_as("refused")
        elif isinstance(error, UpstreamUnreachable | UpstreamConnectTimeout):
            self._end_as("unreachable")
        elif isinstance(error, UpstreamError):
            self._end_as("broken")

    def over(self) -> None:
        """Note that nothing of it is to come: who wanted the answer may have left before."""
        if self._to is not None and not self._is_settled:
            self._end_as("passed" if self._to.in_all > self._returns_before else None)
        self._record.stop()

    def _end_as(self, outcome: HopOutcome | None) -> None:
        assert self._to is not None
        self._is_settled = True
        summary = self._to.record
        summary.outcome = outcome
        summary.sent_at = self._record.sent_at
        summary.bytes_in = self._record.request_bytes
