"""Calls that are over: observed together and soon, in order, and never lost."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry

from relay.telemetry.access_log import Journal, JsonFormatter
from relay.telemetry.call import CallRecord
from relay.telemetry.hops import ChainRecord
from relay.telemetry.line_writer import LineWriter
from relay.telemetry.metrics import Metrics
from relay.telemetry.recent_calls import RecentCalls
from relay.telemetry.recorder import DELAY_SECONDS, Recorder
from tests.harness import FUSE_SECONDS
from tests.harness.log import paths_in

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


def recorder_to(
    pipe: Pipe,
    registry: CollectorRegistry | None = None,
    count: Callable[[CallRecord], None] = lambda _: None,
) -> Recorder:
    """Return a recorder whose lines go to this pipe."""
    logging.getLogger().handlers[:] = [Journal(pipe, JsonFormatter())]
    logging.getLogger("relay").setLevel(logging.INFO)
    return Recorder(Metrics(registry or CollectorRegistry()), RecentCalls(), count)


def call(path: str) -> CallRecord:
    """Return a call that has been answered."""
    return CallRecord(method="POST", path=path, relay="anthropic", outcome="ok")


async def test_calls_are_written_together_and_soon() -> None:
    """Nobody has to ask for them, and one write takes them all."""
    pipe = Pipe()
    recorder = recorder_to(pipe)
    for path in ("/1", "/2", "/3"):
        recorder.end(call(path))
    assert pipe.writes == []
    assert paths_in(await pipe.written()) == ["/1", "/2", "/3"]
    recorder.end(call("/4"))
    assert paths_in(await pipe.written()) == ["/4"]
    assert len(pipe.writes) == 2


async def test_soon_is_sooner_than_one_notices() -> None:
    """Whoever watches sees a call end when it ends."""
    assert DELAY_SECONDS <= 0.05


async def test_message_comes_at_once_and_behind_the_calls_before_it() -> None:
    """The order of the lines is that of what happened."""
    pipe = Pipe()
    recorder = recorder_to(pipe)
    recorder.end(call("/1"))
    recorder.end(call("/2"))
    logging.getLogger("relay").warning("a message")
    assert paths_in("".join(pipe.writes)) == ["/1", "/2", "a message"]
    pipe.writes.clear()
    recorder.end(call("/3"))
    logging.getLogger("asyncio").error("of somebody else")
    assert paths_in("".join(pipe.writes)) == ["/3", "of somebody else"]


async def test_many_calls_do_not_pile_up() -> None:
    """What is written together stays below what a pipe holds."""
    pipe = Pipe()
    recorder = recorder_to(pipe)
    for number in range(100):
        recorder.end(call(f"/{number}"))
    assert len(pipe.writes) == 3
    assert all(len(text) < 64 * 1024 for text in pipe.writes)
    await pipe.written()
    await pipe.written()
    assert paths_in("".join(pipe.writes)) == [f"/{number}" for number in range(100)]


async def test_large_answer_is_not_kept_waiting() -> None:
    """What its meter holds of it takes memory."""
    pipe = Pipe()
    recorder = recorder_to(pipe)
    large = call("/1")
    large.response_bytes = 100_000
    recorder.end(large)
    assert paths_in("".join(pipe.writes)) == ["/1"]


async def test_call_that_cannot_be_observed_harms_no_other() -> None:
    """The fault is in the log, and so are the calls, that one included."""
    pipe = Pipe()
    recorder = recorder_to(pipe)
    odd = call("/odd")
    odd.relay = ["no label"]  # type: ignore[assignment]  # on purpose
    for each in (call("/1"), odd, call("/2")):
        recorder.end(each)
    recorder.flush()
    said = paths_in("".join(pipe.writes))
    assert sorted(said) == ["/1", "/2", "/odd", "a fault of the relay"]


async def test_line_that_cannot_be_written_harms_no_call() -> None:
    """The fault is in the log, and whoever came last goes on."""
    pipe = Pipe()
    recorder = recorder_to(pipe)
    odd = call("/odd")
    odd.request_bytes = object()  # type: ignore[assignment]  # on purpose
    recorder.end(odd)
    recorder.flush()
    assert paths_in("".join(pipe.writes)) == ["a fault of the relay"]


async def test_line_tells_when_the_call_was_over() -> None:
    """Not when it was written."""
    pipe = Pipe()
    recorder = recorder_to(pipe)
    late = call("/1")
    recorder.end(late)
    late.ended -= 3600
    recorder.flush()
    said = datetime.fromisoformat(json.loads(pipe.writes[0])["time"])
    assert 3599 < (datetime.now(UTC) - said).total_seconds() < 3660


async def test_busy_loop_keeps_no_line_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the timer does not come to run, the next call writes."""
    pipe = Pipe()
    recorder = recorder_to(pipe)
    now = 1_000.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    recorder.end(call("/1"))
    now += 0.05
    assert pipe.writes == []
    recorder.end(call("/2"))
    assert [paths_in(text) for text in pipe.writes] == [["/1", "/2"]]


def test_call_without_a_loop_is_written_at_once() -> None:
    """There is nobody to do it later."""
    pipe = Pipe()
    recorder = recorder_to(pipe)
    recorder.end(call("/1"))
    assert len(pipe.writes) == 1


async def test_lines_that_nobody_took_are_counted() -> None:
    """By whoever asks for figures next, call or no call."""
    pipe = Pipe()
    registry = CollectorRegistry()
    recorder = recorder_to(pipe, registry)
    for dropped, expected in ((0, 0), (3, 3), (0, 3), (2, 5)):
        pipe.dropped = dropped
        recorder.flush()
        assert registry.get_sample_value("relay_log_lines_dropped_total") == expected


async def test_what_calls_cost_is_counted_once_and_before_the_rest_of_them() -> None:
    """By whoever looks at a limit: it writes no line, and the line comes all the same."""
    pipe, counted = Pipe(), list[str]()
    recorder = recorder_to(pipe, count=lambda record: counted.append(record.path))
    recorder.end(call("/1"))
    recorder.count()
    recorder.count()
    recorder.end(call("/2"))
    assert (counted, pipe.writes) == (["/1"], [])
    recorder.flush()
    assert counted == ["/1", "/2"]
    assert [paths_in(text) for text in pipe.writes] == [["/1", "/2"]]


async def test_what_is_said_while_calls_are_counted_loses_none() -> None:
    """A message has the calls before it written, those that are being counted included."""
    pipe, counted = Pipe(), list[str]()

    def count(record: CallRecord) -> None:
        counted.append(record.path)
        logging.getLogger("relay").warning("a limit")

    recorder = recorder_to(pipe, count=count)
    for path in ("/1", "/2"):
        recorder.end(call(path))
    recorder.count()
    assert counted == ["/1", "/2"]
    assert paths_in("".join(pipe.writes)) == ["/1", "/2", "a limit", "a limit"]


async def test_attempts_say_what_they_have_to_once_the_call_is_over() -> None:
    """Each to whom it was sent by."""
    recorder = recorder_to(Pipe())
    heard: list[tuple[CallRecord, bool]] = []
    first, silent, last = CallRecord(), CallRecord(), CallRecord()
    record = call("/1")
    record.chain = ChainRecord(attempts=[first, silent, last])
    for each in (first, last):
        each.on_finish = lambda told: heard.append((told, told.finished is not None))
    recorder.end(record)
    recorder.flush()
    assert heard == [(first, True), (last, True)]


async def test_a_call_that_goes_straight_on_is_its_own_attempt() -> None:
    """Where all hops were left out, what the API says is heard once, and of the call itself."""
    recorder = recorder_to(Pipe())
    heard: list[CallRecord] = []
    record = call("/1")
    record.chain = ChainRecord(attempts=[record])
    record.on_finish = heard.append
    recorder.end(record)
    recorder.flush()
    assert [each is record for each in heard] == [True]
