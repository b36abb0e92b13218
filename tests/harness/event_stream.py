"""Who reads a relay's ``/events``."""

from __future__ import annotations

import json
from typing import Any

from tests.harness.peer import Agent, Answer
from tests.harness.relay import Relay
from tests.harness.secrets import SECRETS


class Reader:
    """One who reads the stream."""

    def __init__(self, agent: Agent, answer: Answer) -> None:
        self.agent = agent
        self.answer = answer
        self._rest = b""

    async def event(self) -> dict[str, Any]:
        """Return the next event, and see that no secret is in it."""
        while b"\n\n" not in self._rest:
            piece = await self.agent.piece(self.answer)
            assert piece
            self._rest += piece
        event, _, self._rest = self._rest.partition(b"\n\n")
        assert event.startswith(b"data: {")
        assert b"\n" not in event
        assert not any(secret in event.decode() for secret in SECRETS)
        return dict(json.loads(event.removeprefix(b"data: ")))


async def open_stream(relay: Relay, receive_buffer: int | None = None) -> Reader:
    """Begin to read."""
    agent = await relay.agent(port=relay.admin_port, receive_buffer=receive_buffer)
    await agent.send(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return Reader(agent, await agent.head())
