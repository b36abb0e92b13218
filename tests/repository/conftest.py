"""The stand-ins that several of these tests run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.harness.hop import aimed_hop, running_api
from tests.headroom import Headroom


@pytest.fixture
async def api() -> AsyncIterator[Headroom]:
    """Run the API at the end."""
    async with running_api() as running:
        yield running


@pytest.fixture
async def hop(api: Headroom) -> AsyncIterator[Headroom]:
    """Run a hop in front of the API."""
    async with aimed_hop(api) as running:
        yield running
