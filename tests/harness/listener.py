"""Peers that listen on loopback: each connection is served by a task, and none outlives them."""

from __future__ import annotations

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine

from tests.harness.peer import Caller, Ended, Request
from tests.headroom.connection import stop_accepting


class Server:
    """A listener, and the tasks of its connections."""

    def __init__(self) -> None:
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop_listening(self) -> None:
        """Refuse connections from now on."""
        await stop_accepting(self._server)

    async def stop(self) -> None:
        """Drop everything."""
        await self.stop_listening()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Listener(Server, ABC):
    """A listener for connections that are taken by hand."""

    def __init__(self) -> None:
        super().__init__()
        self._connections: list[Caller] = []

    async def start(
        self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, host, port, ssl=tls, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    def _accept(self) -> Caller:
        return Caller(self._connections.append, self._take)

    @abstractmethod
    def _take(self, caller: Caller) -> None:
        """Take a connection at its first byte."""

    async def stop(self) -> None:
        """Drop everything."""
        await super().stop()
        for caller in self._connections:
            caller.transport.abort()
        for caller in self._connections:
            await caller.lost.wait()


class Answering(Listener):
    """A listener that answers each whole request by a function."""

    def __init__(self, answer: Callable[[Caller, Request], Awaitable[None]]) -> None:
        super().__init__()
        self._answer = answer

    def _take(self, caller: Caller) -> None:
        self._run(self._answer_all(caller))

    async def _answer_all(self, caller: Caller) -> None:
        try:
            while True:
                while not caller.received and not caller.ending:
                    await caller.wait()
                request = await caller.request()
                if request.complete:
                    await self._answer(caller, request)
        except (Ended, TimeoutError):
            caller.leave()
