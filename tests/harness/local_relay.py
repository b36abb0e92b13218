"""A relay in the process of the tests, which may look inside."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import Metric

from relay.app import App
from relay.config import load
from tests.harness.configuration import Config, write_configuration
from tests.harness.fuse import FUSE_SECONDS
from tests.harness.log import Log
from tests.harness.relay import Relay


class LocalRelay(Relay):
    """A relay in this process."""

    app: App

    async def all_closed(self) -> None:
        """Wait until there is no agent's connection any more."""
        connections = self.app._connections
        while len(connections):
            connections._changed.clear()
            await connections._changed.wait()

    async def _families(self, name: str) -> Iterable[Metric]:
        # What a scrape would show, without the writing and parsing of a thousand lines.
        self.app._recorder.settle()
        metrics = self.app._metrics
        metrics.show(self.app.runtime.states())
        return metrics._registry.restricted_registry([name]).collect()


@asynccontextmanager
async def running_relay(folder: Path, config: Config) -> AsyncIterator[LocalRelay]:
    """Run a relay in this process for the length of the context."""
    log = Log()
    logger = logging.getLogger("relay")
    logger.addHandler(log)
    level = logger.level
    logger.setLevel(logging.INFO)
    relay = LocalRelay(write_configuration(folder, config), log)
    relay.app = App(load(relay.path))
    running = asyncio.create_task(relay.app.run())
    try:
        await relay.find_ports()
        yield relay
    finally:
        await relay.close_agents()
        relay.app.stop()
        relay.app.stop()
        async with asyncio.timeout(FUSE_SECONDS):
            await running
        logger.removeHandler(log)
        logger.setLevel(level)
    relay.check_log()
