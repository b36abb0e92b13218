"""The event loop that the relay runs on, and the relay between an agent and an upstream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop
from hypothesis import settings

from tests.harness import variables
from tests.harness.chain import Chain, running_chain
from tests.harness.clock import WallClock
from tests.harness.configuration import both_relays, configuration
from tests.harness.peer import Agent
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.silence import accepting_nobody, refusing
from tests.harness.upstream import Upstream, running_upstream

# A busy machine is no finding.
settings.register_profile("relay", deadline=None)
settings.load_profile("relay")


def pytest_configure() -> None:
    """Have no variables of the user's, wherever the tests run."""
    variables.forget()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the tests on the loop that the product runs on, but for those that say otherwise."""
    if item.get_closest_marker("both_loops"):
        return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
    if item.get_closest_marker("asyncio_loop"):
        return {"asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
def closed_port() -> Iterator[int]:
    """A port that nobody listens on."""
    with refusing() as port:
        yield port


@pytest.fixture(scope="module")
def full_port() -> Iterator[int]:
    """A port whose listener accepts nobody."""
    with accepting_nobody() as port:
        yield port


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """Put the handlers back that a test replaces."""
    root, log = logging.getLogger(), logging.getLogger("relay")
    handlers, levels = root.handlers[:], (root.level, log.level)
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    log.setLevel(levels[1])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """The wall clock, at noon; no period ends by itself while a test runs."""
    return WallClock(monkeypatch)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """An upstream whose connections the test plays."""
    async with running_upstream() as running:
        yield running


@pytest.fixture
async def relay(upstream: Upstream, tmp_path: Path) -> AsyncIterator[LocalRelay]:
    """A relay in front of the upstream, with clients."""
    async with running_relay(tmp_path, configuration(upstream.port)) as running:
        yield running


@pytest.fixture
async def two_relays(upstream: Upstream, tmp_path: Path) -> AsyncIterator[LocalRelay]:
    """The same, with a relay for each API."""
    config = configuration(upstream.port, **both_relays(upstream.port))
    async with running_relay(tmp_path, config) as running:
        yield running


@pytest.fixture
async def agent(relay: LocalRelay) -> Agent:
    """An agent connected to the relay."""
    return await relay.agent()


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[Chain]:
    """A relay with one hop, which the test plays."""
    async with running_chain(tmp_path) as running:
        yield running
