"""The long fuzz: ``python -m tests.wire.fuzz --cases 1000000 [--seed N]``.

One process, one core. Prints progress, and each finding with the command that plays it again
(``--replay GENOME``). A finding counts once it has happened twice. Exit status 1 if there is any.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvloop

from tests.wire.arena import SLOTS, Arena, running_arena
from tests.wire.genes import GENOME_SIZE

PROGRESS_SECONDS: Final = 10.0
SHRINKING_SECONDS: Final = 15.0


class Fuzz:
    """A run: how many cases there were, and what was found."""

    def __init__(self, arena: Arena, enough: int) -> None:
        self._arena = arena
        self._enough = enough
        self._begun = time.perf_counter()
        self.cases = 0
        self.findings: list[tuple[bytes, str]] = []
        self.unconfirmed: list[tuple[bytes, str]] = []

    async def batch(self, genomes: Sequence[bytes]) -> None:
        """Play some genomes at once; what goes wrong is played again alone."""
        for genome, wrong in await self._arena.play(genomes):
            if self.found_enough:
                break
            again = await self._arena.play([genome])
            found = (await smaller(self._arena, genome), wrong) if again else (genome, wrong)
            (self.findings if again else self.unconfirmed).append(found)
            self._report("finding" if again else "not seen again", *found)
        self.cases += len(genomes)

    @property
    def found_enough(self) -> bool:
        """Whether there is no need to look further."""
        return len(self.findings) >= self._enough

    def _report(self, what: str, genome: bytes, wrong: str) -> None:
        _say(f"{what}: {wrong[:2000]}\n  python -m tests.wire.fuzz --replay {genome.hex()}")

    def progress(self) -> None:
        """Print how far it is."""
        seconds = time.perf_counter() - self._begun
        _say(
            f"{self.cases} cases, {len(self.findings)} findings, {len(self.unconfirmed)} not seen "
            f"again, {seconds:.0f} s, {self.cases / seconds:.0f} cases/s"
        )

    def summary(self) -> None:
        """Print what became of the cases."""
        self.progress()
        for name, count in sorted(self._arena.outcomes.items(), key=lambda item: -item[1])[:40]:
            _say(f"{count:9d}  {name}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def smaller(arena: Arena, genome: bytes) -> bytes:
    """Return a shorter, plainer genome that still goes wrong."""
    end = time.perf_counter() + SHRINKING_SECONDS
    for index in reversed(range(len(genome))):
        if time.perf_counter() > end:
            break
        for candidate in (genome[:index], genome[:index] + b"\0" + genome[index + 1 :]):
            if (
                len(candidate) <= len(genome)
                and candidate != genome
                and await arena.play([candidate])
            ):
                genome = candidate
                break
    return genome


async def run(cases: int, seed: int, enough: int, folder: Path) -> Fuzz:
    """Play so many random cases, or until there are findings enough."""
    generator = random.Random(seed)  # cases, not keys
    async with running_arena(folder) as arena:
        fuzz, shown = Fuzz(arena, enough), time.perf_counter()
        while fuzz.cases < cases and not fuzz.found_enough:
            await fuzz.batch([generator.randbytes(GENOME_SIZE) for _ in range(SLOTS)])
            if time.perf_counter() - shown > PROGRESS_SECONDS:
                fuzz.progress()
                shown = time.perf_counter()
        fuzz.summary()
        return fuzz


async def replay(genome: bytes, folder: Path) -> bool:
    """Play one genome, and show it; return whether it went wrong."""
    async with running_arena(folder) as arena:
        case = arena.case(genome)
        _say(f"sent: {case.sent!r}\nanswered: {case.answer!r}")
        findings = await arena.play([genome])
        _say(findings[0][1] if findings else "as it should be")
        return bool(findings)


def main() -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.wire.fuzz")
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--findings", type=int, default=10, help="stop after so many")
    parser.add_argument("--replay", type=bytes.fromhex)
    given = parser.parse_args()
    logging.getLogger("relay").propagate = False
    with (
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        if given.replay is not None:
            return int(runner.run(replay(given.replay, Path(folder))))
        _say(f"seed {given.seed}")
        fuzz = runner.run(run(given.cases, given.seed, given.findings, Path(folder)))
        return int(bool(fuzz.findings))


if __name__ == "__main__":
    sys.exit(main())
