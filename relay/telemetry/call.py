"""One call as it is measured: filled in while it runs, observed once when it is over."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from relay.errors import Api, ClientError, RelayError
from relay.http.message import MessageHead, ResponseHead
from relay.telemetry.attempts import request_id_of, summed
from relay.telemetry.histogram import OVERHEAD_BOUNDS, Histogram
from relay.telemetry.hops import ChainRecord, HopFields
from relay.telemetry.usage import End, Meter, Usage

if TYPE_CHECKING:
    from relay.telemetry.ledger.bill import Bill
    from relay.telemetry.traces.trace import Trace

CallFields = dict[str, str | int | float | Mapping[str, int] | list[HopFields]]
"""What a line of the log says of a call, by the names that it has there."""

ID_LIMIT: Final = 128
"""Characters: an OpenMetrics exemplar holds no more, name and value together."""
UNKNOWN: Final = "none"
"""The label of a relay, client or code that is not known."""
GOOD_OUTCOMES: Final = frozenset({"ok", "client_abort"})
"""Nothing failed: that an agent leaves is its own affair."""
# No spaces, which would make fields of their own on a line for people, and no quotes and
# backslashes, which not everything that reads exemplars can unescape.
_IDENTIFIER: Final = re.compile(rb"[!#-\[\]-~]+")
# What is read of a response's head here.
_NOTED: Final = frozenset({b"request-id", b"x-request-id", b"content-type", b"content-encoding"})
# Where no metrics have begun to count a call.
_UNSEEN: Final = Histogram(OVERHEAD_BOUNDS)


@dataclass(slots=True)
class CallRecord:
    """What is known of a call. Times are seconds on the monotonic clock."""

    method: str = ""
    path: str = ""
    """Without the query; empty where the target was refused."""
    relay: str = UNKNOWN
    client: str = UNKNOWN
    folder: str | None = None
    """What metrics call the client, where it is one of a folder."""
    operation: str = "other"
    is_endpoint: bool = True
    """Whether the path is the operation's own, and not one below it."""
    is_billed: bool = True
    """Whether a POST to the path may use tokens, if the operation does."""
    grant: str = ""
    api: Api = "anthropic"
    """Whose shape answers and errors have."""
    status: int | None = None
    """What the agent was told."""
    code: int | None = None
    """What the upstream said, if anything."""
    outcome: str = "client_abort"
    """Until something else is known, the agent has left."""
    rejection: str | None = None
    in_flight: bool = False
    """Whether it is counted as running."""
    started: float = field(default_factory=time.perf_counter)
    first_byte: float | None = None
    """When the response's head came."""
    finished: float | None = None
    ended: float = 0.0
    """The same in Unix seconds, once it is over."""
    request_bytes: int = 0
    response_bytes: int = 0
    waited: float = 0.0
    """Seconds until there was a connection to the upstream."""
    sent_at: float | None = None
    """When the request's head went out."""
    piece_overheads: Histogram = _UNSEEN
    """For each piece of the answer, the seconds from reading it to writing it."""
    meter: Meter | None = None
    """What reads the usage, once an answer has begun."""
    usage: Usage | None = field(default=None, repr=False)
    """What it has read, once the call is over; with a chain, what its attempts' meters have."""
    request_id: str = ""
    """The upstream's, as its answer states it."""
    session_id: str = ""
    agent_id: str = ""
    parent_agent_id: str = ""
    """As the agent's requests state them: see `session`."""
    is_counted: bool = False
    """Whether what it cost is counted, for a ledger or for limits."""
    background: str = ""
    """The background response that a GET asks for, where that is yet to be billed."""
    bill: Bill | None = None
    """What it used and cost, once that is counted."""
    chain: ChainRecord | None = None
    """What it did on its way through LLM proxies, where its relay has any."""
    trace: Trace | None = None
    """Which trace it belongs to, where there are traces."""
    on_finish: Callable[[CallRecord], None] | None = field(default=None, repr=False)
    """Who wants to know what it says of itself in the end."""
    summary: CallFields | None = None
    """What the log says of it, once that has been put together."""

    @property
    def client_label(self) -> str:
        """What metrics call the client."""
        return self.folder or self.client

    @property
    def attempts(self) -> Sequence[CallRecord]:
        """The records of what the API was asked, and said: of a call without hops, its own."""
        return (self,) if self.chain is None else self.chain.attempts

    def answered(self, head: ResponseHead) -> None:
        """Note the response's head, and set up the meter that will read its body."""
        self.first_byte = time.perf_counter()
        self.status = self.code = head.status
        values: dict[bytes, bytes] = {}
        for each in head.fields:
            if (key := each.key) in _NOTED:
                if key not in values:
                    values[key] = each.value
                elif key == b"content-encoding":  # several lines are one list
                    values[key] += b", " + each.value
        get = values.get
        self.request_id = identifier(get(b"request-id")) or identifier(get(b"x-request-id"))
        # What was made before and is only fetched again (GET /v1/responses/…) is no new usage.
        is_new = (self.method == "POST" and self.is_billed) or self.background
        content_type, codings = get(b"content-type", b""), get(b"content-encoding", b"")
        self.meter = Meter(
            self.operation if is_new else "other",
            head.status,
            content_type,
            codings,
            is_endpoint=self.is_endpoint,
            sizes=self.is_counted and self.method == "POST",
        )

    def succeeded(self) -> None:
        """Note that the answer was passed on to its end."""
        refused = self.code is not None and self.code >= 400
        self.outcome = "upstream_error" if refused else "ok"

    def failed(self, error: RelayError) -> None:
        """Note what ended the call."""
        if self.code is not None and isinstance(error, ClientError):
            self.outcome = "client_abort"  # refused too late to count as such
            return
        self.outcome = error.outcome
        self.rejection = error.rejection
        if self.code is None:
            self.code = error.upstream_status
            self.status = error.status

    def stop(self) -> None:
        """Stop the clocks: the call is over."""
        self.finished, self.ended = time.perf_counter(), time.time()

    def finish(self) -> None:
        """Let what the answer said of itself have its say, once the call is over."""
        if self.finished is None:
            self.stop()
        if self.outcome == "client_abort" and self.code is not None and self.code >= 400:
            self.outcome = "upstream_error"  # that is why it left, or it makes no difference
        if self.meter is not None and self.usage is None:
            self._judge(self.meter)
        if self.chain is not None:
            self._sum_up(self.chain.attempts)

    def _judge(self, meter: Meter) -> None:
        """Have the meter read the rest, and say whether the answer was as good as it went."""
        assert self.finished is not None
        self.usage = meter.finish(self._end(), self.finished)
        if self.outcome in GOOD_OUTCOMES and self.usage.stream_error:
            self.outcome = "stream_error"  # agents leave when they read of it
        elif self.outcome == "ok" and self.usage.unusable:
            self.outcome = "upstream_error"
        elif self.outcome == "ok" and self.usage.truncated:
            self.outcome = "truncated"
        elif self.outcome == "client_abort" and self.usage.ended:
            self.outcome = "ok"  # nothing was left to wait for

    def _sum_up(self, attempts: Sequence[CallRecord]) -> None:
        """Take what the API said from its answers, and not from what a hop made of them."""
        if attempts and attempts[0] is self:
            return  # all hops were left out
        for each in attempts:
            if each.finished is None:
                each.finished = self.finished  # it was cut, for the call had ended
            each.finish()
        said = [each.usage for each in attempts if each.usage is not None]
        self.usage = summed(self.usage, said)
        self.request_id = request_id_of(attempts)

    def drop_meters(self) -> None:
        """Let go of what may hold much of a body."""
        self.meter = None
        if self.chain is not None:
            for each in self.chain.attempts:
                each.meter = None

    def _end(self) -> End:
        if self.outcome == "client_abort":
            return "aborted"
        return "clean" if self.outcome in ("ok", "upstream_error") else "broken"

    @property
    def duration(self) -> float:
        """Seconds from the request's head to the end of the call, or until now."""
        return (self.finished or time.perf_counter()) - self.started

    @property
    def time_to_first_byte(self) -> float | None:
        """Seconds from the request's head to the response's, or None."""
        return None if self.first_byte is None else self.first_byte - self.started

    @property
    def time_to_first_token(self) -> float | None:
        """Seconds from the request's head to the first piece of content, or None."""
        first = self.usage.first_token_at if self.usage else None
        return None if first is None else first - self.started

    @property
    def request_overhead(self) -> float | None:
        """Seconds that the request spent in the relay, waiting for a connection left out."""
        return None if self.sent_at is None else self.sent_at - self.started - self.waited


def first_value(head: MessageHead, key: bytes) -> str:
    """Return an identifier from the first header of this name."""
    values = head.values(key)
    return identifier(values[0]) if values else ""


def identifier(value: bytes | None) -> str:
    """Return an identifier as far as a log line or an exemplar may hold it."""
    if not value:
        return ""
    text = value[:ID_LIMIT]
    return text.decode("ascii") if _IDENTIFIER.fullmatch(text) else ""
