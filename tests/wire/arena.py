"""Many agents at once, each with a relay's name and an upstream of its own, in one event loop.

A case is drawn from a genome, played on its slot, and judged when both sides are quiet. The
connections to a slot's upstream are kept from case to case: what one leaves on them the next
one would find.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.harness.configuration import Config
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.secrets import KEY, OAUTH, OPENAI_KEY, SECRETS
from tests.wire.agent import RawAgent, connect
from tests.wire.drafts import ANSWERS, INTERIM, REQUESTS
from tests.wire.genes import Genes
from tests.wire.judging import Outcome, judge_requests, plan_requests
from tests.wire.judging_answers import judge_answer, leaves_surplus, plan_answer
from tests.wire.mutations import cut_up, mutated
from tests.wire.reference import Kind
from tests.wire.strict import Request
from tests.wire.upstream import RawUpstream, Script, Then

SLOTS: Final = 32
_KINDS: Final = 4
_ENDINGS: Final[tuple[Then, ...]] = ("keep", "end", "reset")
FUSE_SECONDS: Final = 5.0
QUIET_SECONDS: Final = 2.0
"""A call whose agent has gone ends within one; an idle connection is kept for four."""
_ANTHROPIC: Final = (b"/v1/messages", b"/v1/models", b"/v1/files", b"/v1/complete")
_OPENAI: Final = (b"/v1/chat/completions", b"/v1/responses", b"/v1/models", b"/v1/embeddings", b"/v1/files")  # fmt: skip
_KEY: Final = (b"x-api-key", KEY.encode())


def _kind(index: int) -> Kind:
    name = b"slot-%02d-kzq" % index
    return (
        Kind(name, _ANTHROPIC, _KEY),
        Kind(name, _ANTHROPIC, (b"authorization", b"Bearer " + OAUTH.encode()), betas=(b"oauth-2025-04-20",)),
        Kind(name, _OPENAI, (b"authorization", b"Bearer " + OPENAI_KEY.encode()), version=False),
        Kind(name, _ANTHROPIC, _KEY, prefix=b"/up/stream", max_body=16),
    )[index % _KINDS]  # fmt: skip


_GRANTS: Final = ("anthropic", "claude", "openai", "anthropic")


def _relay(kind: Kind, grant: str, port: int) -> Config:
    url = f"http://127.0.0.1:{port}{kind.prefix.decode()}"
    return {"url": url, "grant": grant, "max_body": kind.max_body}


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent on a slot, or what its upstream answers there."""

    sent: tuple[bytes, ...]
    answer: Script | None = None


class Slot(RawUpstream):
    """One relay's upstream; its answers are numbered, so that none is taken for another."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind
        self.count = 0
        self.fixed: Script | None = None
        self.must_drop = False
        """Whether the relay has to end the connection that the case came on."""

    @property
    def pending(self) -> bool:
        """Whether a request is still on its way, or a connection has still to end."""
        kept = self.must_drop and any(each.position and not each.lost for each in self.connections)
        return kept or super().pending

    def script_for(self, request: Request) -> Script:
        """Return the fixed script, or a plain answer with a number."""
        if self.fixed is not None:
            return self.fixed
        self.count += 1
        body = b"%d" % self.count
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
        return Script(pieces=(head if request.method == b"HEAD" else head + body,))


def kind_of(genome: bytes) -> int:
    """Return which kind of relay a genome is for: its first byte says."""
    return Genes(genome).below(_KINDS)


def draw(genome: bytes, kind: Kind) -> Case:
    """Return the case that a genome stands for."""
    genes = Genes(genome[1:])
    if genes.below(4) == 3:
        return _draw_answer(genes, kind)
    data = mutated(genes.pick(REQUESTS), genes)
    following = genes.below(8)
    if following in (1, 2, 3):
        data += mutated(genes.pick(REQUESTS), genes)
    elif following == 4:
        data += mutated(genes.pick(REQUESTS), genes) + mutated(REQUESTS[0], genes)
    elif following == 5:
        cut = genes.below(len(data) + 1)
        data = data[:cut] + mutated(genes.pick(REQUESTS), genes) + data[cut:]
    return Case(cut_up(_placed(data, kind, genes), genes))


def _placed(data: bytes, kind: Kind, genes: Genes) -> bytes:
    return data.replace(b"NAME", kind.name).replace(b"PATH", genes.pick(kind.allow))


def _draw_answer(genes: Genes, kind: Kind) -> Case:
    asking = (REQUESTS[0], REQUESTS[2], REQUESTS[3], REQUESTS[5])[genes.below(4)]
    data = genes.pick(INTERIM) if genes.below(4) == 3 else b""
    data += mutated(genes.pick(ANSWERS), genes)
    if genes.below(8) == 7:
        data += mutated(genes.pick(ANSWERS), genes)
    sent = _placed(mutated(asking, Genes(b"")), kind, genes)
    then = genes.pick(_ENDINGS)
    return Case((sent,), plan_answer(cut_up(data, genes), then, sent))


class Arena:
    """The relay, its slots, and the log of what they have done."""

    def __init__(self, relay: LocalRelay, slots: Sequence[Slot]) -> None:
        self._relay = relay
        self._slots = slots
        self.outcomes: dict[str, int] = {}

    def case(self, genome: bytes) -> Case:
        """Return the case that a genome stands for."""
        return draw(genome, self.kind(kind_of(genome)))

    def kind(self, index: int) -> Kind:
        """Return the relay that single genomes of a kind are played on."""
        return self._slots[index].kind

    async def play(self, genomes: Sequence[bytes]) -> list[tuple[bytes, str]]:
        """Play genomes, each on a slot of its kind; return those that went wrong, and how."""
        turns: list[list[bytes]] = [[] for _ in self._slots]
        counts = [0] * _KINDS
        for genome in genomes:
            kind = kind_of(genome)
            turns[kind + _KINDS * (counts[kind] % (SLOTS // _KINDS))].append(genome)
            counts[kind] += 1
        pairs = zip(turns, self._slots, strict=True)
        found = await asyncio.gather(
            *(self._take_turns(turn, slot) for turn, slot in pairs if turn)
        )
        wrong = [finding for findings in found for finding in findings]
        log, self._relay.log.text = "\n".join(self._relay.log.text), []
        if any(secret in log for secret in SECRETS) or "Traceback" in log or "a fault of" in log:
            wrong += [(genome, self._suspect(log)) for genome in genomes if len(genomes) == 1]
            wrong = wrong or await self._one_by_one(genomes)
        return wrong

    def _suspect(self, log: str) -> str:
        """Return what is wrong with a log; what an agent puts into its path is its own."""
        lines = [line for line in log.splitlines() if '"path":' not in line]
        shown = any(secret in line for line in lines for secret in SECRETS)
        fault = "Traceback" in log or "a fault of" in log
        return f"in the log: {log}" if shown or fault else ""

    async def _one_by_one(self, genomes: Sequence[bytes]) -> list[tuple[bytes, str]]:
        if len(genomes) == 1:
            return []
        return [
            finding for genome in genomes for finding in await self.play([genome]) if finding[1]
        ]

    async def _take_turns(self, genomes: Sequence[bytes], slot: Slot) -> list[tuple[bytes, str]]:
        verdicts = [(genome, await self._play(genome, slot)) for genome in genomes]
        return [verdict for verdict in verdicts if verdict[1]]

    async def _play(self, genome: bytes, slot: Slot) -> str:
        """Play a case on a slot; return what went wrong, or nothing."""
        case = draw(genome, slot.kind)
        slot.forget()
        slot.fixed = case.answer
        slot.must_drop = case.answer is not None and leaves_surplus(case.answer, case.sent[0])
        agent = await connect(self._relay.port)
        try:
            async with asyncio.timeout(FUSE_SECONDS):
                outcome = await self._converse(case, slot, agent)
        except TimeoutError:
            outcome = Outcome("silence", f"nothing more happened after {bytes(agent.received)!r}")
        except Exception as error:  # noqa: BLE001  # whatever the judge cannot read is a finding
            outcome = Outcome("unreadable", f"{error!r} in {bytes(agent.received)!r}")
        finally:
            agent.transport.abort()
        self.outcomes[outcome.name] = self.outcomes.get(outcome.name, 0) + 1
        return outcome.wrong

    async def _converse(self, case: Case, slot: Slot, agent: RawAgent) -> Outcome:
        data = b"".join(case.sent)
        plan = plan_requests(data, slot.kind)
        await agent.send_apart(*case.sent)
        await agent.until(lambda: plan.is_over(agent, answered=case.answer is not None))
        if not agent.ending:
            agent.transport.write_eof()
            await agent.gone()
        await _quiet(slot)
        if case.answer is not None:
            return judge_answer(case.answer, data, agent, slot)
        return judge_requests(plan, agent, slot, slot.kind)


async def _quiet(slot: Slot) -> None:
    """Wait until nothing is on its way to a slot's upstream any more."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    changed = asyncio.Event()
    slot.on_change = changed.set
    async with asyncio.timeout(QUIET_SECONDS):
        while slot.pending:
            changed.clear()
            await changed.wait()


@asynccontextmanager
async def running_arena(folder: Path) -> AsyncIterator[Arena]:
    """Run a relay and its slots for the length of the context."""
    slots = [Slot(_kind(index)) for index in range(SLOTS)]
    for slot in slots:
        await slot.start()
    relays = {
        slot.kind.name.decode(): _relay(slot.kind, _GRANTS[index % _KINDS], slot.port)
        for index, slot in enumerate(slots)
    }
    sources = {"anthropic": "key", "claude": "oauth", "openai": "openai_key"}
    config: Config = {
        "grants": [{"name": name, "source": {"file": file}} for name, file in sources.items()],
        "relays": relays,
        "listen": ["127.0.0.1:0"],
        "admin": "127.0.0.1:0",
        "clients": [
            {"name": "agent", "token": {"file": "token"}},
            {"name": "other", "token": {"file": "other_token"}},
        ],
    }
    try:
        async with running_relay(folder, config) as relay:
            yield Arena(relay, slots)
            text = (await relay.page("/metrics")).body.decode()
            assert not any(secret in text for secret in SECRETS)
    finally:
        for slot in slots:
            await slot.stop()
