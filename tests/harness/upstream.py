"""An upstream on loopback that does nothing by itself: the test plays each connection."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tests.harness import FUSE_SECONDS
from tests.harness.listener import Listener
from tests.harness.peer import Caller, Ended, Request


class Upstream(Listener):
    """A listener whose connections a test plays itself, or has played by a function.

    The relay looks whether anybody listens by connecting without a word: connections count
    from their first byte.
    """

    def __init__(self) -> None:
        super().__init__()
        self.callers: list[Caller] = []
        self.requests: list[Request] = []
        self._unplayed: asyncio.Queue[Caller] = asyncio.Queue()
        self._play: Callable[[Request], bytes] | None = None

    def _take(self, caller: Caller) -> None:
        self.callers.append(caller)
        if self._play is None:
            self._unplayed.put_nowait(caller)
        else:
            self._run(self._serve(caller, self._play))

    async def _serve(self, caller: Caller, play: Callable[[Request], bytes]) -> None:
        with contextlib.suppress(Ended, TimeoutError):
            while True:
                request = await caller.request()
                self.requests.append(request)
                caller.transport.write(play(request))

    def answer_with(self, answer: bytes | Callable[[Request], bytes]) -> None:
        """Answer every request on connections to come with these bytes."""
        self._play = answer if callable(answer) else lambda _: answer

    def credentials(self) -> list[bytes]:
        """Return the keys that the answered requests came with, in order."""
        return [value for each in self.requests for value in each.values("x-api-key")]

    async def accepted(self) -> Caller:
        """Return the next connection, once there is one."""
        async with asyncio.timeout(FUSE_SECONDS):
            return await self._unplayed.get()

    async def called(self) -> tuple[Caller, Request]:
        """Return the next connection and the whole request that came on it."""
        caller = await self.accepted()
        return caller, await caller.request()

    def forget(self) -> None:
        """Drop the connections there are, and play those to come by hand again."""
        self._play = None
        for caller in self._connections:
            caller.transport.abort()
        while not self._unplayed.empty():
            self._unplayed.get_nowait()


@asynccontextmanager
async def running_upstream(tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    """Run an upstream for the length of the context."""
    upstream = Upstream()
    await upstream.start(tls)
    try:
        yield upstream
    finally:
        await upstream.stop()
