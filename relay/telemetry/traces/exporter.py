"""Sends spans to a collector, by OpenTelemetry's SDK and its exporter for OTLP over HTTP.

Calls that are over wait in a queue that has an end; a thread of its own makes spans of them and
sends these, many at a time. No call waits for that, and a collector that is dead costs no more than
the spans: those that find no room are dropped, and counted. The standard's variables apply
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    set_span_in_context,
)

from relay import __version__, threads
from relay.http.message import RequestHead
from relay.telemetry.call import CallRecord
from relay.telemetry.traces.encoding import request_of, resource_of, spans_of
from relay.telemetry.traces.trace import Parent, Trace, new_span_id, new_trace_id, read_parent

# The defaults of the standard's batch processor: OTEL_BSP_MAX_QUEUE_SIZE and the like.
QUEUE_SPANS: Final = 2048
BATCH_SPANS: Final = 512
DELAY_MILLISECONDS: Final = 5000
# The SDK's own is ten seconds; a relay that stops does not wait for a collector that is dead.
CLOSE_SECONDS: Final = 1.0
QUIET_SECONDS: Final = 60.0

_SILENT: Final = logging.NullHandler()

log = logging.getLogger("relay")


class Tracer:
    """Begins the traces of calls, and takes them once they are over."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        # Their loggers write from the thread that sends, and quote headers that they cannot read,
        # which may be a key: what went wrong is said by `report`. Without a handler of its own a
        # logger that propagates nothing writes to standard error.
        for name in ("opentelemetry", "urllib3"):
            logger = logging.getLogger(name)
            logger.propagate = False
            logger.addHandler(_SILENT)
        provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        told = {key: str(value) for key, value in provider.resource.attributes.items()}
        self._resource = resource_of(told)
        # The default goes by the parent, and takes calls without one: no need to ask for that.
        self._sampler = provider.sampler if environment.get("OTEL_TRACES_SAMPLER") else None
        session = requests.Session()
        session.trust_env = False  # no proxy variable of the host is obeyed
        self._exporter = OTLPSpanExporter(session=session)
        self._most = _number(environment, "OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_SPANS)
        self._batch = _number(environment, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH_SPANS)
        delay = _number(environment, "OTEL_BSP_SCHEDULE_DELAY", DELAY_MILLISECONDS)
        self._delay_seconds = delay / 1000
        self._over: deque[tuple[CallRecord, int]] = deque()
        """Calls, each with how many spans it has."""
        # Each of these is written by one thread alone: the event loop's, then the one that sends.
        self._put = self._without_room = 0
        self._got = self._not_taken = 0
        self._wake = threading.Event()
        self._is_closed = False
        self._said = 0
        self._quiet_until = 0.0
        self._collector = _place(self._exporter._endpoint)  # noqa: SLF001  # nothing public tells it
        self._thread = threads.start(self._send_all)

    @property
    def dropped(self) -> int:
        """How many spans found no room, or were not taken."""
        return self._without_room + self._not_taken

    def begin(self, head: RequestHead, operation: str) -> Trace:
        """Return the trace that a call belongs to: its agent's, or a new one."""
        parent = read_parent(head)
        trace_id = new_trace_id() if parent is None else parent.trace_id
        return Trace(trace_id, new_span_id(), parent, self._samples(trace_id, parent, operation))

    def _samples(self, trace_id: int, parent: Parent | None, operation: str) -> bool:
        if self._sampler is None:
            return parent is None or parent.is_sampled
        context = Context()
        if parent is not None:
            span = NonRecordingSpan(_context(parent))
            context = set_span_in_context(span, context)
        result = self._sampler.should_sample(context, trace_id, operation, SpanKind.SERVER)
        return result.decision is not Decision.DROP

    def take(self, record: CallRecord) -> None:
        """Have the spans of a call that is over sent; without room, count them."""
        trace = record.trace
        if trace is None:
            return
        spans = 1 + len(trace.legs)
        if not trace.is_sampled:
            trace.forget()
            return
        waiting = self._put + spans - self._got
        if waiting > self._most:
            self._without_room += spans
            trace.forget()
            return
        self._put += spans
        self._over.append((record, spans))
        if waiting >= self._batch:
            self._wake.set()

    def report(self) -> None:
        """Log what was not taken, where that was not said in the last minute."""
        now = time.monotonic()
        lost = self.dropped - self._said
        if lost and now >= self._quiet_until:
            self._quiet_until = now + QUIET_SECONDS
            self._said += lost
            log.warning(
                "the collector at %s did not take %d spans; calls go on", self._collector, lost
            )

    def close(self) -> None:
        """Send what is left, if anybody takes it at once."""
        self._is_closed = True
        self._wake.set()
        self._thread.join(CLOSE_SECONDS)

    # The thread that sends

    def _send_all(self) -> None:
        is_closed = False
        while not is_closed:
            self._wake.wait(self._delay_seconds)
            self._wake.clear()
            is_closed = self._is_closed  # what is taken before that is sent yet
            while self._over:
                self._send(self._take_batch())

    def _take_batch(self) -> list[bytes]:
        spans: list[bytes] = []
        offset = time.time() - time.perf_counter()
        while self._over and len(spans) < self._batch:
            record, count = self._over.popleft()
            self._got += count
            spans += spans_of(record, offset)
            if record.trace is not None:
                record.trace.forget()
        return spans

    def _send(self, spans: Sequence[bytes]) -> None:
        try:
            # What is public encodes spans itself: see ``encoding``.
            taken = self._exporter._client.export(request_of(self._resource, spans)).success  # noqa: SLF001
        except Exception:  # noqa: BLE001  # whatever it is, the next ones are tried
            taken = False
        if not taken:
            self._not_taken += len(spans)


def _context(parent: Parent) -> SpanContext:
    flags = TraceFlags.SAMPLED if parent.is_sampled else TraceFlags.DEFAULT
    return SpanContext(
        parent.trace_id, parent.span_id, is_remote=True, trace_flags=TraceFlags(flags)
    )


def _resource() -> Resource:
    """Return what the variables say of this process; without a word it is called relay."""
    resource = Resource.create()
    name = str(resource.attributes.get(SERVICE_NAME, ""))
    if not name or name.startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "relay"}))
    return resource.merge(Resource({SERVICE_VERSION: __version__}))


def _place(endpoint: str) -> str:
    """Return a URL's host and port, without a user; those that cannot be are sending's to fail."""
    try:
        return urlsplit(endpoint).netloc.rpartition("@")[2]
    except ValueError:
        return "no address"


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else default
