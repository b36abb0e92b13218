"""The upstream's answer on its way to the agent.

Of its head everything crosses that ``header_policy`` lets cross, byte for byte; how the body is
framed is stated anew for this connection (RFC 9112 §6.1). Each piece of the body is written to
the agent as it is read, by a plain call and no task; then the meter gets the same bytes. An agent
that falls behind pauses the upstream, and is cut when it takes nothing for as long as the
``write`` limit. What breaks off upstream breaks off here: nothing is added.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

from relay.downstream.transport import AgentTransport, WriteLimit
from relay.http.body import has_body
from relay.http.chunked import LAST_CHUNK, chunk
from relay.http.grammar import Field
from relay.http.headers import serialize, wants_close
from relay.http.message import RequestHead, ResponseHead
from relay.proxy.header_policy import to_agent
from relay.telemetry.call import CallRecord
from relay.upstream.interface import Patience, Reply


def relayed_head(
    head: ResponseHead, *, chunked: bool, close: bool, added: Sequence[Field] = ()
) -> bytes:
    """Return the head that passes on an upstream's; ``added`` fields take the place of its own."""
    fields = to_agent(head)
    if added:
        replaced = {field.key for field in added}
        fields = [*(field for field in fields if field.key not in replaced), *added]
    lines = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason), serialize(fields)]
    if chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    elif head.length is not None and head.status != HTTPStatus.NO_CONTENT:
        lines.append(b"content-length: %d\r\n" % head.length)
    if close:
        lines.append(b"connection: close\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


class Way(NamedTuple):
    """How an answer is passed on, beside what it says itself."""

    close: bool = False
    """Whether the connection is to end with it."""
    added: Sequence[Field] = ()
    """Fields of the relay's own, in place of others of their names."""
    source: Patience | None = None
    """Of the LLM proxy whose answer it is, if it is one's."""


DIRECT: Final = Way()


class ResponseWriter:
    """One answer on its way to the agent."""

    def __init__(
        self,
        agent: AgentTransport,
        request: RequestHead,
        reply: Reply,
        record: CallRecord,
        *,
        write_seconds: float,
        way: Way = DIRECT,
    ) -> None:
        self._agent = agent
        self._reply = reply
        self._record = record
        self._write_seconds = write_seconds
        self._way = way
        self._limit: WriteLimit | None = None
        """Of an agent that has fallen behind."""
        self._paused_at: float | None = None
        """Since when the upstream has not been read, for the agent takes nothing."""
        unsized = has_body(reply.head, request.method) and reply.head.length is None
        self._chunked = unsized and request.minor == 1
        agent.framed, agent.whole = not unsized or self._chunked, False
        self.closes = way.close or wants_close(request) or not agent.framed
        """Whether the connection ends with this answer."""

    async def run(self) -> None:
        """Pass the answer on, to its end, no faster than the agent takes it.

        Raises:
            RelayError: It broke off; the agent has what came until then.
        """
        reply = self._reply
        self._begin()
        if not reply.has_ended:
            self._agent.watch(self._follow)
            try:
                if not self._agent.writable:
                    self._follow(writable=False)
                await reply.ended()
            finally:
                self._agent.watch(None)
                if self._limit is not None:
                    self._limit.stop()
                self._excuse_upstream()
        if self._chunked:
            self._agent.write(LAST_CHUNK)
        self._agent.whole = True

    def _begin(self) -> None:
        """Write the head, and what is there of the body with it, in one write."""
        head = relayed_head(
            self._reply.head, chunked=self._chunked, close=self.closes, added=self._way.added
        )
        piece = self._reply.attach(self._pass_on)
        self._agent.write(head + (chunk(piece) if self._chunked else piece))
        if piece:
            self._note(piece)

    def _pass_on(self, piece: bytes) -> None:
        """Write to the agent first; only then is anything counted or read."""
        self._agent.write(chunk(piece) if self._chunked else piece)
        self._note(piece)

    def _note(self, piece: bytes) -> None:
        now = time.perf_counter()
        record = self._record
        record.piece_overheads.observe(now - self._reply.heard_at)
        record.response_bytes += len(piece)
        if record.meter is not None:
            record.meter.feed(piece, now)

    def _follow(self, writable: bool) -> None:  # noqa: FBT001  # it is the state itself
        if self._limit is None:
            self._limit = WriteLimit(self._agent, self._write_seconds)
        self._limit.stop()
        if writable:
            self._reply.resume()
            self._excuse_upstream()
        else:
            self._reply.pause()
            self._limit.start()
            if self._paused_at is None:
                self._paused_at = time.perf_counter()
                if self._way.source is not None:
                    self._way.source.stop_reading()

    def _excuse_upstream(self) -> None:
        """Tell the meter for how long nobody listened: that was no silence of the upstream's."""
        if self._paused_at is None:
            return
        if self._record.meter is not None:
            self._record.meter.excuse(time.perf_counter() - self._paused_at)
        if self._way.source is not None:
            self._way.source.read_on()
        self._paused_at = None
