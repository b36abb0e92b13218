"""LLM proxies and the API at the end of a chain, in this process.

A hop is started before the relay, whose configuration names its address, and told afterwards
where the relay takes its returns: ``await hop.aim(address)``. At its end every hop is asked whether
a real credential, or an agent's token, ever came to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.harness import FUSE_SECONDS
from tests.harness.chain import HOP, chain_configuration
from tests.harness.configuration import Config
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.secrets import SECRETS
from tests.headroom import Headroom, Settings, running_headroom

# Of a hop that is not told yet where to send on, and that does not wait before it tries again.
AIMLESS: Final = Settings(upstream="", retry_scale=0.0)


@asynccontextmanager
async def running_hop(settings: Settings = AIMLESS) -> AsyncIterator[Headroom]:
    """Run a hop for the length of the context; see that it never got a secret."""
    async with running_headroom(settings) as hop:
        yield hop
    check_record(hop)


@asynccontextmanager
async def aimed_hop(
    api: Headroom, path: str = "", settings: Settings = AIMLESS
) -> AsyncIterator[Headroom]:
    """Run a hop that sends on to the API, or to a path there; its readiness check is forgotten."""
    async with running_hop(settings) as hop:
        await aim(hop, api.url + path)
        api.record.clear()
        yield hop


async def aim(hop: Headroom, upstream: str) -> None:
    """Tell a hop where to send on, and forget that it asked whether anybody is there."""
    async with asyncio.timeout(FUSE_SECONDS):
        await hop.aim(upstream)
    hop.record.clear()


@asynccontextmanager
async def running_api() -> AsyncIterator[Headroom]:
    """Run the API at the end of a chain: its record says which credential it was shown."""
    async with running_headroom() as api:
        yield api


def check_record(hop: Headroom) -> None:
    """See that no secret is in what a hop received."""
    for exchange in hop.record.exchanges:
        received = f"{exchange.target} {exchange.headers} {exchange.body.text}"
        assert not any(secret in received for secret in SECRETS), exchange.target


def credential_seen(api: Headroom) -> list[str | None]:
    """Return the credential of each request that the API has got, in order."""
    return [
        exchange.header("x-api-key") or exchange.header("authorization")
        for exchange in api.record.exchanges
    ]


@dataclass
class StandInChain:
    """A relay, the stand-ins on the way of its calls, and the one at their end."""

    relay: LocalRelay
    hops: dict[str, Headroom]
    api: Headroom

    @property
    def hop(self) -> Headroom:
        """The first hop."""
        return next(iter(self.hops.values()))

    def return_address(self, hop: str = HOP) -> str:
        """Return where a hop is to send on."""
        return f"http://127.0.0.1:{self.relay.return_port}/anthropic/{hop}"


@asynccontextmanager
async def running_stand_ins(
    folder: Path,
    *names: str,
    settings: Settings = AIMLESS,
    changes: Config | None = None,
    hop: Config | None = None,
) -> AsyncIterator[StandInChain]:
    """Run a relay with stand-ins for hops of these names, each set up alike and told its way on.

    ``hop`` is said of each hop in the relay's configuration.
    """
    names = names or (HOP,)
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(running_api())
        hops = {name: await stack.enter_async_context(running_hop(settings)) for name in names}
        config = chain_configuration(api, hops, changes=changes, **(hop or {}))
        relay = await stack.enter_async_context(running_relay(folder, config))
        await relay.find_return_port()
        chain = StandInChain(relay, hops, api)
        for name, each in hops.items():
            await aim(each, chain.return_address(name))
        yield chain


def plays(mode: str, **arguments: str) -> Settings:
    """Return a hop that does this with all calls."""
    return replace(AIMLESS, default_mode=mode, default_arguments=arguments)
