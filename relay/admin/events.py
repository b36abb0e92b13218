"""``/events``: what the page shows, as an event stream, once a second.

A reader gets the next event when it has taken the one before, so each costs the memory of one
event; one that takes nothing for ten seconds is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

from aiohttp import web

from relay.admin.bridge import Bridge, bridge_of
from relay.admin.overview import Overview

MOST_READERS: Final = 8
EVENT_SECONDS: Final = 1.0
UNTAKEN_SECONDS: Final = 10.0

_HEADERS: Final = {"content-type": "text/event-stream", "x-accel-buffering": "no"}
_FULL: Final = "Eight pages are open already; this one is served once another is closed.\n"
_DRAINING: Final = "The relay is stopping.\n"


class Events:
    """All open event streams."""

    def __init__(self, overview: Overview) -> None:
        self._overview = overview
        self._readers: set[_Reader] = set()
        self._over = asyncio.Event()

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Answer with a stream; 503 where eight are open, or the relay is stopping."""
        if self._over.is_set() or len(self._readers) >= MOST_READERS:
            text = _DRAINING if self._over.is_set() else _FULL
            return web.Response(status=503, text=text, headers={"retry-after": "5"})
        if request.method == "HEAD":
            return web.Response(headers=_HEADERS)
        response = web.StreamResponse(headers=_HEADERS)
        # A reader who leaves shows when it is written to, or later, when its task is cancelled.
        with contextlib.suppress(ConnectionError), self._reader(bridge_of(request)) as reader:
            await response.prepare(request)
            await self._tell(reader, response)
        return response

    @contextlib.contextmanager
    def _reader(self, bridge: Bridge) -> Iterator[_Reader]:
        reader = _Reader(bridge)
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    async def _tell(self, reader: _Reader, response: web.StreamResponse) -> None:
        await self._overview.prepare()
        ended, use = 0, None
        while not self._over.is_set():
            if reader.is_ready():
                event, ended, use = self._overview.event(ended, use)
                await reader.write(response, b"data: " + event + b"\n\n")
            # Not wait_for: before Python 3.12 that may swallow the cancellation of who has left.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVENT_SECONDS):
                    await self._over.wait()

    def end(self) -> None:
        """End the streams, and begin no others."""
        self._over.set()
        for reader in self._readers:
            reader.leave()


class _Reader:
    """One open stream, and how much of it was taken."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._loop = asyncio.get_running_loop()
        self._writing = False
        self._untaken = 0
        self._took_at = self._loop.time()

    def is_ready(self) -> bool:
        """Whether all was taken; cuts the connection where nothing was for ten seconds."""
        untaken, now = self._bridge.untaken, self._loop.time()
        if untaken == 0 or untaken < self._untaken:
            self._took_at = now
        elif now - self._took_at > UNTAKEN_SECONDS:
            self._bridge.abort()
        self._untaken = untaken
        return untaken == 0

    async def write(self, response: web.StreamResponse, event: bytes) -> None:
        """Write an event; returns once the transport's buffer is below its mark."""
        self._writing = True
        await response.write(event)
        self._writing = False

    def leave(self) -> None:
        """Cut the connection if an event is still being written to it."""
        if self._writing:
            self._bridge.abort()
