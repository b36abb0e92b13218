"""What becomes of each call, by its number: both ends know it, and so can check every token."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal

AGENTS: Final = 40
CLIENTS: Final = ("ann", "bob", "cid", "dan")
MODELS: Final = ("claude-opus-4-8", "claude-sonnet-4-6", "claude-haiku-4-5")
GPT: Final = "gpt-5.2"
SUBAGENTS: Final = (None, "reviewer", "tester")

Shape = Literal["message", "message stream", "chat", "chat stream"]
Fate = Literal[
    "answered",
    "refused",  # by the API: an error, and no usage
    "failed",  # an error within its stream
    "cut",  # the API breaks its answer off
    "left",  # by its agent, behind the first text
    "left early",  # before the head
    "retried",  # by the hop, after an error that the agent does not see
    "doubled",  # the hop asks twice, and both are answered
]
DIRECT: Final[dict[Fate, int]] = {
    "answered": 70,
    "refused": 10,
    "failed": 5,
    "cut": 5,
    "left": 6,
    "left early": 4,
}
BY_HOP: Final[dict[Fate, int]] = {"answered": 60, "retried": 25, "doubled": 15}
HOP_SHARE: Final = 0.1
Tokens = Counter[str]
"""By type, as the ledger's columns are called."""


@dataclass(frozen=True)
class Plan:
    """One call."""

    number: int
    agent: int
    shape: Shape
    fate: Fate
    model: str

    @property
    def by_hop(self) -> bool:
        """Whether it goes by way of an LLM proxy."""
        return self.model == GPT

    @property
    def streams(self) -> bool:
        """Whether its answer is an event stream."""
        return self.shape.endswith("stream")

    @property
    def client(self) -> str:
        """Whose it is."""
        return CLIENTS[self.agent % len(CLIENTS)]

    @property
    def session(self) -> str:
        """Its agent's."""
        return f"session-{self.agent:02}"

    @property
    def agent_id(self) -> str | None:
        """Which of the agent's own agents it is of; None of the main one."""
        name = SUBAGENTS[self.number % len(SUBAGENTS)]
        return None if name is None else f"{name}-{self.agent}"

    def usage(self, attempt: int) -> Tokens:
        """Return what an attempt that is answered whole uses."""
        chance = random.Random(f"usage {self.number} {attempt}")  # the same in both ends
        used = Counter(input=chance.randrange(1, 3000), output=chance.randrange(2, 1500))
        used["cache_read"] = chance.choice((0, chance.randrange(1, 90_000)))
        if not self.by_hop:
            used["cache_write_5m"] = chance.choice((0, chance.randrange(1, 5000)))
            used["cache_write_1h"] = chance.choice((0, 0, chance.randrange(1, 5000)))
            used["cache_write_unknown"] = chance.choice((0, 0, chance.randrange(1, 500)))
        return used

    def begun(self, attempt: int) -> Tokens:
        """Return what the beginning of a message's stream states of that."""
        used = self.usage(attempt)
        return used - Counter(output=used["output"] - 1)


def plan_of(number: int, agent: int) -> Plan:
    """Return the plan of a call: the same, whenever it is asked for."""
    chance = random.Random(f"plan {number}")  # the same in each run
    if chance.random() < HOP_SHARE:
        shape: Shape = chance.choice(("chat", "chat stream"))
        return Plan(number, agent, shape, _pick(chance, BY_HOP), GPT)
    fate = _pick(chance, DIRECT)
    shape = "message stream"
    if fate in ("answered", "refused", "left early"):
        shape = chance.choice(("message", "message stream"))
    return Plan(number, agent, shape, fate, chance.choice(MODELS))


def _pick(chance: random.Random, weights: dict[Fate, int]) -> Fate:
    (fate,) = chance.choices(list(weights), list(weights.values()))
    return fate
