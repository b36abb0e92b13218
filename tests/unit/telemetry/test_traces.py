"""Traces without a collector: whose child a call is, what spans say, and when there are any."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from relay.http.message import RequestHead
from relay.telemetry.call import CallRecord
from relay.telemetry.traces import are_wanted, encoding
from relay.telemetry.traces.encoding import KEPT_ATTRIBUTES, request_of, resource_of, spans_of
from relay.telemetry.traces.exporter import Tracer
from relay.telemetry.traces.trace import Parent, Trace, read_parent
from tests.unit.heads import request_head

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
PARENT = Parent(int(TRACE, 16), int(SPAN, 16), is_sampled=True)
URL = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


def with_parent(*values: str) -> RequestHead:
    """Return a request's head with these headers of that name."""
    return request_head(*(("traceparent", value) for value in values))


@pytest.mark.parametrize(
    ("values", "parent"),
    [
        ([f"00-{TRACE}-{SPAN}-01"], PARENT),
        ([f"00-{TRACE}-{SPAN}-03"], PARENT),
        ([f"00-{TRACE}-{SPAN}-00"], PARENT._replace(is_sampled=False)),
        ([f"01-{TRACE}-{SPAN}-01-more"], PARENT),
        ([], None),
        ([f"00-{TRACE}-{SPAN}-01"] * 2, None),
        ([f"00-{TRACE}-{SPAN}-01-more"], None),
        ([f"ff-{TRACE}-{SPAN}-01"], None),
        ([f"00-{'0' * 32}-{SPAN}-01"], None),
        ([f"00-{TRACE}-{'0' * 16}-01"], None),
        ([f"00-{TRACE.upper()}-{SPAN}-01"], None),
        ([f"00-{TRACE}-{SPAN}"], None),
        ([""], None),
    ],
)
def test_the_parent_is_what_the_agent_says(values: list[str], parent: Parent | None) -> None:
    """By the rules of Trace Context; what breaks them is no parent."""
    assert read_parent(with_parent(*values)) == parent


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        (URL, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://h/v1/traces"}, True),
        (URL | {"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_SERVICE_NAME": "relay"}, False),
        (URL | {"OTEL_SDK_DISABLED": "true"}, False),
        (URL | {"OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_sent_where_a_collector_is_named(
    environment: dict[str, str], wanted: bool
) -> None:
    """By the standard's variables, which can switch them off as well."""
    assert are_wanted(environment) is wanted


def spans(record: CallRecord) -> list[Span]:
    """Return a call's spans, as a collector reads them."""
    data = request_of(resource_of({"service.name": "relay"}), spans_of(record, 1_800_000_000.0))
    (told,) = ExportTraceServiceRequest.FromString(data).resource_spans
    (scope,) = told.scope_spans
    assert scope.scope.name == "relay"
    return list(scope.spans)


def test_lengths_of_every_size_are_read_back() -> None:
    """A name may be long, and so may all of it together."""
    record = CallRecord(method="M" * 20_000, finished=1.5, started=1.25)
    record.trace = Trace(5, 6, None, is_sampled=True)
    (span,) = spans(record)
    assert span.name == f"{'M' * 20_000} other"
    assert (span.trace_id, span.span_id) == (bytes(15) + b"\x05", bytes(7) + b"\x06")
    assert span.parent_span_id == b""
    assert abs(span.start_time_unix_nano - 1_800_000_001_250_000_000) < 1_000
    assert abs(span.end_time_unix_nano - 1_800_000_001_500_000_000) < 1_000


def test_attributes_are_kept_up_to_a_number() -> None:
    """Sessions come and go."""
    for number in range(KEPT_ATTRIBUTES * 2):
        record = CallRecord(session_id=f"session-{number}", finished=1.0)
        record.trace = Trace(5, 6, None, is_sampled=True)
        (span,) = spans(record)
        told = {each.key: each.value.string_value for each in span.attributes}
        assert told["gen_ai.conversation.id"] == f"session-{number}"
        assert len(encoding._kept) <= KEPT_ATTRIBUTES


@pytest.mark.parametrize(("sampler", "sampled"), [("always_off", False), ("always_on", True)])
def test_the_standards_samplers_are_obeyed(
    monkeypatch: pytest.MonkeyPatch, sampler: str, sampled: bool
) -> None:
    """Whatever the parent says, where the sampler does not ask it."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    tracer = Tracer(URL | {"OTEL_TRACES_SAMPLER": sampler})
    for value in ("01", "00"):
        head = with_parent(f"00-{TRACE}-{SPAN}-{value}")
        assert tracer.begin(head, "messages").is_sampled is sampled
    tracer.close()
