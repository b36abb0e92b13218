"""One run: the relay's process with everything around it, watched, and judged at its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.faults.processes import MEGABYTE, cpu_seconds, descriptors, resident_bytes
from tests.faults.soak import script
from tests.faults.soak.disturbance import POLL_SECONDS, Disturbance, RestartingUpstream, Rhythm
from tests.faults.soak.ledger import Ledger
from tests.faults.soak.load import Load, Pace, Rotation
from tests.harness import FUSE_SECONDS, ROOT
from tests.harness.configuration import Config, configuration, write_configuration
from tests.harness.log import Log
from tests.harness.relay import RelayProcess
from tests.harness.secrets import TOKEN

SAMPLE_SECONDS: Final = 30.0
SETTLED_SECONDS: Final = 60.0
"""When the memory is first looked at: by then all that is made once has been made."""
GROWTH_BYTES: Final = 5 * MEGABYTE
SECRETS: Final = (script.KEY_PREFIX, TOKEN)

Say = Callable[[str], object]


@dataclass
class Soak:
    """A run of so many seconds."""

    seconds: float
    folder: Path
    say: Say
    pace: Pace = field(default_factory=Pace)
    rhythm: Rhythm = field(default_factory=Rhythm)
    ledger: Ledger = field(default_factory=Ledger)
    rotation: Rotation = field(default_factory=Rotation)
    _reloads: int = 0

    async def run(self) -> Ledger:
        """Run it, and return the account."""
        upstream = RestartingUpstream(self.ledger)
        await upstream.start()
        try:
            config = configuration(upstream.port)
            async with self._relay(config) as relay:
                await self._soak(relay, upstream, config)
                await self._check_counters(relay)
                await self._check_end(relay)
        finally:
            await upstream.kill()
        self._check_log()
        return self.ledger

    @property
    def _log_file(self) -> Path:
        return self.folder / "log"

    @asynccontextmanager
    async def _relay(self, config: Config) -> AsyncIterator[RelayProcess]:
        """Run the relay with its log in a file: there will be a line for each of the calls."""
        path = write_configuration(self.folder, config)
        (self.folder / "key").write_text(script.key(self.rotation.serial), encoding="utf-8")
        relay = RelayProcess(path, Log())
        with self._log_file.open("wb") as log:
            relay.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "relay", "serve", "--config", str(path)),
                cwd=ROOT,
                env={"RELAY_LOG": "json"},
                stderr=log,
            )
        try:
            await self._find_ports(relay)
            yield relay
        finally:
            await relay.close_agents()
            with contextlib.suppress(ProcessLookupError):
                relay.process.kill()
            await relay.process.wait()

    async def _find_ports(self, relay: RelayProcess) -> None:
        async with asyncio.timeout(FUSE_SECONDS):
            while "relays on" not in (text := self._log_file.read_text(encoding="utf-8")):  # noqa: ASYNC110  # a file has no events
                await asyncio.sleep(POLL_SECONDS)
        for line in text.splitlines():
            relay.log.take(line)
        await relay.find_ports()

    async def _soak(
        self, relay: RelayProcess, upstream: RestartingUpstream, config: Config
    ) -> None:
        load = Load(relay.port, self.pace, self.ledger, self.rotation)
        disturbance = Disturbance(
            self.rhythm, upstream, self.rotation, relay.process, relay.path, config, relay.reloads
        )
        running = asyncio.create_task(load.run())
        disturbing = asyncio.create_task(disturbance.run())
        await self._watch(relay.process.pid)
        disturbing.cancel()
        await asyncio.wait({disturbing})
        load.stop()
        await running
        async with asyncio.timeout(FUSE_SECONDS):
            await disturbance.counted()
        self._reloads = disturbance.reloads
        credentials, restarts = self.rotation.serial, len(self.ledger.outages)
        self.say(f"{self._reloads} reloads, {credentials} credentials, {restarts} restarts")
        if self.ledger.late:
            self.say(f"{self.ledger.late} calls began late: this machine was busy")

    # Memory

    async def _watch(self, pid: int) -> None:
        begun, cpu = time.monotonic(), cpu_seconds(pid)
        settled: int | None = None
        for mark in self._marks():
            await asyncio.sleep(max(0.0, begun + mark - time.monotonic()))
            self._show(mark, pid, (cpu_seconds(pid) - cpu) / mark)
            if settled is None and mark >= SETTLED_SECONDS:
                settled = resident_bytes(pid)
        if settled is not None:
            self._check_growth(resident_bytes(pid) - settled)

    def _marks(self) -> Iterator[float]:
        """Yield when to look: every so often, and at the end."""
        mark = SAMPLE_SECONDS
        while mark < self.seconds:
            yield mark
            mark += SAMPLE_SECONDS
        yield self.seconds

    def _show(self, now: float, pid: int, load: float) -> None:
        ledger = self.ledger
        memory = f"{resident_bytes(pid) / MEGABYTE:6.1f} MB, {len(descriptors(pid)):3d} descriptors"
        counts = f"{ledger.good.total()} right, {ledger.explained.total()} explained"
        unexplained = f"{len(ledger.findings)} unexplained"
        self.say(f"{now:5.0f} s: {memory}, {load:.0%} of a core; {counts}, {unexplained}")

    def _check_growth(self, growth: int) -> None:
        self.say(f"memory since the first minute: {growth / MEGABYTE:+.1f} MB")
        if growth > GROWTH_BYTES:
            self.ledger.find(f"the relay grew by {growth / MEGABYTE:.1f} MB")

    # The end

    async def _check_counters(self, relay: RelayProcess) -> None:
        """Every call is counted, once, and nothing is under way any more."""
        async with asyncio.timeout(FUSE_SECONDS):
            while await relay.in_flight():  # noqa: ASYNC110  # the relay tells of no end
                await asyncio.sleep(POLL_SECONDS)
        counted = await relay.samples("relay_requests_total", "outcome")
        answered, good = self.ledger.answered.total(), self.ledger.good.total()
        if (sum(counted.values()), counted.get(("ok",))) != (answered, good):
            self.ledger.find(f"{answered} calls, {good} of them good, were counted as {counted}")
        reloads = await relay.samples("relay_config_reloads_total", "result")
        if reloads.get(("success",), 0) != self._reloads:
            self.ledger.find(f"of {self._reloads} reloads: {reloads}")

    async def _check_end(self, relay: RelayProcess) -> None:
        relay.signal(signal.SIGTERM)
        if (status := await relay.exit_status()) != 0:
            self.ledger.find(f"the relay ended with {status}")

    def _check_log(self) -> None:
        for line in self._log_file.read_text(encoding="utf-8").splitlines():
            if any(secret in line for secret in SECRETS) or "exception" in json.loads(line):
                self.ledger.find(f"in the log: {line[:200]}")
