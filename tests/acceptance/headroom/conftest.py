"""One Headroom for all tests of it, and a relay in front of it in place of the usual one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.acceptance.api import Api
from tests.acceptance.container import ContainedRelay, forwarding_to, relay_container
from tests.acceptance.headroom.service import Headroom, build, running_headroom
from tests.harness.upstream import Upstream


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def headroom(shared_api: Api, trap: Upstream) -> AsyncIterator[Headroom]:
    """Headroom as compose.yaml starts it."""
    await build()
    async with running_headroom(shared_api.url, trap) as running:
        yield running


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def shared_relay(
    relay_image: str, headroom: Headroom, nowhere: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ContainedRelay]:
    """The relay in front of Headroom."""
    folder = tmp_path_factory.mktemp("relay")
    config = forwarding_to(headroom.url, nowhere)
    async with relay_container(relay_image, folder, config) as running:
        yield running
