"""The agents: each calls as its plans say, one call after the other, while there is a relay."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from tests.faults.accounts.api import Api
from tests.faults.accounts.plans import AGENTS, Plan, plan_of
from tests.harness.messages import CHAT, MESSAGES, request
from tests.harness.peer import Agent, Answer, Ended

RETRY_SECONDS: Final = 0.2
"""How long an agent waits whose call was not taken."""


@dataclass
class Agents:
    """All of them, and when their calls ended."""

    port: int
    api: Api
    plans: dict[int, Plan]
    tokens: dict[str, str]
    """By client."""
    ended: dict[int, float] = field(default_factory=dict)
    """When an agent had its answer, or left: on the monotonic clock."""
    findings: list[str] = field(default_factory=list)
    unserved: int = 0
    """Calls that a relay's end cut off, or that came when there was none."""
    _numbers: count[int] = field(default_factory=lambda: count(1))
    _calling: int = 0
    _over: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _relay: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Keep calling until told to stop."""
        async with asyncio.TaskGroup() as tasks:
            for agent in range(AGENTS):
                tasks.create_task(self._call_on_and_on(agent))

    def stop(self) -> None:
        """Begin nothing more."""
        self._over = True
        self._relay.set()

    def go_on(self) -> None:
        """Call: there is a relay."""
        self._relay.set()

    def pause(self) -> None:
        """Begin no more calls for now."""
        self._relay.clear()

    async def rest(self) -> None:
        """Begin no more calls, and wait until all that were begun are over."""
        self.pause()
        while self._calling:
            self._changed.clear()
            await self._changed.wait()

    async def have_made(self, calls: int) -> None:
        """Wait until so many calls are over."""
        while len(self.ended) < calls:
            self._changed.clear()
            await self._changed.wait()

    async def _call_on_and_on(self, agent: int) -> None:
        connection: Agent | None = None
        while True:
            await self._relay.wait()
            if self._over:
                break
            plan = plan_of(next(self._numbers), agent)
            self.plans[plan.number] = plan
            self._calling += 1
            connection = await self._call(plan, connection)
            self._calling -= 1
            self._changed.set()
        if connection is not None:
            connection.leave()

    async def _call(self, plan: Plan, connection: Agent | None) -> Agent | None:
        """Make one call; return its connection, if it can be used again."""
        try:
            if connection is not None and connection.ending:
                connection.leave()
                connection = None
            if connection is None:
                connection = await self._connect()
            with self.api.awaited(plan.number) as came:
                await connection.send(self._request(plan))
                if plan.fate == "left early":
                    await self._leave_early(plan, connection, came)
                elif plan.fate == "left":
                    await self._leave(plan, connection)
                elif await self._take(plan, connection):
                    return connection
        except (Ended, OSError):
            self.unserved += 1
            await asyncio.sleep(RETRY_SECONDS)
        if connection is not None:
            connection.leave()
        return None

    async def _connect(self) -> Agent:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Agent, "127.0.0.1", self.port)
        return connection

    async def _leave_early(self, plan: Plan, connection: Agent, came: asyncio.Event) -> None:
        gone = asyncio.create_task(connection.gone())
        arrived = asyncio.create_task(came.wait())
        await asyncio.wait({gone, arrived}, return_when=asyncio.FIRST_COMPLETED)
        for task in (gone, arrived):
            task.cancel()
        self._leave_behind(plan, connection)

    async def _leave(self, plan: Plan, connection: Agent) -> None:
        answer = await connection.head()
        if answer.status == 200:
            await connection.piece(answer)
        self._leave_behind(plan, connection)

    def _leave_behind(self, plan: Plan, connection: Agent) -> None:
        if connection.ending:
            raise Ended
        (connection.reset if plan.number % 2 else connection.leave)()
        self._note(plan)

    async def _take(self, plan: Plan, connection: Agent) -> bool:
        """Take an answer; return whether its connection can be used again."""
        answer = await connection.answer()
        if self._is_right(plan, answer):
            self._note(plan)
        elif answer.complete and answer.status != 503:  # which a relay that drains answers
            self.findings.append(f"call {plan.number} ({plan.fate}) got {answer.status}")
        else:
            self.unserved += 1
        return answer.complete

    @staticmethod
    def _is_right(plan: Plan, answer: Answer) -> bool:
        if plan.fate == "refused":
            return answer.status in (429, 500, 529)
        return answer.status == 200 and answer.complete != (plan.fate == "cut")

    def _note(self, plan: Plan) -> None:
        self.ended[plan.number] = time.monotonic()
        self._changed.set()

    def _request(self, plan: Plan) -> bytes:
        lines = [f"x-claude-code-session-id: {plan.session}"]
        if plan.agent_id is not None:
            lines.append(f"x-claude-code-agent-id: {plan.agent_id}")
        body = json.dumps({"n": plan.number, "prompt": "x" * (plan.number % 400)}).encode()
        target = CHAT if plan.by_hop else MESSAGES
        return request(target, *lines, body=body, token=self.tokens[plan.client])
