"""Answers admin connections from the start of the process on, before aiohttp is imported.

That import takes longer than the rest of the start. So the listeners are opened first, and requests
for pages wait here until the application is there; calls do not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from relay import threads
from relay.downstream.server_connection import Request, ServerConnection

if TYPE_CHECKING:
    from relay.admin.application import AdminListener

RETRY_SECONDS: Final = 1.0

log = logging.getLogger("relay")


class AdminHandler:
    """Answers the requests of the admin listener's connections, once it can."""

    def __init__(self, load: Callable[[], AdminListener]) -> None:
        self._load = load
        self._listener: AdminListener | None = None
        self._started = asyncio.Event()

    async def start(self) -> None:
        """Import and make the application, in a thread: calls do not wait for that.

        A process that has no descriptor left tries again until it has one.
        """
        listener = await self._load_in_time()
        await listener.start()
        self._listener = listener
        self._started.set()

    async def _load_in_time(self) -> AdminListener:
        said = False
        while True:
            try:
                return await threads.run(self._load)
            # The second is what dlopen(3) says of a missing descriptor.
            except (OSError, ImportError) as error:
                if not said:
                    reason = getattr(error, "strerror", None) or str(error)
                    log.warning("the admin pages are not there yet: %s; trying again", reason)
                said = True
            await asyncio.sleep(RETRY_SECONDS)

    def drain(self) -> None:
        """End the event streams: the relay is stopping."""
        if self._listener is not None:
            self._listener.drain()

    async def stop(self) -> None:
        """Wait up to a second for answers under way, then cancel them."""
        if self._listener is not None:
            await self._listener.stop()

    async def handle(self, connection: ServerConnection, request: Request) -> bool:
        """Answer one request; return whether another may follow on its connection."""
        await self._started.wait()
        assert self._listener is not None
        return await self._listener.handle(connection, request)
