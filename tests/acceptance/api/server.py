"""The API's listener: checks every call, plays what was planned, and keeps the record."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tests.acceptance.api.calls import Call
from tests.acceptance.api.replies import Plan, Reply, as_json, fails
from tests.harness.messages import chunk
from tests.harness.peer import Caller, Ended
from tests.harness.secrets import KEY, OAUTH
from tests.harness.upstream import Upstream, running_upstream
from tests.headroom import anthropic

_MODELS: Final = "/v1/models"
# What x-api-key and Authorization hold.
_Credentials = tuple[list[str], list[str]]
_BY_KEY: Final[_Credentials] = ([KEY], [])
_BY_OAUTH: Final[_Credentials] = ([], [f"Bearer {OAUTH}"])


class Api:
    """An imitation of the API."""

    def __init__(self, upstream: Upstream) -> None:
        self.url = f"http://127.0.0.1:{upstream.port}"
        self.by_oauth = False
        """Whether a subscription's token is expected instead of a key."""
        self.calls: list[Call] = []
        self.faults: list[str] = []
        """What went wrong and fails the test that it happened in."""
        self._planned: deque[Plan] = deque()
        self._upstream = upstream
        self._connections: set[asyncio.Task[None]] = set()

    def plan(self, *plans: Plan) -> None:
        """Plan the answers to the next calls of /v1/messages, in this order."""
        self._planned.extend(plans)

    def begin_again(self) -> None:
        """Forget everything."""
        self.by_oauth = False
        self.calls.clear()
        self.faults.clear()
        self._planned.clear()

    def check(self) -> None:
        """See that there was no fault and that everything that was planned has come."""
        assert not self.faults, "; ".join(self.faults)
        assert not self._planned, f"{len(self._planned)} planned replies were not asked for"

    @property
    def connection_count(self) -> int:
        """How many connections there have been that something was asked on."""
        return len(self._upstream.callers)

    @property
    def messages(self) -> list[Call]:
        """The calls of /v1/messages."""
        return [call for call in self.calls if call.path == "/v1/messages"]

    async def serve(self) -> None:
        """Answer on every connection there is."""
        while True:
            with contextlib.suppress(TimeoutError):
                task = asyncio.create_task(self._converse(await self._upstream.accepted()))
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)

    async def stop(self) -> None:
        """Answer nobody any more."""
        for task in list(self._connections):
            task.cancel()

    async def _converse(self, caller: Caller) -> None:
        with contextlib.suppress(Ended, TimeoutError):
            while True:
                call = Call(await caller.request())
                if not call.request.complete:
                    break
                await send(caller, self._answer(call))
        caller.leave()

    def _answer(self, call: Call) -> Reply:
        self.calls.append(call)
        where = f"{call.method} {call.path}"
        self.faults += [f"{where}: a client's token in its {part}" for part in call.leaks()]
        if (call.values("x-api-key"), call.values("authorization")) != self._credential:
            self.faults.append(f"{where}: not the real credential, and nothing else")
            return fails(401)(call)
        if (call.method, call.path) == ("POST", "/v1/messages"):
            return self._next_plan(where)(call)
        return _page(call)

    @property
    def _credential(self) -> _Credentials:
        return _BY_OAUTH if self.by_oauth else _BY_KEY

    def _next_plan(self, where: str) -> Plan:
        if self._planned:
            return self._planned.popleft()
        self.faults.append(f"{where}: nobody planned this call")
        return fails(400)


def _page(call: Call) -> Reply:
    match call.method, call.path:
        case "POST", "/v1/messages/count_tokens":
            return as_json(anthropic.token_count())
        case "GET", path if path == _MODELS:
            return as_json(anthropic.model_list())
        case "GET", path if path.startswith(f"{_MODELS}/"):
            return as_json(anthropic.model_details(path.removeprefix(f"{_MODELS}/")))
    return fails(404)(call)


async def send(caller: Caller, reply: Reply) -> None:
    """Write a reply, and end it as it says."""
    await asyncio.sleep(reply.delay_seconds)
    await caller.send(_head(reply))
    for index, piece in enumerate(reply.pieces):
        if reply.gate and index == reply.held_after:
            await reply.gate.wait()
        await caller.send(chunk(piece) if reply.streamed else piece)
    match reply.ending:
        case "whole":
            await caller.send(chunk(b"") if reply.streamed else b"")
        case "cut":
            caller.leave()
        case "reset":
            caller.reset()


def _head(reply: Reply) -> bytes:
    framing = "transfer-encoding: chunked"
    if not reply.streamed:
        framing = f"content-length: {sum(map(len, reply.pieces))}"
    fields = [f"{name}: {text}" for name, text in reply.fields]
    request_id = f"request-id: {anthropic.request_id(reply.status)}"
    lines = [f"HTTP/1.1 {reply.status} X", f"content-type: {reply.type}", request_id]
    return "\r\n".join([*lines, framing, *fields, "", ""]).encode()


@asynccontextmanager
async def running_api() -> AsyncIterator[Api]:
    """Run the API for the length of the context."""
    async with running_upstream() as upstream:
        api = Api(upstream)
        serving = asyncio.create_task(api.serve())
        try:
            yield api
        finally:
            serving.cancel()
            await api.stop()
