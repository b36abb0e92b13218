"""Every call measured, read back from Prometheus by PromQL and not from the relay."""

from __future__ import annotations

import json
import subprocess

from tests.e2e.stack import Agent, Stack, eventually, get
from tests.e2e.test_streaming import MESSAGES, STREAM, standin

# What the stand-in states of every answer of its own; the output is one for each delta.
INPUT, CACHE_READ, CACHE_WRITTEN = 25, 7, 3


def total(stack: Stack, series: str) -> float:
    """Return a counter as Prometheus has it now; 0 where it has not seen it."""
    return sum(stack.query(f"sum({series})"))


def growth(stack: Stack, series: str, before: float) -> float:
    """Wait until Prometheus has seen a counter grow, and return by how much."""
    return eventually(lambda: total(stack, series) - before or None, series)


def test_tokens_of_a_stream_are_exact(stack: Stack, agent: Agent) -> None:
    """By type and model; what the API did not split is said to be unknown."""
    labels = 'relay="anthropic",client="agent",model="claude-sonnet-4-5"'
    kinds = {
        "input": INPUT,
        "cache_read": CACHE_READ,
        "cache_write_unknown": CACHE_WRITTEN,
        "output": 11,
    }
    series = {kind: f'relay_tokens_total{{{labels},type="{kind}"}}' for kind in kinds}
    before = {kind: total(stack, each) for kind, each in series.items()}
    assert agent.call(MESSAGES, body=STREAM, headers=standin("slow", events=11, gap=0.01)).status
    for kind, count in kinds.items():
        assert growth(stack, series[kind], before[kind]) == count, kind


def test_a_coded_answer_is_measured_and_untouched(stack: Stack, agent: Agent) -> None:
    """Coded by gzip it goes through as it is, and its usage is read from a copy."""
    series = 'relay_tokens_total{relay="anthropic",type="input"}'
    before = total(stack, series)
    report = agent.call(MESSAGES, headers={**standin("gzip"), "accept-encoding": "gzip"})
    assert report.header("content-encoding") == "gzip"
    assert report.text.startswith("\x1f\x8b")
    assert growth(stack, series, before) == INPUT


def test_each_end_of_a_call_has_its_outcome(stack: Stack, agent: Agent) -> None:
    """An error inside a 200 and an answer cut short are told from what went well."""
    for mode, outcome in (("error_midstream", "stream_error"), ("truncated", "truncated")):
        series = f'relay_requests_total{{operation="messages",code="200",outcome="{outcome}"}}'
        before = total(stack, series)
        agent.call(MESSAGES, body=STREAM, headers=standin(mode))
        assert growth(stack, series, before) == 1, outcome
    assert total(stack, "relay_requests_in_flight") == 0


def test_limits_and_rules_are_there(stack: Stack, agent: Agent) -> None:
    """The API's rate limits as gauges; the recording rules under OpenTelemetry's names."""
    agent.call(MESSAGES, body=STREAM)
    for series in (
        'relay_ratelimit_remaining{relay="anthropic",kind="input_tokens"}',
        'relay_ratelimit_reset_timestamp_seconds{relay="anthropic",kind="requests"}',
        'relay_overhead_seconds_count{relay="anthropic",phase="request"} > 0',
        'relay_time_to_first_token_seconds_count{relay="anthropic",model="claude-sonnet-4-5"} > 0',
        'relay_upstream_info{relay="anthropic"}',
        '{__name__=~"gen_ai_.*"}',
    ):
        assert eventually(lambda query=series: stack.query(query) or None, series)  # type: ignore[misc]  # mypy cannot infer a lambda's default


def test_top_shows_the_calls(stack: Stack, agent: Agent) -> None:
    """`relay top` in the relay's own container: for people, and for scripts."""
    agent.call(MESSAGES, body=STREAM)
    assert "anthropic" in stack.docker("exec", "-T", "relay", "relay", "top", "--once")
    figures = json.loads(stack.docker("exec", "-T", "relay", "relay", "top", "--json"))
    assert figures["relays"]["anthropic"]["upstream"] == "up"
    assert figures["relays"]["anthropic"]["calls"] > 0
    assert figures["in_flight"] == []


def test_promtool_has_nothing_to_say_of_the_metrics(stack: Stack, agent: Agent) -> None:
    """Names, types and units are as Prometheus wants them."""
    agent.call(MESSAGES, body=STREAM)
    command = ["docker", "run", "--rm", "--interactive", "--network", "none"]
    command += ["--entrypoint", "promtool", "prom/prometheus:v2.53.3", "check", "metrics"]
    exposition = get(f"{stack.admin_url}/metrics").text
    done = subprocess.run(command, input=exposition, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
