"""The relay's container dies, is restarted, reloaded and stopped; agents keep their token."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.stack import Agent, Stack, eventually, running_stack
from tests.e2e.test_streaming import MESSAGES, STREAM, inspect, standin

# A credential's command that leaves something running, as careless ones do.
COMMAND = "sleep 1000 > /dev/null & echo sk-ant-api03-lifeOfTheRelay000000000000000AA"

CONFIG = f"""\
grants:
  - name: anthropic
    source: {{command: [sh, -c, "{COMMAND}"], ttl: 1}}
claude:
  base_url: {{headroom}}
drain: 1
"""

# Kills the relay itself: what a crash looks like to Docker.
CRASH = """
import os, pathlib, signal
for process in pathlib.Path("/proc").glob("[0-9]*"):
    if (process / "cmdline").read_bytes().startswith(b"python\\0-m\\0relay\\0serve"):
        os.kill(int(process.name), signal.SIGKILL)
"""

ZOMBIES = """
import contextlib, pathlib
for process in pathlib.Path("/proc").glob("[0-9]*"):
    with contextlib.suppress(OSError):
        if "State:\\tZ" in (process / "status").read_text():
            print(process.name)
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A relay that waits a second, and no longer, for calls in flight when it is stopped."""
    with running_stack(
        "relay-life", config=CONFIG, profiles=("demo",), services=("relay", "demo-api")
    ) as running:
        running.wait_for_line("relay", f"relays on {running.gateway}")
        running.wait_for_line("demo-api", "listening")
        yield running


@pytest.fixture(scope="module")
def agent_container(stack: Stack) -> Iterator[Agent]:
    """An agent that outlives the relay, with the token as it was at first."""
    with Agent(stack) as agent:
        yield agent


def starts(stack: Stack) -> int:
    """Return how often the relay has begun to listen."""
    return stack.logs("relay").count(f"relays on {stack.gateway}")


def wait_for_another_start(stack: Stack, before: int) -> None:
    """Wait until the relay listens again."""
    stack.wait_for_line("relay", f"relays on {stack.gateway}", after=before)


@pytest.mark.parametrize("reloaded", [False, True], ids=["as started", "after a reload"])
def test_a_crash_breaks_streams_off_and_the_relay_comes_back(
    stack: Stack, agent: Agent, reloaded: bool
) -> None:
    """No stream looks complete; Docker starts the relay again; the same token serves."""
    if reloaded:
        stack.docker("kill", "--signal", "HUP", "relay")
        stack.wait_for_line("relay", "reloaded /etc/relay")
    before = starts(stack)
    call = agent.begin(MESSAGES, body=STREAM, headers=standin("stall", after=3))
    stack.records("answering", 1)
    # Who ends the relay may end with its container, before it has said that it did.
    stack.docker("exec", "-T", "relay", "python", "-", stdin=CRASH, may_fail=True)
    report = call.report()
    assert report.error in ("IncompleteRead", "ConnectionResetError")
    assert "message_stop" not in report.text
    wait_for_another_start(stack, before)
    assert agent.call(MESSAGES).status == 200


def test_a_restart_keeps_the_token(stack: Stack, agent: Agent) -> None:
    """`docker compose restart relay`: the next call is served."""
    before = starts(stack)
    stack.docker("restart", "relay")
    wait_for_another_start(stack, before)
    assert agent.call(MESSAGES).status == 200


def test_a_stream_that_outlasts_the_drain_is_cut(stack: Stack, agent: Agent) -> None:
    """Broken off and never ended; the relay leaves in order, and takes its upstream call along."""
    before = starts(stack)
    call = agent.begin(MESSAGES, body=STREAM, headers=standin("stall", after=3))
    stack.records("answering", 1)
    stack.docker("stop", "relay")
    report = call.report()
    assert "message_start" in report.text
    assert "message_stop" not in report.text
    assert report.error == "IncompleteRead"
    stack.records("aborted", 1)
    (container,) = json.loads(inspect(stack.container_id("relay")))
    assert container["State"]["ExitCode"] == 0
    stack.docker("start", "relay")
    wait_for_another_start(stack, before)


def test_nothing_that_a_command_left_running_stays(stack: Stack, agent: Agent) -> None:
    """Neither running nor as a zombie: they would fill the limit of processes."""
    assert agent.call(MESSAGES).status == 200

    def none_is_left() -> bool | None:
        if "sleep 1000" in stack.docker("top", "relay"):  # the command may be running just now
            return None
        return stack.docker("exec", "-T", "relay", "python", "-c", ZOMBIES) == "" or None

    assert eventually(none_is_left, "the end of all that it left")
