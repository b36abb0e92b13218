"""Calls that are over: observed together and soon, in order, and never lost."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from relay.telemetry import recorder as recorder_module
from relay.telemetry.access_log import Journal, JsonFormatter
from relay.telemetry.call import CallRecord
from relay.telemetry.line_writer import LineWriter
from relay.telemetry.metrics import Metrics
from relay.telemetry.recent_calls import RecentCalls
from relay.telemetry.recorder import Recorder
from tests.harness.relays import (
    FUSE_SECONDS,
    OK,
    ROOT,
    configuration,
    relay_process,
    request,
    running_upstream,
)

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


class Pipe(LineWriter):
    """Keeps what is handed in for each write, and says when something was."""

    def __init__(self) -> None:
        self.writes: list[str] = []
        self.dropped = 0
        self._written = asyncio.Event()

    def put(self, text: str) -> None:
        """Take lines."""
        self.writes.append(text)
        self._written.set()

    def take_dropped(self) -> int:
        """Return what the test says."""
        dropped, self.dropped = self.dropped, 0
        return dropped

    def flush(self, limit_seconds: float) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """There is nothing to end."""

    async def written(self) -> str:
        """Wait for a write, and return what it brought."""
        async with asyncio.timeout(FUSE_SECONDS):
            await self._written.wait()
        self._written.clear()
        return self.writes[-1]


def observed_by(pipe: Pipe, registry: CollectorRegistry | None = None) -> Recorder:
    """Return an observation whose lines go to this pipe."""
    logging.getLogger().handlers[:] = [Journal(pipe, JsonFormatter())]
    logging.getLogger("relay").setLevel(logging.INFO)
    return Recorder(Metrics(registry or CollectorRegistry()), RecentCalls())


def call(path: str) -> CallRecord:
    """Return a call that has been answered."""
    return CallRecord(method="POST", path=path, relay="anthropic", outcome="ok")


def paths_in(text: str) -> list[str]:
    """Return the paths of the calls in these lines, and the messages."""
    lines = [json.loads(line) for line in text.splitlines()]
    return [line.get("path") or line["message"] for line in lines]


async def test_calls_are_written_together_and_soon() -> None:
    """Nobody has to ask for them, and one write takes them all."""
    pipe = Pipe()
    observation = observed_by(pipe)
    for path in ("/1", "/2", "/3"):
        observation.end(call(path))
    assert pipe.writes == []
    assert paths_in(await pipe.written()) == ["/1", "/2", "/3"]
    observation.end(call("/4"))
    assert paths_in(await pipe.written()) == ["/4"]
    assert len(pipe.writes) == 2


async def test_soon_is_sooner_than_one_notices() -> None:
    """Whoever watches sees a call end when it ends."""
    assert recorder_module.DELAY_SECONDS <= 0.05


async def test_message_comes_at_once_and_behind_the_calls_before_it() -> None:
    """The order of the lines is that of what happened."""
    pipe = Pipe()
    observation = observed_by(pipe)
    observation.end(call("/1"))
    observation.end(call("/2"))
    logging.getLogger("relay").warning("a message")
    assert paths_in("".join(pipe.writes)) == ["/1", "/2", "a message"]
    pipe.writes.clear()
    observation.end(call("/3"))
    logging.getLogger("asyncio").error("of somebody else")
    assert paths_in("".join(pipe.writes)) == ["/3", "of somebody else"]


async def test_many_calls_do_not_pile_up() -> None:
    """What is written together stays below what a pipe holds."""
    pipe = Pipe()
    observation = observed_by(pipe)
    for number in range(100):
        observation.end(call(f"/{number}"))
    assert len(pipe.writes) == 3
    assert all(len(text) < 64 * 1024 for text in pipe.writes)
    await pipe.written()
    await pipe.written()
    assert paths_in("".join(pipe.writes)) == [f"/{number}" for number in range(100)]


async def test_large_answer_is_not_kept_waiting() -> None:
    """What its meter holds of it takes memory."""
    pipe = Pipe()
    observation = observed_by(pipe)
    large = call("/1")
    large.response_bytes = 100_000
    observation.end(large)
    assert paths_in("".join(pipe.writes)) == ["/1"]


async def test_call_that_cannot_be_observed_harms_no_other() -> None:
    """The fault is in the log, and so are the calls, that one included."""
    pipe = Pipe()
    observation = observed_by(pipe)
    odd = call("/odd")
    odd.relay = ["no label"]  # type: ignore[assignment]  # on purpose
    for each in (call("/1"), odd, call("/2")):
        observation.end(each)
    observation.settle()
    said = paths_in("".join(pipe.writes))
    assert sorted(said) == ["/1", "/2", "/odd", "a fault of the relay"]


async def test_line_that_cannot_be_written_harms_no_call() -> None:
    """The fault is in the log, and whoever came last goes on."""
    pipe = Pipe()
    observation = observed_by(pipe)
    odd = call("/odd")
    odd.request_bytes = object()  # type: ignore[assignment]  # on purpose
    observation.end(odd)
    observation.settle()
    assert paths_in("".join(pipe.writes)) == ["a fault of the relay"]


async def test_line_tells_when_the_call_was_over() -> None:
    """Not when it was written."""
    pipe = Pipe()
    observation = observed_by(pipe)
    late = call("/1")
    observation.end(late)
    assert late.finished is not None
    late.finished -= 3600
    observation.settle()
    said = datetime.fromisoformat(json.loads(pipe.writes[0])["time"])
    assert 3599 < (datetime.now(UTC) - said).total_seconds() < 3660


async def test_busy_loop_keeps_no_line_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the timer does not come to run, the next call writes."""
    pipe = Pipe()
    observation = observed_by(pipe)
    now = 1_000.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    observation.end(call("/1"))
    now += 0.05
    assert pipe.writes == []
    observation.end(call("/2"))
    assert [paths_in(text) for text in pipe.writes] == [["/1", "/2"]]


def test_call_without_a_loop_is_written_at_once() -> None:
    """There is nobody to do it later."""
    pipe = Pipe()
    observation = observed_by(pipe)
    observation.end(call("/1"))
    assert len(pipe.writes) == 1


async def test_lines_that_nobody_took_are_counted() -> None:
    """By whoever asks for figures next, call or no call."""
    pipe = Pipe()
    registry = CollectorRegistry()
    observation = observed_by(pipe, registry)
    for dropped, expected in ((0, 0), (3, 3), (0, 3), (2, 5)):
        pipe.dropped = dropped
        observation.settle()
        assert registry.get_sample_value("relay_log_lines_dropped_total") == expected


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
    observation = Recorder(Metrics(CollectorRegistry()), RecentCalls())
    for number in range(40):
        observation.end(CallRecord(path=f"/{{number}}"))
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
    lines = process.stderr.splitlines()
    calls = "\n".join(line for line in lines if line.startswith("{"))
    assert paths_in(calls) == [f"/{number}" for number in range(40)]
    assert not last or last in lines


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
