"""A relay in a process of its own: ``python -m relay serve``."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.harness.configuration import Config, write_configuration
from tests.harness.fuse import FUSE_SECONDS
from tests.harness.log import Log
from tests.harness.project import ROOT
from tests.harness.relay import Relay


class RelayProcess(Relay):
    """A relay in a process of its own."""

    process: asyncio.subprocess.Process

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def exit_status(self) -> int:
        """Wait for its end."""
        async with asyncio.timeout(FUSE_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def relay_process(
    folder: Path,
    config: Config | str,
    environment: Mapping[str, str] | None = None,
    *prefix: str,
) -> AsyncIterator[RelayProcess]:
    """Run ``python -m relay serve`` for the length of the context."""
    relay = RelayProcess(write_configuration(folder, config), Log())
    given = {
        key: os.environ[key] for key in ("PATH", "COVERAGE_PROCESS_START") if key in os.environ
    }
    relay.process = await asyncio.create_subprocess_exec(
        *(*prefix, sys.executable, "-m", "relay", "serve", "--config", str(relay.path)),
        cwd=ROOT,
        env=given | {"RELAY_LOG": "json", "RELAY_SECRETS": str(folder)} | dict(environment or {}),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    reading = asyncio.create_task(_read_log(relay.process, relay.log))
    try:
        await relay.find_ports()
        yield relay
    finally:
        await relay.close_agents()
        if relay.process.returncode is None:
            relay.process.kill()
        await relay.process.wait()
        await reading
    relay.check_log()


async def _read_log(process: asyncio.subprocess.Process, log: Log) -> None:
    assert process.stderr is not None
    async for line in process.stderr:
        log.take(line.decode())
