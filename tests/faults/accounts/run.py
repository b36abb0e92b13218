"""One run: a relay that lives several times, all of it on one ledger, and the books after each."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.faults.accounts.agents import Agents
from tests.faults.accounts.api import HOP, Api, RetryingHop
from tests.faults.accounts.books import Books
from tests.faults.accounts.plans import CLIENTS, Plan
from tests.harness import FUSE_SECONDS
from tests.harness.configuration import Config, both_relays, configuration
from tests.harness.ledger import rows_in
from tests.harness.ports import free_ports
from tests.harness.relay import RelayProcess, relay_process, update_configuration

KILL_SECONDS: Final = 1.0
"""What a kill may lose of calls that were over."""
LIMITS: Final = ({"tokens": 10**12, "per": "month"}, {"usd": 10**6, "per": "session"})
_CLOCK: Final = Path(__file__).parents[1] / "jumping_clock"
# The middle of a month, so that what is counted by the month is in one.
_BEGINS: Final = datetime(2026, 11, 15, 12, tzinfo=UTC).timestamp()

_POLL_SECONDS: Final = 0.05
_COUNTED: Final = ("input", "cache_write_5m", "cache_write_1h", "cache_write_unknown", "output")

Used = dict[tuple[str, str | None], float]
"""Tokens of a client in the month, and dollars of each session that is shown."""
Say = Callable[[str], object]


@dataclass(frozen=True)
class Life:
    """How long a relay lives, in calls, and how it ends."""

    calls: int
    end: signal.Signals = signal.SIGTERM
    reloads: int = 3


@dataclass
class Run:
    """A run of so many lives."""

    lives: Sequence[Life]
    folder: Path
    say: Say = lambda _: None
    plans: dict[int, Plan] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    async def run(self) -> Books:
        """Run it, and return the books."""
        self._api = Api(self.plans)
        self._port, self._returns = free_ports(2)
        self._hop = RetryingHop(self.plans, self._returns)
        self._environment = {
            "PYTHONPATH": str(_CLOCK),
            "CLOCK_OFFSET": str(_BEGINS - time.time()),
            "TZ": "UTC",
        }
        await self._api.listener.start()
        await self._hop.listener.start()
        tokens = {name: f"relay-{name}-Zk3Nw8Qx5Tb1Lm7Vc4" for name in CLIENTS}
        for name, token in tokens.items():
            (self.folder / name).write_text(token)
        ledger = self.folder / "ledger.db"
        books = Books(ledger, self.plans, self._api.stated, self.findings)
        self._agents = Agents(self._port, self._api, self.plans, tokens, findings=self.findings)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._agents.run())
                for life in self.lives:
                    books.compare(await self._live(life))
                    self._show(life, books)
                self._agents.stop()
        finally:
            await self._hop.listener.stop()
            await self._api.listener.stop()
        return books

    async def _live(self, life: Life) -> set[int]:
        """Have a relay run; return the calls whose rows its end may have cost."""
        agents, before = self._agents, len(self._agents.ended)
        async with relay_process(self.folder, self._config(), self._environment) as relay:
            agents.go_on()
            for number in range(1, life.reloads + 1):
                await agents.have_made(before + life.calls * number // (life.reloads + 1))
                update_configuration(relay, self._config(idle=300 + number))
                relay.signal(signal.SIGHUP)
            await self._compare_memory(relay)
            await agents.have_made(before + life.calls)
            relay.signal(life.end)
            ended = time.monotonic()
            await relay.exit_status()
            agents.pause()
        if life.end != signal.SIGKILL:
            return set()
        last = ended - KILL_SECONDS
        return {number for number in self.plans if agents.ended.get(number, ended) > last}

    def _config(self, **timeouts: float) -> Config:
        config = configuration(
            self._api.listener.port,
            **both_relays(self._api.listener.port),
            listen=[f"127.0.0.1:{self._port}"],
            returns=[f"127.0.0.1:{self._returns}"],
            clients=[
                {"name": name, "token": {"file": name}, "limits": list(LIMITS)} for name in CLIENTS
            ],
            ledger={"path": "ledger.db"},
            timeouts=timeouts,
        )
        config["relays"]["openai"]["hops"] = [
            {"name": HOP, "url": f"http://127.0.0.1:{self._hop.listener.port}"}
        ]
        return config

    async def _compare_memory(self, relay: RelayProcess) -> None:
        """Find where limits look at other sums than the ledger's: while nobody calls."""
        await self._agents.rest()
        async with asyncio.timeout(FUSE_SECONDS):
            while await relay.in_flight():  # noqa: ASYNC110  # the relay tells of no end
                await asyncio.sleep(_POLL_SECONDS)
        end = time.monotonic() + FUSE_SECONDS
        while (known := await self._in_memory(relay)) != (noted := self._in_file(known)):
            if time.monotonic() > end:
                self.findings.append(f"limits look at {known}, and the ledger has {noted}")
                break
            await asyncio.sleep(_POLL_SECONDS)
        self._agents.go_on()

    @staticmethod
    async def _in_memory(relay: RelayProcess) -> Used:
        page = json.loads((await relay.page("/calls")).body)
        return {
            (each["client"], each.get("session")): round(each["used"], 6) for each in page["limits"]
        }

    def _in_file(self, wanted: Iterable[tuple[str, str | None]]) -> Used:
        used: Counter[tuple[str, str | None]] = Counter()
        for row in rows_in(self.folder / "ledger.db"):
            counted = sum(row[kind] or 0 for kind in _COUNTED) + row["estimate_tokens"]
            used[row["client"], None] += counted
            used[row["client"], row["session_id"]] += (row["cost"] or 0) + row["estimate"]
        dollars = {key: count if key[1] is None else count / 1e6 for key, count in used.items()}
        return {key: round(dollars.get(key, 0), 6) for key in wanted}

    def _show(self, life: Life, books: Books) -> None:
        agents, api = self._agents, self._api
        self.say(
            f"{len(agents.ended):6} calls over, {api.attempts} attempts at the API, "
            f"{agents.unserved} not served, ended by {life.end.name}; "
            f"{books.tokens} tokens in the ledger and by the API's account, "
            f"{len(books.missing)} calls missing by kills, {len(self.findings)} findings"
        )
