"""Both APIs at the end of the line, and the relay's image in front of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from tests.acceptance.container import ContainedRelay, forwarding_to, relay_container
from tests.acceptance.sdks.provider import Provider, running_provider
from tests.acceptance.sdks.runs import Client, Pair, side_by_side
from tests.harness.configuration import Config


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def provider() -> AsyncIterator[Provider]:
    """The APIs at the end of the line."""
    async with running_provider() as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def relay(
    relay_image: str, provider: Provider, nowhere: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ContainedRelay]:
    """The relay in its container, in front of both."""
    folder = tmp_path_factory.mktemp("relay")
    async with relay_container(relay_image, folder, both_apis(provider.url, nowhere)) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pairs(provider: Provider, relay: ContainedRelay) -> Callable[[Client], Awaitable[Pair]]:
    """All cases of a version of an SDK, with and without the relay; they are run once."""
    made: dict[Client, Pair] = {}

    async def pair_of(client: Client) -> Pair:
        if client not in made:
            made[client] = await side_by_side(client, provider, relay)
        return made[client]

    return pair_of


@pytest_asyncio.fixture(loop_scope="session")
async def pair(client: Client, pairs: Callable[[Client], Awaitable[Pair]]) -> Pair:
    """What came of the cases of the version that a test is about."""
    return await pairs(client)


def both_apis(url: str, nowhere: str) -> Config:
    """Return a configuration with a relay for each API, and some that serve less or more."""
    config = forwarding_to(url, nowhere)
    config["relays"] |= {
        "openai-batches": {"url": url, "grant": "openai", "allow": ["/v1/batches"]},
        "openai-away": {"url": nowhere, "grant": "openai"},
        "openai-unready": {"url": url, "grant": "later", "api": "openai"},
    }
    return config
