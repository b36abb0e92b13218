"""Headroom as a hop: the relay in its image on both sides of it, and both APIs at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio

from tests.acceptance.api import Api
from tests.acceptance.container import ContainedRelay, relay_container
from tests.acceptance.headroom.service import Headroom, build, running_headroom
from tests.acceptance.sdks.provider import Provider, running_provider
from tests.harness import FUSE_SECONDS
from tests.harness.configuration import Config
from tests.harness.ports import free_ports
from tests.harness.upstream import Upstream

RELAYS: Final = 3
"""That have Headroom on their way: see ``through_headroom``."""


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def provider() -> AsyncIterator[Provider]:
    """OpenAI's API at the end of the line."""
    async with running_provider() as running:
        yield running


@pytest.fixture(scope="package")
def headroom_port() -> int:
    """Where Headroom will be."""
    return free_ports(1)[0]


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def shared_relay(
    relay_image: str,
    shared_api: Api,
    provider: Provider,
    trap: Upstream,
    headroom_port: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[ContainedRelay]:
    """The relay with Headroom on the way to each API, and ready to do without."""
    folder = tmp_path_factory.mktemp("relay")
    config = through_headroom(headroom_port, shared_api.url, provider.url, trap.port)
    async with relay_container(relay_image, folder, config) as running:
        await running.find_return_port()
        yield running


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def headroom(
    shared_relay: ContainedRelay, headroom_port: int, trap: Upstream
) -> AsyncIterator[Headroom]:
    """Headroom as compose.yaml starts it; a caller may lead it into the trap as well."""
    await build()
    back = f"http://127.0.0.1:{shared_relay.return_port}"
    environment = {
        "OPENAI_TARGET_API_URL": f"{back}/openai/headroom",
        "HEADROOM_ALLOWED_BASE_URLS": f"{back},http://127.0.0.1:{trap.port}",
    }
    async with running_headroom(
        f"{back}/anthropic/headroom", trap, port=headroom_port, environment=environment
    ) as running:
        # The relay, which was there before, looks every five seconds, and goes on without it.
        async with asyncio.timeout(FUSE_SECONDS):
            while len(await shared_relay.samples("relay_hop_up", "relay")) < RELAYS:
                pass
        yield running


def through_headroom(port: int, api: str, openai: str, trap_port: int) -> Config:
    """Return a configuration with Headroom as the hop of all relays.

    Behind ``led`` it is told to send on to the trap, as by a caller who has got that far.
    """
    hop = {"name": "headroom", "url": f"http://127.0.0.1:{port}", "if_down": "skip"}
    elsewhere = {"x-headroom-base-url": {"command": ["echo", f"http://127.0.0.1:{trap_port}"]}}
    return {
        "grants": ["anthropic", "claude", "openai"],
        "relays": {
            "anthropic": {"url": api, "grant": "anthropic", "hops": [hop]},
            "openai": {"url": openai, "hops": [hop]},
            "led": {
                "url": api,
                "grant": "anthropic",
                "api": "anthropic",
                "hops": [hop | {"headers": elsewhere}],
            },
        },
        "returns": ["127.0.0.1:0"],
    }
