"""An agent whose requests a test writes itself."""

from __future__ import annotations

from tests.harness.credentials import CREDENTIALS
from tests.harness.message import Answer
from tests.harness.peer import Peer


class Agent(Peer):
    """An agent's connection to the relay."""

    async def head(self, *, bodiless: bool = False) -> Answer:
        """Read a response's head; 204, 304 and those to HEAD have no body."""
        start, fields = await self._head()
        answer = Answer(start, fields)
        answer.complete = bodiless or answer.status in (100, 204, 304)
        return answer

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """Read a response, as far as it comes, and see that it gives no credential away."""
        answer = await self.head(bodiless=bodiless)
        await self.finish(answer)
        whole = repr(answer)
        assert not any(credential in whole for credential in CREDENTIALS)
        return answer

    async def ask(self, data: bytes) -> Answer:
        """Send a request and read its answer."""
        await self.send(data)
        return await self.answer(bodiless=data.startswith(b"HEAD "))
