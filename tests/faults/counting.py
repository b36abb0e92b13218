"""A relay that many tests share: each sees the calls of its own only.

What was counted and logged before a test began is none of its business, and a call is over
when its line is in the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.harness.configuration import Config
from tests.harness.messages import OK, OK_BODY, request
from tests.harness.peer import Agent, Answer
from tests.harness.relay import RelayProcess, Sample, relay_process
from tests.harness.upstream import Upstream

# An answer after which the next call has a connection of its own, too.
LAST_OK: Final = OK.replace(b"OK\r\n", b"OK\r\nconnection: close\r\n")


@dataclass
class CountedRelay:
    """A relay in a process of its own, and what it had counted when the test began."""

    process: RelayProcess
    _before: dict[Sample, float] = field(default_factory=dict)

    async def forget(self) -> None:
        """Begin to count anew."""
        await self.process.forget_calls()
        self._before = await self._counted()

    async def _counted(self) -> dict[Sample, float]:
        return await self.process.samples("relay_requests_total", "outcome", "code")

    async def outcomes(self, count: int = 1) -> dict[Sample, float]:
        """Return the calls of this test by outcome and code, once so many are over."""
        await self.process.log.calls(count)
        now = await self._counted()
        news = {key: value - self._before.get(key, 0) for key, value in now.items()}
        return {key: value for key, value in news.items() if value}

    async def in_flight(self) -> float:
        """Return how many calls are under way."""
        return await self.process.in_flight()

    async def agent(self) -> Agent:
        """Connect an agent."""
        return await self.process.agent()

    async def ask(self, data: bytes) -> Answer:
        """Send a request on a connection of its own and read its answer."""
        return await self.process.ask(data)

    async def check_served(self, upstream: Upstream) -> None:
        """See that the next good call succeeds."""
        agent = await self.agent()
        await agent.send(request())
        caller, _ = await upstream.called()
        await caller.send(LAST_OK)
        assert (await agent.answer()).body == OK_BODY


@asynccontextmanager
async def counted_relay(folder: Path, config: Config) -> AsyncIterator[CountedRelay]:
    """Run a relay for the length of the context."""
    async with relay_process(folder, config) as process:
        yield CountedRelay(process)
