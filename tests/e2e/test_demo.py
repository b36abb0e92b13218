"""`docker compose --profile demo up`, with no key: what a newcomer sees."""

from __future__ import annotations

import json
import re
import time
import urllib.parse

from tests.e2e.stack import Stack, eventually, get, running_stack
from tests.e2e.test_credentials import credential_headers

SHORT_FORM = "grants: [anthropic]\nclaude:\n  base_url: {headroom}\n"
NAMES = ("reviewer: ", "writer: ", "old hand: ")
PASS_BEGINS = "sk-ant-api03-"
# What the stand-in for Headroom has received, looked at from inside: nobody else may.
SEEN = """
import json, urllib.request
for each in json.load(urllib.request.urlopen("http://127.0.0.1:8787/standin/requests")):
    print([value for name, value in each["headers"] if name.lower() == "x-api-key"])
"""


def test_the_demo_shows_a_chain_at_work() -> None:
    """Streams, a cached prompt, an error, a limit nearly reached; then what to open."""
    started = time.monotonic()
    with running_stack("relay-demo", config=None, profiles=("demo",)) as stack:
        stack.wait_for_line("demo-agent", "the whole answer: Hello!")
        assert time.monotonic() - started < 60
        stack.wait_for_line("demo-agent", "relay top")
        said = stack.logs("demo-agent")
        check_stream(said)
        check_agents(said)
        check_links(stack, said)
        check_log(stack)
        check_chain(stack)


def check_stream(said: str) -> None:
    """The first answer came word by word."""
    times = [float(line.split(" s  ")[0]) for line in said.splitlines() if " s  " in line]
    assert len(times) > 20
    assert times == sorted(times)
    assert times[-1] - times[0] > 1, "the answer came in one burst"
    assert "tokens off the prompt, and never held the key" in said


def check_agents(said: str) -> None:
    """Three worked, each in its way, and nobody was refused but for the model."""
    lines = said.splitlines()
    assert [sum(line.startswith(name) for line in lines) for name in NAMES] == [4, 4, 4]
    cached = re.findall(r"reviewer: .* (\d+) in, (\d+) of them from the cache", said)
    assert len(cached) == 3
    assert all(int(read) / int(whole) > 0.9 for whole, read in cached)
    assert said.count("404 not_found_error: model: claude-2.1") == 1
    assert said.count("tokens out, the first after") == 11


def check_links(stack: Stack, said: str) -> None:
    """What the last lines name is there, and shows the calls."""
    *_, page, graph, terminal = said.rstrip().splitlines()
    assert terminal.endswith("docker compose exec relay relay top")
    assert get(page.split()[-1]).status == 200
    link = urllib.parse.urlsplit(graph.split()[-1])
    assert get(link.geturl()).status == 200
    query = urllib.parse.parse_qs(link.query)["g0.expr"][0]
    expected = [1.0, 12.0]  # refused for its model, and answered
    assert eventually(lambda: sorted(stack.query(query)) == expected or None, "all calls")


def check_log(stack: Stack) -> None:
    """No warning but that of the limit; what Prometheus says while it starts is not shown."""
    stack.wait_for_line("relay", "of it is used")
    (warning,) = [line for line in stack.logs("relay").splitlines() if " WARNING " in line]
    assert "per session of client agent" in warning
    page = get(f"{stack.admin_url}/calls").json()
    assert isinstance(page, dict)
    assert 0.8 <= max(each["used"] / each["most"] for each in page["limits"]) < 1
    services = json.loads(stack.docker("config", "--format", "json"))["services"]
    assert services["prometheus"]["attach"] is False


def check_chain(stack: Stack) -> None:
    """The calls went by way of the hop, which made one shorter; the API alone saw the key."""
    assert stack.metric("relay_hop_calls_total", hop="headroom", outcome="passed") == 13
    sizes = {
        side: stack.metric("relay_hop_request_bytes_total", side=side) for side in ("in", "out")
    }
    assert sizes["in"] > sizes["out"] > 0
    key = stack.docker("exec", "-T", "relay", "cat", "/run/demo/anthropic_api_key").strip()
    records = stack.records("done", 13)
    assert [credential_headers(each) for each in records] == [[("x-api-key", key)]] * 13
    shown = stack.docker("exec", "-T", "demo-headroom", "python", "-c", SEEN)
    assert f"'{PASS_BEGINS}" in shown
    assert key not in shown
    report = stack.docker("exec", "-T", "relay", "relay", "doctor", "--report=-")
    assert "anthropic/headroom: calls come back from it" in report
    assert "operation=messages model=claude-sonnet-4-5 status=200 outcome=ok" in report
    assert key not in report


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
