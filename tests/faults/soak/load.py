"""The agents: so many streams at once, each begun anew as it ends, and a call every 10 ms.

Every answer is checked byte for byte. The credential of each must be one that was in force
while the call ran: the one before it counts as lost on the way.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from tests.faults.soak import script
from tests.faults.soak.ledger import Ledger
from tests.harness.messages import MESSAGES, request
from tests.harness.peer import Agent, Answer, Ended

CALL_SECONDS: Final = 0.01
LATE_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 0.2
"""How long an agent waits whose call failed."""
KEPT: Final = 16
"""Agents that keep their connection between calls; beyond these, each call has its own."""


@dataclass
class Rotation:
    """The credential in force, by its number."""

    serial: int = 0


@dataclass(frozen=True)
class Pace:
    """How much is asked."""

    streams: int = 100
    deltas: int = 40
    pause_seconds: float = 0.15


@dataclass
class Load:
    """The agents of a run."""

    port: int
    pace: Pace
    ledger: Ledger
    rotation: Rotation
    _number: int = 0
    _over: bool = False
    _idle: deque[Agent] = field(default_factory=deque)
    _calls: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        """Keep everything going until it is told to stop."""
        async with asyncio.TaskGroup() as agents:
            agents.create_task(self._call_on_time())
            for position in range(self.pace.streams):
                agents.create_task(self._stream_on_and_on(position / self.pace.streams))
        if self._calls:
            await asyncio.wait(self._calls)
        for agent in self._idle:
            agent.leave()

    def stop(self) -> None:
        """Begin nothing more."""
        self._over = True

    # Streams

    async def _stream_on_and_on(self, head_start: float) -> None:
        # Not all in step: they would end in step, too.
        length = self.pace.deltas * self.pace.pause_seconds
        await asyncio.sleep(head_start * length)
        while not self._over:
            number = self._next()
            deltas = self.pace.deltas
            query = f"stream={number}&deltas={deltas}&pause={self.pace.pause_seconds}"
            await self._ask("stream", number, query, script.stream(number, deltas))

    # Calls

    async def _call_on_time(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._over:
            due += CALL_SECONDS
            await asyncio.sleep(max(0.0, due - loop.time()))
            if loop.time() - due > LATE_SECONDS:
                self.ledger.late += 1
                due = loop.time()
            number = self._next()
            task = asyncio.create_task(
                self._ask("call", number, f"call={number}", script.answer(number))
            )
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    # Both

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _ask(self, kind: str, number: int, query: str, expected: bytes) -> None:
        begun, serial = time.monotonic(), self.rotation.serial
        agent: Agent | None = None
        answer: Answer | None = None
        try:
            agent = await self._connect()
            await agent.send(request(f"{MESSAGES}?{query}", body=script.question(number)))
            answer = await agent.head()
            self.ledger.answered[answer.status] += 1
            await agent.finish(answer)
        except (Ended, OSError) as error:
            self.ledger.find(f"{kind} {number} got no answer at all: {error!r}")
        except TimeoutError:
            self.ledger.find(f"{kind} {number} fell silent for too long")
        if answer is not None:
            self._judge(kind, begun, answer, expected)
            self._check_credential(kind, answer, serial)
        if agent is not None:
            self._release(agent, answer)
        if answer is None or answer.status != 200:
            await asyncio.sleep(
                RETRY_SECONDS
            )  # an agent whose call failed does not come at once again

    def _judge(self, kind: str, begun: float, answer: Answer, expected: bytes) -> None:
        if answer.status != 200:
            how = f"{answer.status} {answer.outcome}"
            if answer.status == 502 and answer.outcome in ("connect_error", "upstream_error"):
                self.ledger.lost(kind, begun, how)
            else:
                self.ledger.find(f"{kind} was answered {how}")
        elif answer.complete and answer.body == expected:
            self.ledger.succeeded(kind)
        elif answer.complete or not expected.startswith(answer.body):
            self.ledger.find(f"{kind} of {len(expected)} bytes was not what was sent")
        else:
            self.ledger.lost(kind, begun, "broken off")

    def _check_credential(self, kind: str, answer: Answer, serial: int) -> None:
        if answer.status == 200:
            seen = int(b"".join(answer.values(script.SERIAL_FIELD)))
            if not serial <= seen <= self.rotation.serial:
                self.ledger.find(f"{kind} carried credential {seen}, {serial} was in force")

    async def _connect(self) -> Agent:
        while self._idle:
            agent = self._idle.popleft()
            if not agent.ending:
                return agent
        loop = asyncio.get_running_loop()
        _, agent = await loop.create_connection(Agent, "127.0.0.1", self.port)
        return agent

    def _release(self, agent: Agent, answer: Answer | None) -> None:
        whole = answer is not None and answer.complete and not agent.ending
        if whole and len(self._idle) < KEPT:
            self._idle.append(agent)
        else:
            agent.leave()
