"""The event loop that the relay runs on, and the relay between an agent and an upstream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop
from hypothesis import settings

from tests.harness.relays import (
    Agent,
    LocalRelay,
    Upstream,
    both_relays,
    configuration,
    running_relay,
    running_upstream,
)

# A busy machine is no finding.
settings.register_profile("relay", deadline=None)
settings.load_profile("relay")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the tests on the loop that the product runs on; the stand-in needs asyncio's own."""
    if item.path.stem == "test_upstream_tls":  # where the two differ
        return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
    others = ("test_headroom_standin", "test_measuring_headroom", "test_sdks")
    # `relay doctor` itself runs on asyncio's own.
    if item.path.stem in others or item.path.stem.startswith("test_doctor"):
        return {"asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}


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
