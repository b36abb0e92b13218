"""The tests' own listeners leave no connection open, whenever they stop: it would fail others."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tests.harness.proxy import Proxy
from tests.harness.silence import NoTls
from tests.harness.upstream import Upstream
from tests.headroom import Headroom, running_headroom
from tests.headroom.connection import TURNS_TO_BEGIN
from tests.wire.upstream import RawUpstream

Server = NoTls | Proxy | RawUpstream | Upstream
Running = AbstractAsyncContextManager[Server | Headroom]


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[Server]:
    """Run it for the length of the context."""
    await server.start()
    yield server
    await server.stop()


LISTENERS: dict[str, Callable[[], Running]] = {
    "headroom": running_headroom,
    "no TLS": lambda: running(NoTls(b"")),
    "proxy": lambda: running(Proxy({})),
    "raw upstream": lambda: running(RawUpstream()),
    "upstream": lambda: running(Upstream()),
}


async def stop_after(turns: int, listener: Running) -> None:
    """Connect, and stop the listener so many turns of the event loop later."""
    async with listener as server:
        agent = socket.create_connection(("127.0.0.1", server.port))
        for _ in range(turns):
            await asyncio.sleep(0)
    agent.close()


@pytest.mark.parametrize("name", LISTENERS)
def test_a_connection_that_has_hardly_begun_is_closed(name: str) -> None:
    """Also one whose listener stops between the kernel's accepting it and the loop's."""
    with warnings.catch_warnings(record=True) as left_open:
        warnings.simplefilter("always")
        for turns in range(TURNS_TO_BEGIN + 2):
            asyncio.run(stop_after(turns, LISTENERS[name]()))
        gc.collect()
    assert [str(each.message) for each in left_open] == []
