"""Relays in processes of their own, each shared by the tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.counting import CountedRelay, counted_relay
from tests.harness.configuration import configuration
from tests.harness.relay import RelayProcess, relay_process
from tests.harness.upstream import Upstream, running_upstream

# Long enough that a busy machine is no stall, short enough to be waited for.
LIMIT_SECONDS = 0.3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_upstream() -> AsyncIterator[Upstream]:
    """An upstream whose connections the tests of a module play."""
    async with running_upstream() as running:
        yield running


@pytest.fixture
def upstream(shared_upstream: Upstream) -> Upstream:
    """The same, without connections that an earlier test left unplayed."""
    shared_upstream.forget()
    return shared_upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def patient_process(
    shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[CountedRelay]:
    """A relay with the limits that it has by default."""
    folder = tmp_path_factory.mktemp("patient")
    async with counted_relay(folder, configuration(shared_upstream.port)) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def impatient_process(
    shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[CountedRelay]:
    """A relay that takes a short silence for a stall."""
    limits = dict.fromkeys(("headers", "idle", "request_body", "write"), LIMIT_SECONDS)
    config = configuration(shared_upstream.port, timeouts=limits)
    folder = tmp_path_factory.mktemp("impatient")
    async with counted_relay(folder, config) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def relay(upstream: Upstream, patient_process: CountedRelay) -> CountedRelay:
    """The relay with its own limits, counting this test's calls."""
    await patient_process.forget()
    return patient_process


@pytest_asyncio.fixture(loop_scope="module")
async def impatient(upstream: Upstream, impatient_process: CountedRelay) -> CountedRelay:
    """The relay with short limits, counting this test's calls."""
    await impatient_process.forget()
    return impatient_process


@pytest_asyncio.fixture(loop_scope="module")
async def process(upstream: Upstream, tmp_path: Path) -> AsyncIterator[RelayProcess]:
    """A relay of the test's own, whose life it may end."""
    async with relay_process(tmp_path, configuration(upstream.port)) as running:
        yield running
