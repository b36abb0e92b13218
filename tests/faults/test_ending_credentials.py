"""A credential that ends, and is renewed under load: no call fails by it, and none waits.

A relay in a process of its own; the issuer is a command, whose lives are short.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.harness import FUSE_SECONDS
from tests.harness.configuration import configuration
from tests.harness.issuer import issued, judge, runs
from tests.harness.messages import request
from tests.harness.relay import RelayProcess, relay_process
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIFE_SECONDS: Final = 4.0
SECONDS: Final = 15.0
AGENTS: Final = 4


async def ask_until(relay: RelayProcess, end: float) -> Counter[int]:
    """Make one call after the other until then; return how often each status came."""
    agent = await relay.agent()
    statuses: Counter[int] = Counter()
    while time.monotonic() < end:
        statuses[(await agent.ask(request())).status] += 1
    return statuses


def seen_since(upstream: Upstream, count: int) -> set[bytes]:
    """Return the values that calls came with after the first so many."""
    return set(upstream.credentials()[count:])


async def test_it_lives_for_seconds_under_load(upstream: Upstream, tmp_path: Path) -> None:
    """Life after life, by whoever calls."""
    upstream.answer_with(judge)
    config = configuration(upstream.port, grants=[issued(tmp_path, LIFE_SECONDS)])
    async with relay_process(tmp_path, config) as relay:
        assert (await relay.ask(request())).status == 200
        end = time.monotonic() + SECONDS
        counted = await asyncio.gather(*(ask_until(relay, end) for _ in range(AGENTS)))
        total: Counter[int] = sum(counted, Counter())
        assert set(total) == {200}
        assert total[200] > 100
        assert len(seen_since(upstream, 0)) >= SECONDS / LIFE_SECONDS
        assert runs(tmp_path) <= SECONDS / (LIFE_SECONDS * 0.7) + 2
        assert await relay.samples("relay_requests_total", "outcome", outcome="no_credential") == {}
        failed = await relay.samples("relay_credential_reloads_total", "result", result="failed")
        assert failed == {}


class Gate:
    """Holds the issuer's runs up, while it is closed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "gate"
        os.mkfifo(self._path)

    async def entered(self) -> int:
        """Wait for a run that has come to it; return what holds that up until it is closed."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(FUSE_SECONDS):
            return await loop.run_in_executor(None, os.open, self._path, os.O_WRONLY)

    def remove(self) -> None:
        """Hold up no further run."""
        self._path.unlink()


async def test_no_call_waits_for_its_renewal(upstream: Upstream, tmp_path: Path) -> None:
    """While the issuer takes its time, calls go on with the value that there is."""
    upstream.answer_with(judge)
    config = configuration(upstream.port, grants=[issued(tmp_path, 7.0)])
    async with relay_process(tmp_path, config) as relay:
        before = len(upstream.requests)
        assert (await relay.ask(request())).status == 200
        gate = Gate(tmp_path)
        held = await gate.entered()
        agent = await relay.agent()
        statuses = [(await agent.ask(request())).status for _ in range(50)]
        assert statuses == [200] * 50
        assert len(seen_since(upstream, before)) == 1
        gate.remove()
        os.close(held)
        while len(seen_since(upstream, before)) == 1:
            assert (await agent.ask(request())).status == 200


async def test_the_value_serves_until_it_ends_and_after_that_calls_are_refused(
    upstream: Upstream, tmp_path: Path
) -> None:
    """The log, the metrics and readiness say so, and it comes back by itself."""
    upstream.answer_with(judge)
    config = configuration(upstream.port, grants=[issued(tmp_path, 7.0)])
    async with relay_process(tmp_path, config) as relay:
        assert (await relay.ask(request())).status == 200
        (tmp_path / "broken").touch()
        failing = (
            r"renewal of credential anthropic: the command issuer ended with status 3, since .*"
        )
        said = await relay.log.says(failing + r"; its last value serves until (.*) UTC")
        agent = await relay.agent()
        answer = await agent.ask(request())
        while answer.status == 200:
            answer = await agent.ask(request())
        if answer.status == 401:  # it ended on its way to the upstream
            answer = await agent.ask(request())
        assert (answer.status, answer.outcome) == (503, "no_credential")
        assert answer.values("x-should-retry") == [b"false"]
        ended = await relay.log.says(
            r"credential anthropic: the command issuer ended at (.*) UTC, and ended with status 3, "
            r"since .* UTC; calls get 503 until it is renewed: have it renewed by what it is from"
        )
        assert ended[1] == said[1]
        status, report = await relay.readiness()
        assert status == 503
        assert f"ended at {ended[1]} UTC" in str(report)
        expiry = "relay_credential_expiry_timestamp_seconds"
        assert 0 < (await relay.samples(expiry, "grant"))["anthropic",] <= time.time()
        (tmp_path / "broken").unlink()
        await relay.log.says(r"credential anthropic: there now, from the command issuer", 2)
        assert (await agent.ask(request())).status == 200


@pytest.mark.parametrize("path", ["/readyz", "/calls"])
async def test_it_is_shown_how_long_it_still_lasts(
    upstream: Upstream, tmp_path: Path, path: str
) -> None:
    """To the second."""
    upstream.answer_with(judge)
    config = configuration(upstream.port, grants=[issued(tmp_path, 3600.0)])
    async with relay_process(tmp_path, config) as relay:
        assert (await relay.ask(request())).status == 200
        (end,) = (
            await relay.samples("relay_credential_expiry_timestamp_seconds", "grant")
        ).values()
        assert 3590 < end - time.time() <= 3600
        shown = (await relay.page(path)).body.decode()
        seconds = str(end) if path == "/calls" else time.strftime("%F %T UTC", time.gmtime(end))
        assert seconds in shown
