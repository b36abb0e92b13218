"""A stand-in for an OpenTelemetry collector: it takes spans by OTLP, as that is published.

https://opentelemetry.io/docs/specs/otlp/#otlphttp, read by the classes of opentelemetry-proto.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.harness import FUSE_SECONDS
from tests.harness.peer import Request
from tests.harness.upstream import Upstream, running_upstream

TAKEN = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"


class Collector:
    """What was sent to it, and where it listens."""

    def __init__(self, upstream: Upstream) -> None:
        self.url = f"http://127.0.0.1:{upstream.port}"
        self.spans: list[Span] = []
        self.services: set[str] = set()
        self.schemas: set[str] = set()
        self.bytes = b""
        self._more = asyncio.Event()
        upstream.answer_with(self._take)

    def _take(self, request: Request) -> bytes:
        assert request.start == b"POST /v1/traces HTTP/1.1"
        assert request.values("content-type") == [b"application/x-protobuf"]
        self.bytes += request.body
        for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans:
            told = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.services.add(told["service.name"])
            for scope in resource.scope_spans:
                self.schemas.add(scope.schema_url)
                self.spans += scope.spans
        self._more.set()
        return TAKEN

    async def have(self, count: int) -> list[Span]:
        """Return the spans, by their beginning, once there are so many."""
        async with asyncio.timeout(FUSE_SECONDS):
            while len(self.spans) < count:
                self._more.clear()
                await self._more.wait()
        return sorted(self.spans, key=lambda span: span.start_time_unix_nano)


def attributes(span: Span) -> dict[str, object]:
    """Return what a span says."""
    found: dict[str, object] = {}
    for each in span.attributes:
        kind = each.value.WhichOneof("value") or ""
        value = getattr(each.value, kind)
        found[each.key] = (
            [item.string_value for item in value.values] if kind == "array_value" else value
        )
    return found


@asynccontextmanager
async def running_collector() -> AsyncIterator[Collector]:
    """Run a collector for the length of the context."""
    async with running_upstream() as upstream:
        yield Collector(upstream)
