"""The end of the line: both APIs on one port, with the bytes of every request kept.

It is strict in what the relay is for: each API takes nothing but its own real credential in the
one header it is sent in, and a client's token anywhere in a request is a fault that no test can
miss. What it answers is found by the path and, where a model speaks, by the first word of what
it was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.acceptance.api import Call
from tests.acceptance.sdks import anthropic_api, openai_api
from tests.acceptance.sdks.replies import Reply, as_json, send
from tests.harness.peer import Caller, Ended, Ending, Request
from tests.harness.secrets import KEY, OPENAI_KEY
from tests.harness.upstream import Upstream, running_upstream


@dataclass
class Provider:
    """An imitation of the two APIs."""

    upstream: Upstream
    requests: list[Request] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    has_refused: bool = False
    """Whether there was a 429: that is enough of them."""
    left_open: int = 0
    """How many answers were begun, or not even that, and never ended."""
    left: asyncio.Queue[Ending] = field(default_factory=asyncio.Queue)
    """How the connections of these ended."""
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    """While this is not set, requests wait for their answers."""
    _came: asyncio.Event = field(default_factory=asyncio.Event)
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.upstream.port}"

    async def asked(self) -> None:
        """Wait until there is a request on record."""
        await self._came.wait()

    def forget(self) -> None:
        """Drop the record, and answer at once."""
        self.requests.clear()
        self.answering.set()
        self._came.clear()
        self.faults.clear()
        self.left_open = 0
        self.has_refused = False
        while not self.left.empty():
            self.left.get_nowait()

    async def serve(self) -> None:
        """Answer on every connection there is."""
        while True:
            with contextlib.suppress(TimeoutError):
                task = asyncio.create_task(self._converse(await self.upstream.accepted()))
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)

    async def _converse(self, caller: Caller) -> None:
        with contextlib.suppress(Ended, TimeoutError):
            while True:
                request = await caller.request()
                self.requests.append(request)
                self._came.set()
                await self.answering.wait()
                reply = self._answer(request)
                self.has_refused |= reply.status == 429
                await send(caller, reply)
                if reply.ending == "silent":
                    self.left_open += 1
                    self.left.put_nowait(await caller.gone())
        caller.leave()

    def _answer(self, request: Request) -> Reply:
        self.faults += Call(request).leaks()
        answer, key = openai_api.answer, OPENAI_KEY
        if request.values("anthropic-version"):
            answer, key = anthropic_api.answer, KEY
        # Anthropic's SDKs send an API key as the one or as the other, by their version.
        ways = ([f"x-api-key: {key}"], [f"authorization: Bearer {key}"])
        if credentials_in(request) not in ways:
            return as_json({"error": {"type": "authentication_error", "message": "who?"}}, 401)
        return answer(request, is_first=not self.has_refused)


def credentials_in(request: Request) -> list[str]:
    """Return the header lines that carry credentials."""
    return [
        f"{name}: {value.decode()}"
        for name in ("x-api-key", "authorization", "api-key", "cookie", "x-goog-api-key")
        for value in request.values(name)
    ]


@asynccontextmanager
async def running_provider() -> AsyncIterator[Provider]:
    """Run the APIs for the length of the context."""
    async with running_upstream() as upstream:
        provider = Provider(upstream)
        provider.forget()
        serving = asyncio.create_task(provider.serve())
        try:
            yield provider
        finally:
            serving.cancel()
            for task in list(provider._connections):
                task.cancel()
