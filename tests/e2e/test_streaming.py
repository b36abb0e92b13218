"""Answers arrive as they are sent, prompts whole, and an agent that leaves takes its call along."""

from __future__ import annotations

import hashlib
import json
import subprocess

from tests.e2e.stack import Agent, Call, Stack, eventually

STREAM = json.dumps({"model": "claude-sonnet-4-5", "stream": True, "messages": []})
MESSAGES = "/relay/anthropic/v1/messages"


def standin(mode: str, **arguments: object) -> dict[str, str]:
    """Return the headers that have the stand-in play a mode."""
    text = "&".join(f"{name}={value}" for name, value in arguments.items())
    return {"x-standin-mode": mode, "x-standin-args": text} if text else {"x-standin-mode": mode}


def test_each_event_arrives_when_it_is_sent(stack: Stack, agent: Agent) -> None:
    """Single events, by the clock: sent by Headroom, seen in the agent's container."""
    report = agent.call(MESSAGES, body=STREAM, headers=standin("slow", events=12, gap=0.2))
    (record,) = stack.records("done", 1)
    sent = record["events"]
    assert isinstance(sent, list)
    arrived = report.event_arrivals()
    assert len(arrived) == len(sent)
    waited = [
        there for there, following in zip(arrived, sent[1:], strict=False) if there > following
    ]
    assert not waited, f"an event waited for the next one: sent {sent}, there {arrived}"
    delays = sorted(there - here for here, there in zip(sent, arrived, strict=True))
    assert delays[len(delays) // 2] < 0.02


def test_a_late_first_byte_is_waited_for(agent: Agent) -> None:
    """Headroom thinks; the relay does not."""
    report = agent.call(MESSAGES, headers=standin("late", delay=1.5))
    assert report.status == 200


def test_a_prompt_of_20_mb_arrives_whole(stack: Stack, agent: Agent) -> None:
    """Not a byte is changed on the way, and the length is the agent's."""
    padding = 20 * 1024 * 1024
    report = agent.call(MESSAGES, body=STREAM, padding=padding)
    assert report.status == 200
    (record,) = stack.records("done", 1)
    expected = hashlib.sha256(STREAM.encode() + b" " * padding).hexdigest()
    assert (record["body_bytes"], record["body_sha256"]) == (len(STREAM) + padding, expected)


def leave(stack: Stack, call: Call, code: str) -> None:
    """Hang up; Headroom sees it within a second, and the call counts as left by the agent."""
    labels = {"outcome": "client_abort", "code": code}
    before = stack.metric("relay_requests_total", **labels)
    report = call.hang_up()
    (record,) = stack.records("aborted", 1)
    ended = record["ended"]
    assert isinstance(ended, float)
    assert ended - report.ended < 1
    eventually(
        lambda: stack.metric("relay_requests_total", **labels) == before + 1 or None,
        "the call to be counted",
    )


def test_an_agent_that_leaves_in_mid_stream_ends_the_upstream_call(
    stack: Stack, agent: Agent
) -> None:
    """And nothing of it stays in flight."""
    call = agent.begin(MESSAGES, body=STREAM, headers=standin("stall", after=3))
    call.wait_for_head()
    leave(stack, call, "200")
    assert stack.metric("relay_requests_in_flight") == 0


def test_an_agent_that_leaves_before_the_first_byte_ends_the_upstream_call(
    stack: Stack, agent: Agent
) -> None:
    """The same while Headroom has not said anything yet."""
    call = agent.begin(MESSAGES, body=STREAM, headers=standin("stall", before="head"))
    stack.records("answering", 1)
    leave(stack, call, "none")


def test_an_answer_that_breaks_off_is_never_taken_for_complete(agent: Agent) -> None:
    """Truncated or reset: what came is delivered, and then the agent's client raises."""
    for mode in ("truncated", "reset"):
        report = agent.call(MESSAGES, body=STREAM, headers=standin(mode))
        assert report.status == 200
        assert "message_start" in report.text
        assert "message_stop" not in report.text
        assert report.error == "IncompleteRead", mode


def test_errors_of_the_api_pass_through_unchanged(agent: Agent) -> None:
    """429 and 529 with their bodies, headers and an empty reason: the agent has its own retries."""
    report = agent.call(MESSAGES, headers=standin("429", retry_after=7))
    assert (report.status, report.header("retry-after")) == (429, "7")
    assert '"rate_limit_error"' in report.text
    assert report.header("x-relay-error") is None
    report = agent.call(MESSAGES, headers=standin("529"))
    assert (report.status, report.reason) == (529, "")
    assert '"overloaded_error"' in report.text


def test_headroom_away_and_back_again(stack: Stack, agent: Agent) -> None:
    """502 that says what to do while it is away; served again as soon as it is back."""
    stack.docker("stop", "--timeout", "1", "demo-api")
    try:
        report = agent.call(MESSAGES)
        assert report.status == 502
        assert report.header("x-relay-error") == "connect_error"
        assert "Check that the LLM proxy" in report.text
        assert "localhost" not in report.text
        assert stack.metric("relay_upstream_up", relay="anthropic") == 0
        assert stack.ready().status == 200
    finally:
        stack.docker("start", "demo-api")
        stack.wait_for_line("demo-api", "listening", after=1)
    assert agent.call(MESSAGES).status == 200
    assert stack.metric("relay_upstream_up", relay="anthropic") == 1


def test_stopping_the_relay_lets_a_stream_finish(stack: Stack, agent: Agent) -> None:
    """`docker compose stop` drains: the call in flight ends whole, the process with status 0."""
    call = agent.begin(MESSAGES, body=STREAM, headers=standin("slow", events=40, gap=0.05))
    stack.records("answering", 1)
    stack.docker("stop", "relay")
    report = call.report()
    assert report.error is None
    assert "message_stop" in report.text
    container = stack.container_id("relay")
    assert '"ExitCode": 0' in inspect(container)
    started = stack.logs("relay").count(f"relays on {stack.gateway}")
    stack.docker("start", "relay")
    stack.wait_for_line("relay", f"relays on {stack.gateway}", after=started)
    assert agent.call(MESSAGES).status == 200


def inspect(container: str) -> str:
    """Return Docker's description of a container."""
    command = ["docker", "inspect", container]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
