"""An agent that writes raw bytes, cut as it likes, and keeps every byte that comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from tests.harness import FUSE_SECONDS
from tests.harness.peer import Ending, Peer
from tests.wire.strict import Partial, Response, read_response


class RawAgent(Peer):
    """One connection to the relay."""

    async def send_apart(self, *pieces: bytes) -> None:
        """Write each piece by itself: the relay reads between them."""
        for piece in pieces:
            if self.transport.is_closing():
                return
            self.transport.write(piece)
            await self._writable.wait()
            if len(pieces) > 1:
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    def answers(self, methods: Sequence[bytes]) -> list[Response]:
        """Return the answers so far, to requests with these methods."""
        data, position = bytes(self.received), 0
        answers: list[Response] = []
        while position < len(data):
            method = methods[len(answers)] if len(answers) < len(methods) else b"GET"
            try:
                answer = read_response(data, position, method=method, closed=self.ending == "end")
            except Partial:
                break
            answers.append(answer)
            position = answer.end
        return answers

    async def until(self, condition: Callable[[], bool], seconds: float = FUSE_SECONDS) -> None:
        """Wait until something is true of what came, or nothing more will come."""
        async with asyncio.timeout(seconds):
            while not self.ending and not condition():
                await self.wait()

    async def gone(self, seconds: float = FUSE_SECONDS) -> Ending:
        """Wait until the relay has ended the connection, and return how."""
        await self.until(lambda: False, seconds)
        return self.ending


async def connect(port: int) -> RawAgent:
    """Connect an agent to a relay."""
    loop = asyncio.get_running_loop()
    _, agent = await loop.create_connection(RawAgent, "127.0.0.1", port)
    return agent
