"""What happens around the relay: its upstream dies and comes back, credentials and files change."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

from tests.faults.soak import script
from tests.faults.soak.ledger import Ledger, Outage
from tests.faults.soak.load import Rotation
from tests.harness import FUSE_SECONDS, ROOT
from tests.harness.configuration import Config
from tests.harness.ports import free_ports

POLL_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Rhythm:
    """How often things happen, in seconds."""

    restart: float = 25.0
    rotate: float = 3.0
    reload: float = 10.0
    down: float = 0.5
    """How long the upstream stays away."""


class RestartingUpstream:
    """The upstream's process, always on the same port."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        (self.port,) = free_ports(1)
        self._process: asyncio.subprocess.Process

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.faults.soak.upstream", str(self.port)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(FUSE_SECONDS):
            assert await self._process.stdout.readline() == b"listening\n"

    async def kill(self) -> None:
        """End it as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def restart(self, down_seconds: float) -> None:
        """Have it crash, stay away for a while, and come back; all on record."""
        outage = Outage(time.monotonic())
        self._ledger.outages.append(outage)
        await self.kill()
        await asyncio.sleep(down_seconds)
        await self.start()
        outage.back = time.monotonic()


@dataclass
class Disturbance:
    """All of it, in its rhythm, until it is cancelled."""

    rhythm: Rhythm
    upstream: RestartingUpstream
    rotation: Rotation
    process: asyncio.subprocess.Process
    path: Path
    config: Config
    reloaded: Callable[[], Awaitable[float]]
    """How many reloads the relay has counted, well or not."""
    reloads: int = field(default=0)

    async def run(self) -> None:
        """Disturb."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._restart())
            tasks.create_task(self._rotate())
            tasks.create_task(self._reload())

    async def _restart(self) -> None:
        while True:
            await asyncio.sleep(self.rhythm.restart)
            # An upstream that is half restarted when the run ends would be no upstream.
            await asyncio.shield(self.upstream.restart(self.rhythm.down))

    async def _rotate(self) -> None:
        while True:
            await asyncio.sleep(self.rhythm.rotate)
            self.rotate()

    def rotate(self) -> None:
        """Put another credential in the file's place; from now on only that one counts."""
        serial = self.rotation.serial + 1
        _replace(self.path.parent / "key", script.key(serial))
        self.rotation.serial = serial

    async def _reload(self) -> None:
        for number in count(1):
            await asyncio.sleep(self.rhythm.reload)
            changed = self.config | {"timeouts": {"idle": 330 + number % 2}}
            _replace(self.path, json.dumps(changed))
            self.process.send_signal(signal.SIGHUP)
            self.reloads += 1
            await self.counted()

    async def counted(self) -> None:
        """Wait until each reload is counted: two signals while one of them runs are one."""
        while await self.reloaded() < self.reloads:  # noqa: ASYNC110  # the relay tells of no end
            await asyncio.sleep(POLL_SECONDS)


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
