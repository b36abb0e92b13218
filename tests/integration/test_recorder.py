"""Calls that are over, in a process of its own: none is lost, and whoever asks is shown all."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import ROOT
from tests.harness.configuration import configuration
from tests.harness.log import paths_in
from tests.harness.messages import OK, request
from tests.harness.relay import relay_process
from tests.harness.upstream import running_upstream

LEAVING = """
import asyncio, os, signal, sys
from prometheus_client import CollectorRegistry
from relay.telemetry.call import CallRecord
from relay.telemetry.recent_calls import RecentCalls
from relay.telemetry.access_log import set_up
from relay.telemetry.metrics import Metrics
from relay.telemetry.recorder import Recorder

async def serve():
    set_up("json")
    recorder = Recorder(Metrics(CollectorRegistry()), RecentCalls())
    for number in range(40):
        recorder.end(CallRecord(path=f"/{{number}}"))
    {leave}

asyncio.run(serve())
"""


@pytest.mark.parametrize(
    ("leave", "last"),
    [
        ("pass", ""),
        ("sys.exit(3)", ""),
        ("int('boom')", "ValueError: invalid literal for int() with base 10: 'boom'"),
        ("os.kill(os.getpid(), signal.SIGINT); await asyncio.sleep(60)", "KeyboardInterrupt"),
    ],
)
def test_no_line_is_lost_when_the_process_ends(leave: str, last: str) -> None:
    """However it does, unless it is killed."""
    code = LEAVING.format(leave=leave)
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    # What the interpreter says last may share a line with them: it writes by itself.
    calls = "\n".join(re.findall(r'\{"time".*\}', process.stderr))
    assert paths_in(calls) == [f"/{number}" for number in range(40)]
    assert last in process.stderr


@pytest.mark.parametrize("page", ["/metrics", "/calls"])
async def test_who_asks_is_shown_all_that_is_over(tmp_path: Path, page: str) -> None:
    """Without waiting for the moment when it would be observed anyway."""
    async with running_upstream() as upstream:
        upstream.answer_with(OK)
        async with relay_process(tmp_path, configuration(upstream.port)) as relay:
            agent, looker = await relay.agent(), await relay.agent(port=relay.admin_port)
            for count in range(1, 20):
                assert (await agent.ask(request())).status == 200
                shown = await looker.ask(f"GET {page} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                assert calls_in(shown.body.decode(), page) == count


def calls_in(text: str, page: str) -> int:
    """Return how many calls are over, as a page has it."""
    if page == "/calls":
        return len(json.loads(text)["recent"])
    counts = re.findall(r'^relay_requests_total{.*outcome="ok".*} ([1-9]\S*)$', text, re.MULTILINE)
    return int(sum(map(float, counts)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_relay_that_is_stopped_has_its_calls_in_the_log(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Before what it says last."""
    async with running_upstream() as upstream:
        upstream.answer_with(OK)
        async with relay_process(tmp_path, configuration(upstream.port)) as relay:
            agent = await relay.agent()
            for _ in range(5):
                assert (await agent.ask(request())).status == 200
            relay.signal(number)
            agent.leave()
            assert await relay.exit_status() == 0
        events = [line["event"] for line in relay.log.lines]
        assert events.count("call") == 5
        assert relay.log.lines[-1]["message"] == "stopped"
