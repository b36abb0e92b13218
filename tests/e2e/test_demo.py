"""`docker compose --profile demo up`, with no key: what a newcomer sees."""

from __future__ import annotations

import time

from tests.e2e.stack import Stack, eventually, running_stack
from tests.e2e.test_credentials import credential_headers

SHORT_FORM = "grants: [anthropic]\nclaude:\n  base_url: {headroom}\n"
PASS_BEGINS = "sk-ant-api03-"
# What the stand-in for Headroom has received, looked at from inside: nobody else may.
SEEN = """
import json, urllib.request
for each in json.load(urllib.request.urlopen("http://127.0.0.1:8787/standin/requests")):
    print([value for name, value in each["headers"] if name.lower() == "x-api-key"])
"""


def test_the_demo_streams_one_call_and_prometheus_has_it() -> None:
    """The agent prints the answer as it comes; the call is in /metrics and in Prometheus."""
    started = time.monotonic()
    with running_stack("relay-demo", config=None, profiles=("demo",)) as stack:
        stack.wait_for_line("demo-agent", "the whole answer: Hello!")
        assert time.monotonic() - started < 60
        pieces = [line for line in stack.logs("demo-agent").splitlines() if " s  " in line]
        times = [float(line.split(" s  ")[0]) for line in pieces]
        assert len(times) > 20
        assert times == sorted(times)
        assert times[-1] - times[0] > 1, "the answer came in one burst"
        stack.wait_for_line("demo-agent", "tokens off the prompt, and never held the key")

        labels = {"relay": "anthropic", "client": "agent", "outcome": "ok", "code": "200"}
        eventually(
            lambda: stack.metric("relay_requests_total", operation="messages", **labels) or None,
            "the call in /metrics",
        )
        query = 'relay_requests_total{operation="messages",client="agent",outcome="ok"} > 0'
        assert eventually(lambda: stack.query(query) or None, "the call in Prometheus") == [1.0]
        check_chain(stack)


def check_chain(stack: Stack) -> None:
    """The call went by way of the hop, which made it shorter; the API alone saw the key."""
    assert stack.metric("relay_hop_calls_total", hop="headroom", outcome="passed") == 1
    sizes = {
        side: stack.metric("relay_hop_request_bytes_total", side=side) for side in ("in", "out")
    }
    assert sizes["in"] > sizes["out"] > 0
    key = stack.docker("exec", "-T", "relay", "cat", "/run/demo/anthropic_api_key").strip()
    (record,) = stack.records("done", 1)
    assert credential_headers(record) == [("x-api-key", key)]
    shown = stack.docker("exec", "-T", "demo-headroom", "python", "-c", SEEN)
    assert f"'{PASS_BEGINS}" in shown
    assert key not in shown


def test_without_a_key_the_stack_says_what_is_missing_and_recovers() -> None:
    """No key and no Headroom: it starts, says so, and serves as soon as they are there."""
    with running_stack("relay-bare", config=SHORT_FORM, services=("relay",)) as stack:
        line = stack.wait_for_line("relay", "credential anthropic: no value yet")
        assert "$ANTHROPIC_API_KEY is not set" in line
        assert "/run/secrets/anthropic_api_key" in line
        assert "in the folder secrets" in line
        stack.wait_for_line("relay", "nothing answers at http://localhost:")
        assert stack.ready().status == 503
        assert '"ready": false' in stack.ready().text
        status = stack.docker("exec", "relay", "relay", "health")
        assert "ok" in status

        stack.write_secret("anthropic_api_key", "sk-ant-api03-cameLater00000000000000000000000AA")
        stack.wait_for_line("relay", "there now, from /run/secrets/anthropic_api_key")
        assert stack.ready().status == 200

        stack.docker("up", "--detach", "demo-api")
        stack.wait_for_line("relay", "answers now")
        stack.docker("run", "--rm", "--no-deps", "demo-agent")
        records = stack.records("done", 1)
        assert ["x-api-key", "sk-ant-api03-cameLater00000000000000000000000AA"] in [
            [str(name).lower(), value]
            for name, value in records[0]["headers"]  # type: ignore[attr-defined]  # JSON
        ]
