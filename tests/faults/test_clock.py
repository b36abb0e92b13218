"""The wall clock jumps, as when a host wakes or its time is set: calls notice nothing.

Time limits count on the monotonic clock, which does not jump. The process's ``time.time`` is
made to, a day either way; what the event loop and the kernel count by is not ours to change,
nor is it what setting the time changes (clock_gettime(2), CLOCK_MONOTONIC). The second half
reads the source: where the wall clock is looked at at all is known, and decides no limit.
"""

from __future__ import annotations

import ast
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.harness import ROOT
from tests.harness.configuration import configuration
from tests.harness.messages import MESSAGES, OK, PIECE, STOP, chunk, request
from tests.harness.relay import RelayProcess, begin_stream, relay_process
from tests.harness.secrets import KEY, OAUTH
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT_SECONDS = 1.0
LEAST_SECONDS = LIMIT_SECONDS - 0.01
"""What a call that met the limit lasted at least: the event loop counts whole milliseconds."""
WALL_CLOCK = {"time", "time_ns", "now", "utcnow", "today", "localtime", "gmtime"}
READERS = {
    "admin/overview.py": "what the page counts from",
    "commands/usage/__init__.py": "which day is today",
    "commands/usage/left.py": "which periods are now",
    "commands/token.py": "when a client's token is to end",
    "admin/use.py": "which days are the last fortnight",
    "commands/report/__init__.py": "what a report's file is called",
    "credentials/command_value.py": "how long until a credential ends, which says when",
    "credentials/reading.py": "whether a credential is past the end that it states",
    "proxy/readiness.py": "for how long a credential is still good",
    "telemetry/traces/exporter.py": "when a span began, in the time that collectors go by",
    "credentials/folder.py": "whether a client's token has ended, and how old a file's stamp is",
    "proxy/limits.py": "which periods are now",
    "telemetry/spending/spending.py": "the same, for whoever looks on",
    "credentials/file.py": "how old a file's time stamp is, which is the wall clock's",
    "proxy/standing.py": "since when a credential is refused",
    "telemetry/call.py": "when a call was over",
    "telemetry/ledger/ledger.py": "from when on it is read what was spent before",
    "telemetry/ledger/retention.py": "which calls are too old, unless the clock jumped",
    "telemetry/metrics/__init__.py": "when an exemplar was seen, and the configuration loaded",
    "telemetry/metrics/limits.py": "whether a quota's reset, an hour of the day, has passed",
    "telemetry/prices.py": "which day's price",
    "telemetry/recent_calls.py": "what `relay top` shows",
    "telemetry/use.py": "since when use is summed",
}


@pytest_asyncio.fixture(loop_scope="module")
async def jumpy(upstream: Upstream, tmp_path: Path) -> AsyncIterator[RelayProcess]:
    """A relay whose clock jumps when it is told to."""
    limits = {"headers": LIMIT_SECONDS, "idle": LIMIT_SECONDS}
    environment = {"PYTHONPATH": str(Path(__file__).parent / "jumping_clock")}
    config = configuration(upstream.port, timeouts=limits)
    async with relay_process(tmp_path, config, environment) as running:
        yield running


async def jump(relay: RelayProcess, number: int) -> None:
    """Have the clock jump, and see by a line of the log that it did."""
    before = len(await calls_to(relay, "/relay/none", 0))
    relay.signal(number)
    await relay.ask(request("/relay/none"))
    line = (await calls_to(relay, "/relay/none", before + 1))[-1]
    away = datetime.fromisoformat(line["time"]) - datetime.now(UTC)
    assert abs(away.total_seconds()) > 80_000
    assert line["duration"] < 60


async def calls_to(relay: RelayProcess, path: str, count: int) -> list[dict[str, Any]]:
    """Return the log's lines of calls to that path, once there are so many."""
    while True:
        found = [line for line in relay.log.lines if line.get("path") == path]
        if len(found) >= count:
            return found
        await relay.log.more()


JUMPS = [signal.SIGUSR1, signal.SIGUSR2]


@pytest.mark.parametrize("number", JUMPS)
async def test_a_stream_goes_on(jumpy: RelayProcess, upstream: Upstream, number: int) -> None:
    """A day is longer than any limit, and yet none has passed."""
    agent, caller = await begin_stream(jumpy, upstream)
    answer = await agent.head()
    assert await agent.piece(answer) == PIECE
    await jump(jumpy, number)
    await caller.send(chunk(STOP) + chunk(b""))
    await agent.finish(answer)
    assert (answer.complete, answer.body) == (True, PIECE + STOP)
    (line,) = await calls_to(jumpy, MESSAGES, 1)
    assert (line["outcome"], line["duration"] < 60) == ("ok", True)


@pytest.mark.parametrize("number", JUMPS)
async def test_a_limit_is_as_long_as_ever(
    jumpy: RelayProcess, upstream: Upstream, number: int
) -> None:
    """A silent upstream is given up when its time is over, neither at once nor never."""
    agent = await jumpy.agent()
    await agent.send(request())
    await upstream.called()
    await jump(jumpy, number)
    answer = await agent.answer()
    assert answer.status == 504
    (line,) = await calls_to(jumpy, MESSAGES, 1)
    assert LEAST_SECONDS <= line["duration"] < 60


@pytest.mark.parametrize("number", JUMPS)
async def test_a_silence_is_as_long_as_ever(
    jumpy: RelayProcess, upstream: Upstream, number: int
) -> None:
    """A stream that stalls is broken off when the idle limit has passed."""
    agent, _ = await begin_stream(jumpy, upstream)
    answer = await agent.head()
    assert await agent.piece(answer) == PIECE
    await jump(jumpy, number)
    await agent.finish(answer)
    assert not answer.complete
    (line,) = await calls_to(jumpy, MESSAGES, 1)
    assert line["outcome"] == "timeout"
    assert LEAST_SECONDS <= line["duration"] < 60


@pytest.mark.parametrize("number", JUMPS)
async def test_a_changed_credential_is_seen(
    jumpy: RelayProcess, upstream: Upstream, number: int
) -> None:
    """Its file's time may lie in the future by then, or in the past."""
    upstream.answer_with(OK)
    for value in (KEY, OAUTH, KEY, OAUTH):
        new = jumpy.folder / "new"
        new.write_text(value)
        new.replace(jumpy.folder / "key")
        assert (await jumpy.ask(request())).status == 200
        assert upstream.requests[-1].values("x-api-key") == [value.encode()]
        await jump(jumpy, number)


def _reads_wall_clock(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in WALL_CLOCK:
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else ""
            if name in ("time", "datetime", "date"):
                return True
    return False


async def test_the_wall_clock_decides_no_limit() -> None:
    """It is read in few places, each for a reason of its own."""
    relay = ROOT / "relay"
    found = {
        str(path.relative_to(relay))
        for path in relay.rglob("*.py")
        if "top" not in path.relative_to(relay).parts and _reads_wall_clock(path)
    }
    assert found == set(READERS)
