"""What the relay is meant to reach beside nginx, and whether it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Final

from tests.bench import cases
from tests.bench.peers import AIOHTTP, ALL, CHAIN, DIRECT, LIMITED, NGINX, RELAY
from tests.bench.rounds import Samples, added_ratio, middle, ratio

AGAINST_NGINX: Final = "× nginx"
AGAINST_RELAY: Final = "× relay"


# What a chain is compared with. A hop by itself is taken for what nginx adds, which is a hop here.
_OF_CHAINS: Final = (CHAIN, RELAY, NGINX, DIRECT)
Formula = Callable[[float, float, float, float], float]
"""Takes a figure of chain, relay, nginx, and the direct way."""


class Figures:
    """All samples of a run, by case."""

    def __init__(self) -> None:
        self.samples: dict[str, Samples] = {}

    def has(self, case: str, *peers: str) -> bool:
        """Return whether a case was measured with these peers."""
        return case in self.samples and set(peers) <= set(self.samples[case])

    def middle(self, case: str, figure: str, peer: str) -> float | None:
        """Return a median."""
        return middle(self.samples[case][peer], figure) if self.has(case, peer) else None

    def ratio(self, case: str, figure: str, peer: str, other: str) -> float | None:
        """Return the ratio of one peer's figure to another's."""
        if not self.has(case, peer, other):
            return None
        return ratio(self.samples[case][peer], self.samples[case][other], figure)

    def added(self, case: str, figure: str, peer: str) -> float | None:
        """Return the ratio to nginx of what a peer adds to a figure."""
        if not self.has(case, peer, NGINX, DIRECT):
            return None
        found = self.samples[case]
        return added_ratio(found[peer], found[NGINX], found[DIRECT], figure)

    def chained(self, case: str, figure: str, formula: Formula) -> float | None:
        """Return the median of what a formula makes of a figure, round by round."""
        if not self.has(case, *_OF_CHAINS):
            return None
        found = self.samples[case]
        rounds = zip(*(found[peer] for peer in _OF_CHAINS), strict=True)
        return median(formula(*(sample[figure] for sample in each)) for each in rounds)


Of = Callable[[Figures, str], float | None]
"""What a peer reached, if that was measured."""


@dataclass(frozen=True, slots=True)
class Target:
    """A figure of every peer's, and what it should be for one of them."""

    limit: float | None
    """None where there is only something to see."""
    text: str
    of: Of
    unit: str
    more_is_better: bool
    peer: str = RELAY
    """Who is to reach it: the relay, or one with a hop, or with a ledger and limits."""

    @property
    def wanted(self) -> str:
        """The limit, for people."""
        if self.limit is None:
            return "-"
        return f"{'≥' if self.more_is_better else '≤'} {self.limit:g}"

    def verdict(self, figure: float) -> str:
        """Return whether that peer's figure is within the limit, for people."""
        if self.limit is None:
            return "-"
        met = figure >= self.limit if self.more_is_better else figure <= self.limit
        return "met" if met else "NOT met"


def _at_least(limit: float | None, text: str, of: Of, unit: str = AGAINST_NGINX) -> Target:
    return Target(limit, text, of, unit, more_is_better=True)


def _at_most(limit: float, text: str, of: Of, unit: str = AGAINST_NGINX) -> Target:
    return Target(limit, text, of, unit, more_is_better=False)


def _ratio(case: str, figure: str, other: str = NGINX) -> Of:
    return lambda figures, peer: figures.ratio(case, figure, peer, other)


def _middle(case: str, figure: str) -> Of:
    return lambda figures, peer: figures.middle(case, figure, peer)


def _against_aiohttp(figures: Figures, peer: str) -> float | None:
    if peer != RELAY:
        return None
    return figures.ratio(cases.CALLS_32, cases.PER_SECOND, peer, AIOHTTP)


def _added(figures: Figures, peer: str) -> float | None:
    return figures.added(cases.CALLS_1, cases.P50, peer)


def _of_peer(
    peer: str, limit: float, text: str, of: Callable[[Figures], float | None], unit: str
) -> Target:
    def reach(figures: Figures, who: str) -> float | None:
        return of(figures) if who == peer else None

    return Target(limit, text, reach, unit, more_is_better=False, peer=peer)


_of_chain: Final = partial(_of_peer, CHAIN)
_of_limited: Final = partial(_of_peer, LIMITED)


def _latency_of_hop(figures: Figures) -> float | None:
    return figures.chained(
        cases.CALLS_1,
        cases.P50,
        lambda chain, relay, nginx, direct: (chain - relay - (nginx - direct)) / (relay - direct),
    )


def _cpu_of_hop(figures: Figures) -> float | None:
    """The hop is a process of its own: none of this is its."""
    return figures.chained(
        cases.CALLS_32, cases.CPU, lambda chain, relay, *_: (chain - relay) / relay
    )


def _chained_events(figures: Figures) -> float | None:
    return figures.chained(
        cases.PACED,
        cases.P50,
        lambda chain, relay, nginx, direct: (chain - (nginx - direct)) / relay,
    )


def _chained_memory(figures: Figures) -> float | None:
    return figures.middle(cases.CROWD, cases.HELD, CHAIN)


def _limited_cpu(figures: Figures) -> float | None:
    return figures.ratio(cases.CALLS_32, cases.CPU, LIMITED, RELAY)


def _limited_memory(figures: Figures) -> float | None:
    return figures.middle(cases.MEMORY, cases.IDLE, LIMITED)


# mem_limit in compose.yaml.
_COMPOSE_MIB: Final = 512
# A body that is held would take its 61 MiB; the slack of an allocator takes some.
_FLAT_MIB: Final = 8
TARGETS: Final = (
    _at_least(0.45, "JSON calls/s, 32 connections", _ratio(cases.CALLS_32, cases.PER_SECOND)),
    _at_least(2, "JSON calls/s, 32 connections", _against_aiohttp, "× aiohttp"),
    _at_most(2, "latency added, 1 connection", _added),
    _at_most(1.4, "event p50, 100 streams", _ratio(cases.PACED, cases.P50)),
    _at_most(1.8, "event p99, 100 streams", _ratio(cases.PACED, cases.P99)),
    _at_least(0.8, "events/s, unpaced", _ratio(cases.UNPACED, cases.PER_SECOND)),
    _at_least(None, "events/s, bursts of 32", _ratio(cases.BURSTS, cases.PER_SECOND)),
    _at_least(0.9, "MB/s, uploads of 2 MB", _ratio(cases.UPLOADS_2, cases.PER_SECOND)),
    _at_least(0.9, "MB/s, uploads of 64 MB", _ratio(cases.UPLOADS_64, cases.PER_SECOND)),
    _at_most(_FLAT_MIB, "memory that 64 MB take", _middle(cases.UPLOADS_64, cases.GROWN), "MiB"),
    _at_most(60, "memory, idle", _middle(cases.MEMORY, cases.IDLE), "MiB"),
    _at_most(16, "memory of an open stream", _middle(cases.MEMORY, cases.STREAM), "KiB"),
    _at_most(500, "start", _middle(cases.STARTING, cases.START), "ms"),
    _of_chain(2, "latency that a hop adds, 1 connection", _latency_of_hop, AGAINST_RELAY),
    _of_chain(2, "CPU that a hop adds, 32 connections", _cpu_of_hop, AGAINST_RELAY),
    _of_chain(1.5, "event p50 in a chain, 100 streams", _chained_events, AGAINST_RELAY),
    _of_chain(
        _COMPOSE_MIB, f"memory, {cases.CROWD_STREAMS} chained streams", _chained_memory, "MiB"
    ),
    _of_limited(1.05, "CPU with ledger and limits", _limited_cpu, AGAINST_RELAY),
    _of_limited(70, "memory with ledger and limits, idle", _limited_memory, "MiB"),
)


@dataclass(frozen=True, slots=True)
class Reached:
    """What the peers reached of a target."""

    target: Target
    figures: dict[str, float]
    """By peer; some things only one can reach."""

    @property
    def verdict(self) -> str:
        """Whether the one met it whose it is, for people."""
        peer = self.target.peer
        return self.target.verdict(self.figures[peer]) if peer in self.figures else "-"


def reached(figures: Figures) -> list[Reached]:
    """Return what was reached, where the relay or another peer was measured for it."""
    found = []
    for target in TARGETS:
        values = {peer: target.of(figures, peer) for peer in ALL if peer != DIRECT}
        known = {peer: value for peer, value in values.items() if value is not None}
        found += [Reached(target, known)] if known else []
    return found
