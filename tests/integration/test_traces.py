"""Traces, as a collector gets them: parents and children, what they say, what they cost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.harness import ROOT
from tests.harness.chain import running_chain
from tests.harness.collector import Collector, attributes, running_collector
from tests.harness.configuration import configuration
from tests.harness.messages import OK, OK_BODY, request
from tests.harness.relay import relay_process, running_relay
from tests.harness.secrets import BODY_SECRET, QUERY_SECRET, SECRETS
from tests.harness.upstream import Upstream, running_upstream

TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT: Final = "00f067aa0ba902b7"
HEADER: Final = f"traceparent: 00-{TRACE}-{PARENT}-01"
SESSION: Final = "0b1c2d3e-4f5a-6b7c-8d9e-0f1a2b3c4d5e"
SERVER, CLIENT = 2, 3
ANSWER: Final = json.dumps(
    {
        "type": "message",
        "model": "claude-opus-4-1",
        "content": [{"type": "text", "text": BODY_SECRET}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 3},
    }
).encode()
SAID: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + (
    b"content-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
)


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """A collector that the relay is told of by the standard variables."""
    async with running_collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield running


async def test_a_call_and_its_leg_are_children_of_the_agents_span(
    collector: Collector, upstream: Upstream, tmp_path: Path
) -> None:
    """With model, tokens and ids, and without a word of what was said; the log has the trace."""
    upstream.answer_with(SAID)
    target = f"/relay/anthropic/v1/messages?{QUERY_SECRET}"
    lines = (
        *(HEADER, "tracestate: a=b", "baggage: c=d"),
        *(f"x-claude-code-session-id: {SESSION}", "x-claude-code-agent-id: agent-1"),
    )
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        body = json.dumps({"prompt": BODY_SECRET}).encode()
        assert (await relay.ask(request(target, *lines, body=body))).status == 200
        server, client = await collector.have(2)
        (line,) = await relay.log.calls()
    assert line["trace_id"] == TRACE
    assert (server.kind, client.kind) == (SERVER, CLIENT)
    assert {each.trace_id.hex() for each in (server, client)} == {TRACE}
    assert server.parent_span_id.hex() == PARENT
    assert client.parent_span_id == server.span_id
    (sent,) = upstream.requests
    assert sent.values("traceparent") == [f"00-{TRACE}-{client.span_id.hex()}-01".encode()]
    assert (sent.values("tracestate"), sent.values("baggage")) == ([b"a=b"], [b"c=d"])
    assert server.start_time_unix_nano <= client.start_time_unix_nano
    assert client.start_time_unix_nano < client.end_time_unix_nano <= server.end_time_unix_nano
    usage = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.response.model": "claude-opus-4-1",
        "gen_ai.response.finish_reasons": ["end_turn"],
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 7,
    }
    both = {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "relay.name": "anthropic",
        "relay.operation": "messages",
        "relay.outcome": "ok",
    }
    ids = {"gen_ai.conversation.id": SESSION, "gen_ai.agent.id": "agent-1"}
    assert attributes(server) == both | ids | {"relay.client": "agent"}
    place = {"server.address": "127.0.0.1", "server.port": upstream.port}
    assert attributes(client) == usage | both | place
    assert (server.name, client.name) == ("POST messages", "chat claude-opus-4-1")
    assert collector.services == {"relay"}
    assert collector.schemas == {"https://opentelemetry.io/schemas/1.41.0"}
    assert not any(each.encode() in collector.bytes for each in SECRETS)


@pytest.mark.parametrize("keeps", ["all", "none", "a span of its own"])
async def test_a_chain_is_one_trace(collector: Collector, tmp_path: Path, keeps: str) -> None:
    """Whether the LLM proxy passes the header on, drops it, or puts its own span in between."""
    async with running_chain(tmp_path) as chain:
        chain.api.answer_with(SAID)
        agent, hop, sent = await chain.begin(HEADER)
        (told,) = sent.values("traceparent")
        own = "1122334455667788"
        changes = {
            "all": (),
            "none": (),
            "a span of its own": (f"traceparent: 00-{TRACE}-{own}-01",),
        }[keeps]
        without = () if keeps == "all" else ("traceparent",)
        back = await chain.come_back(sent, "/v1/messages", *changes, without=without)
        answer = await back.answer()
        await hop.send(SAID)
        assert (await agent.answer()).body == answer.body == ANSWER
        call, first, last = await collector.have(3)
    assert {each.trace_id.hex() for each in (call, first, last)} == {TRACE}
    assert call.parent_span_id.hex() == PARENT
    assert first.parent_span_id == call.span_id
    assert told.decode() == f"00-{TRACE}-{first.span_id.hex()}-01"
    assert last.parent_span_id.hex() == (own if "own" in keeps else first.span_id.hex())
    (at_api,) = chain.api.requests
    assert at_api.values("traceparent") == [f"00-{TRACE}-{last.span_id.hex()}-01".encode()]
    assert attributes(first)["relay.hop"] == "headroom"
    assert "gen_ai.usage.input_tokens" not in attributes(first)
    assert attributes(last)["gen_ai.usage.input_tokens"] == 12
    assert not any(each.encode() in collector.bytes for each in SECRETS)


@pytest.mark.parametrize(
    ("lines", "flag"),
    [((), "01"), ((HEADER[:-2] + "00",), "00"), (("traceparent: 00-0-0-01",), "01")],
)
async def test_who_sampled_it_not_gets_no_spans(
    collector: Collector, upstream: Upstream, tmp_path: Path, lines: tuple[str, ...], flag: str
) -> None:
    """A call without a parent, or a wrong one, begins a trace of its own."""
    upstream.answer_with(OK)
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        for more in (lines, (HEADER,)):
            assert (await relay.ask(request("/relay/anthropic/v1/messages", *more))).status == 200
        found = await collector.have(2 if flag == "00" else 4)
    sent = upstream.requests[0].values("traceparent")[0].decode()
    assert sent.endswith(f"-{flag}")
    assert sum(each.trace_id.hex() == TRACE for each in found) == 2
    assert len(collector.spans) == len(found)


async def test_what_failed_says_why(
    collector: Collector, upstream: Upstream, tmp_path: Path
) -> None:
    """By the outcome, or the API's own word for it, and the span's status."""
    error = b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}'
    head = b"HTTP/1.1 529 X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    upstream.answer_with(head % len(error) + error)
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        assert (await relay.ask(request())).status == 529
        server, client = await collector.have(2)
    for span in (server, client):
        assert attributes(span)["error.type"] == "overloaded_error"
        assert attributes(span)["http.response.status_code"] == 529
        assert span.status.code == 2


async def test_a_dead_collector_costs_spans_and_nothing_else(
    upstream: Upstream, tmp_path: Path
) -> None:
    """Those that find no room are counted, and the log says so; every call goes on."""
    upstream.answer_with(OK)
    async with running_upstream() as silent:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://user:secret@127.0.0.1:{silent.port}",
            "OTEL_BSP_SCHEDULE_DELAY": "10",
            "OTEL_BSP_MAX_QUEUE_SIZE": "20",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-team: secret",  # it should be an equals sign
        }
        async with relay_process(tmp_path, configuration(upstream.port), environment) as relay:
            agent = await relay.agent()
            answers = [await agent.ask(request()) for _ in range(60)]
            assert {(each.status, each.body) for each in answers} == {(200, OK_BODY)}
            said = await relay.log.says(
                r"^the collector at 127\.0\.0\.1:(\d+) did not take \d+ spans; calls go on$"
            )
            assert said[1] == str(silent.port)
            assert sum((await relay.samples("relay_trace_spans_dropped_total")).values()) > 40
            assert not any("secret" in line for line in relay.log.text)
            assert not any("OpenTelemetry" in line for line in relay.log.text)


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://[::1", "127.0.0.1:4318", "?"])
async def test_a_collector_that_cannot_be_one_costs_spans_and_nothing_else(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """A variable that is wrong keeps no relay from serving."""
    upstream.answer_with(OK)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        assert (await relay.ask(request())).status == 200
        await relay.log.says(r"^the collector at .* did not take 2 spans; calls go on$")


async def test_without_the_variables_a_trace_passes_as_it_came(
    upstream: Upstream, tmp_path: Path
) -> None:
    """Nothing of the SDK is loaded, and the log has no trace."""
    upstream.answer_with(OK)
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        lines = (HEADER, "tracestate: a=b")
        assert (await relay.ask(request("/relay/anthropic/v1/messages", *lines))).status == 200
        (line,) = await relay.log.calls()
        assert "trace_id" not in line
        assert relay.app.lifecycle.tracer is None
    (sent,) = upstream.requests
    assert sent.values("traceparent") == [HEADER.partition(": ")[2].encode()]
    assert sent.values("tracestate") == [b"a=b"]


def test_the_sdk_is_loaded_only_where_traces_are_wanted() -> None:
    """The whole of the relay is, without it."""
    code = (
        "import sys, relay.app, relay.proxy.handler, relay.admin.application; print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not [
        each for each in done.stdout.split() if each.startswith(("opentelemetry", "google"))
    ]


async def test_without_the_extra_it_serves_and_says_what_to_install(
    upstream: Upstream, tmp_path: Path
) -> None:
    """Traces are not worth a relay that does not start."""
    upstream.answer_with(OK)
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry/__init__.py").write_text("raise ImportError('not installed')")
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    environment["PYTHONPATH"] = f"{tmp_path}:{ROOT}"
    async with relay_process(tmp_path, configuration(upstream.port), environment) as relay:
        await relay.log.says(
            r"^no traces: that takes what pip install 'agent-relay\[otel\]' brings$"
        )
        assert (await relay.ask(request())).status == 200
