"""LLM proxies and the API at the end of a chain, in this process.

A hop is started before the relay, whose configuration names its address, and told afterwards
where the relay takes its returns: ``hop.aim(address)``. At its end every hop is asked whether
a real credential, or an agent's token, ever came to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

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
