"""A relay whose calls go through LLM proxies, each leg of which the test plays itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from tests.harness.configuration import Config, configuration
from tests.harness.messages import request
from tests.harness.peer import Agent, Caller, Request
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.upstream import Upstream, running_upstream

HOP: Final = "headroom"
# What a proxy states itself, or does not carry on.
_OWN: Final = (b"host", b"content-length", b"transfer-encoding", b"connection")


@dataclass
class Chain:
    """A relay, the hops of its relay ``anthropic``, and the API behind them."""

    relay: LocalRelay
    hops: Sequence[Upstream]
    api: Upstream

    async def called(self, index: int = 0) -> tuple[Caller, Request]:
        """Return the connection and the request that come to a hop."""
        return await self.hops[index].called()

    async def come_back(
        self, sent: Request, target: str = "/v1/messages", *lines: str, **changes: object
    ) -> Agent:
        """Send on what a hop was sent, to the relay's return address; return the connection."""
        agent = await self.relay.agent(port=self.relay.return_port)
        await agent.send(returned(sent, target, *lines, **changes))  # type: ignore[arg-type]  # as there
        return agent

    async def begin(self, *lines: str) -> tuple[Agent, Caller, Request]:
        """Begin a call; return the agent, and what its first hop got."""
        agent = await self.relay.agent()
        await agent.send(request("/relay/anthropic/v1/messages", *lines))
        caller, sent = await self.called()
        return agent, caller, sent


def returned(  # noqa: PLR0913  # what a test may have wrong about a return
    sent: Request,
    target: str = "/v1/messages",
    *lines: str,
    relay: str = "anthropic",
    hop: str = HOP,
    method: str | None = None,
    without: Sequence[str] = (),
    body: bytes | None = None,
) -> bytes:
    """Return what a hop sends on: what it was sent, with further lines and without some."""
    dropped = {*_OWN, *(name.lower().encode() for name in without)}
    kept = [
        f"{k.decode()}: {v.decode('latin-1')}" for k, v in sent.fields if k.lower() not in dropped
    ]
    return request(
        f"/{relay}/{hop}{target}",
        *kept,
        *lines,
        method=method or sent.method.decode(),
        token=None,
        body=sent.body if body is None else body,
    )


class Listening(Protocol):
    """Whoever listens on loopback: what a test plays, or a stand-in."""

    port: int


def chain_configuration(
    api: Listening, hops: Mapping[str, Listening], *, changes: Config | None = None, **hop: object
) -> Config:
    """Return a configuration with these hops, in order; ``hop`` is said of each of them."""
    declared = [
        {"name": name, "url": f"http://127.0.0.1:{upstream.port}"} | hop
        for name, upstream in hops.items()
    ]
    base = configuration(
        api.port,
        claude={"base_url": f"http://127.0.0.1:{api.port}", "hops": declared},
        returns=["127.0.0.1:0"],
    )
    return base | (changes or {})


@asynccontextmanager
async def running_chain(
    folder: Path, *names: str, changes: Config | None = None, **hop: object
) -> AsyncIterator[Chain]:
    """Run a relay with hops of these names for the length of the context."""
    names = names or (HOP,)
    async with AsyncExitStack() as stack:
        hops = [await stack.enter_async_context(running_upstream()) for _ in names]
        api = await stack.enter_async_context(running_upstream())
        by_name = dict(zip(names, hops, strict=True))
        config = chain_configuration(api, by_name, changes=changes, **hop)
        relay = await stack.enter_async_context(running_relay(folder, config))
        await relay.find_return_port()
        yield Chain(relay, hops, api)
