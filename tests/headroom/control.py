"""The pages under /standin/: what was received, and what to play next.

    GET    /standin/requests?state=&count=&timeout=   the exchanges, as soon as there are `count`
    DELETE /standin/requests                          forget them
    POST   /standin/next {"mode": "429", ...}         play a mode for the next request
    DELETE /standin/next                              forget what was to be played
    POST   /standin/replay                            send the last request on once more (a hop)

They are never recorded themselves.
"""

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from .answers import JSON, Answer, own_answer
from .arguments import ArgumentError, Arguments
from .forwarder import Forwarder
from .modes import MODES
from .record import Exchange, Record
from .wire import RequestHead

PREFIX = "/standin/"
# How long a request for exchanges waits unless it says so.
WAIT_SECONDS = 5.0


@dataclass(frozen=True)
class Script:
    """A mode with its arguments."""

    mode: str
    arguments: Arguments = field(default_factory=Arguments)

    def __post_init__(self) -> None:
        """Refuse unknown modes."""
        if self.mode not in MODES:
            raise ArgumentError(f"unknown mode: {self.mode}")


@dataclass
class Control:
    """What a test sees and sets from outside."""

    record: Record
    scripts: deque[Script]
    forwarder: Forwarder | None = None

    async def answer(self, head: RequestHead, body: bytes) -> Answer:
        """Answer a request for one of the pages."""
        path, _, query = head.target.partition("?")
        try:
            match (head.method, path.removeprefix(PREFIX)):
                case ("GET", "requests"):
                    return await self._requests(dict(parse_qs(query)))
                case ("POST", "replay"):
                    return await self._replay()
                case order:
                    return self._obey(order, body)
        except (ArgumentError, ValueError) as error:
            return _answer(400, "Bad Request", {"error": str(error)})

    def _obey(self, order: tuple[str, str], body: bytes) -> Answer:
        match order:
            case ("DELETE", "requests"):
                self.record.clear()
            case ("DELETE", "next"):
                self.scripts.clear()
            case ("POST", "next"):
                self.scripts.append(parse_script(body))
            case _:
                return _answer(404, "Not Found", {"error": "no such page of the stand-in"})
        return _answer(200, "OK", {"waiting": len(self.scripts)})

    async def _replay(self) -> Answer:
        leg = await self.forwarder.replay() if self.forwarder else None
        if leg is None:
            return _answer(409, "Conflict", {"error": "nothing was sent on yet"})
        return _answer(200, "OK", leg.as_json())

    async def _requests(self, query: dict[str, list[str]]) -> Answer:
        state = query.get("state", [None])[0]
        count = int(query.get("count", ["0"])[0])
        try:
            async with asyncio.timeout(float(query.get("timeout", [WAIT_SECONDS])[0])):
                found = await self.record.wait_for(state, count)
        except TimeoutError:
            some = self.record.in_state(state)
            error = f"{len(some)} of {count} requests"
            return _answer(408, "Request Timeout", {"error": error, "requests": _list(some)})
        return _answer(200, "OK", _list(found))


def parse_script(body: bytes) -> Script:
    """Read a mode and its arguments from JSON; ArgumentError or ValueError if it is none."""
    given = json.loads(body)
    if not isinstance(given, dict) or "mode" not in given:
        raise ArgumentError("an object with a mode is wanted")
    mode = str(given.pop("mode"))
    return Script(mode, Arguments({name: str(value) for name, value in given.items()}))


def _list(exchanges: list[Exchange]) -> list[dict[str, object]]:
    return [exchange.as_json() for exchange in exchanges]


def _answer(status: int, reason: str, data: object) -> Answer:
    return own_answer(status, reason, JSON, json.dumps(data).encode())
