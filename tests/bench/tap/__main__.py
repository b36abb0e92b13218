"""What the usage tap costs: ``python -m tests.bench.tap [--json FILE]``.

Streams of the Messages API run through a relay whose calls are metered, and through one whose
calls are not, in turns. The one and the other are in one process (``relaying``); the events come
from a second process (``streaming``) and go to a third (``reading``). Events per second by the
clock are what users have of it; the relay's CPU time per event says the same of a busy relay,
and neighbours on the machine disturb it least. The tap's cost is the share of events per second
that is lost to it: 1 - without / with, by CPU time, in pairs of rounds that follow each other;
the median of those. Exit status 1 says that in one of the variants it is over the limit: a share of
what an event costs otherwise, or, where that is next to nothing, a time of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.tap.processes import NAMES, OTHER_EVENTS, Bench, Measured, running_bench
from tests.bench.tap.reading import Round
from tests.bench.tap.relaying import TAPPED, UNTAPPED

COST_LIMIT: Final = 0.15
"""Of the events per second that the relay passes on without the tap."""
COST_MICROSECONDS: Final = 0.2
"""Of CPU time an event; as a share it is over the limit only beyond 800,000 events a second."""
ROUNDS: Final = 15
# Of the relay's CPU time. Rounds are short, so that a pair sees the machine in one state, and
# long enough for streams of a thousand events, whose beginnings and ends hardly count.
ROUND_SECONDS: Final = 0.6
STREAMS: Final = 32
# Of a core. Whoever is this busy is what the others wait for.
BUSY: Final = 0.85
_FIRST_DELTAS: Final = 200
# An answer of 128,000 tokens has about as many; most have some hundreds.
MOST_DELTAS: Final = 32_000


@dataclass(frozen=True, slots=True)
class Variant:
    """A way in which events come."""

    name: str
    per_write: int
    awaited: bool
    coding: str = ""

    def round(self, relay: str, deltas: int) -> Round:
        """Return a round of it."""
        return Round(relay, STREAMS, deltas, self.per_write, self.awaited, self.coding)


PLAIN: Final = (
    Variant("one by one", 1, awaited=True),
    Variant("32 at a time", 32, awaited=True),
    Variant("piling up", 32, awaited=False),
)
CODED: Final = (
    Variant("one by one, gzip", 1, awaited=True, coding="gzip"),
    Variant("32 at a time, gzip", 32, awaited=True, coding="gzip"),
)


@dataclass(frozen=True, slots=True)
class Summary:
    """The rounds of a variant, with the tap or without."""

    events_per_second: float
    """The median."""
    relay_microseconds: float
    """CPU time of the relay for each event: the median."""
    least_relay_microseconds: float
    events_per_piece: float
    """In how few pieces the relay read them; uvloop takes up to 256 KiB at once."""
    bytes_per_event: float
    """As the reader got them, with their framing."""
    cores: dict[str, float]
    """How much of a core each process was busy with."""

    @property
    def bound_by(self) -> str:
        """Who the others waited for; nobody, where all were idle at times."""
        busiest = max(NAMES, key=self.cores.__getitem__)
        return busiest if self.cores[busiest] >= BUSY else "nobody"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A variant with the tap and without."""

    variant: Variant
    deltas: int
    """How many there were in a stream."""
    tapped: Summary
    untapped: Summary
    cost: float
    """The share of events per second that the tap takes from a busy relay, by CPU time."""
    cost_by_clock: float
    """The same by the clock, as neighbours on the machine let it be."""

    @property
    def cost_by_least(self) -> float:
        """The same by the least CPU times."""
        return 1 - self.untapped.least_relay_microseconds / self.tapped.least_relay_microseconds

    @property
    def microseconds(self) -> float:
        """What the tap takes for an event, in CPU time."""
        return self.tapped.relay_microseconds - self.untapped.relay_microseconds

    @property
    def within_limits(self) -> bool:
        """Whether it is cheap, as a share or in itself."""
        return self.cost <= COST_LIMIT or self.microseconds <= COST_MICROSECONDS

    def as_json(self) -> dict[str, object]:
        """Return all of it."""
        return {
            **asdict(self),
            "bound_by": self.untapped.bound_by,
            "cost_by_least": self.cost_by_least,
            "microseconds": self.microseconds,
            "within_limits": self.within_limits,
        }


def compare(bench: Bench, variant: Variant, rounds: int) -> Comparison:
    """Run the rounds of a variant; each begins with the one that the last ended with."""
    deltas = _calibrate(bench, variant)
    measured: dict[str, list[Measured]] = {TAPPED: [], UNTAPPED: []}
    order = [TAPPED, UNTAPPED]
    for _ in range(rounds):
        for relay in order:
            measured[relay].append(bench.measure(variant.round(relay, deltas)))
        order.reverse()
    pairs = list(zip(measured[TAPPED], measured[UNTAPPED], strict=True))
    return Comparison(
        variant,
        deltas,
        summarise(measured[TAPPED]),
        summarise(measured[UNTAPPED]),
        cost=median(1 - off.cpu["relay"] / on.cpu["relay"] for on, off in pairs),
        cost_by_clock=median(1 - off.seconds / on.seconds for on, off in pairs),
    )


def _calibrate(bench: Bench, variant: Variant) -> int:
    """Warm up, and return how many deltas to a stream make a round of the right length."""
    for relay in (UNTAPPED, TAPPED):
        bench.measure(variant.round(relay, _FIRST_DELTAS))
    tried = bench.measure(variant.round(TAPPED, _FIRST_DELTAS))
    rate = tried.events / tried.cpu["relay"]
    return min(MOST_DELTAS, max(_FIRST_DELTAS, int(rate * ROUND_SECONDS / STREAMS)))


def summarise(rounds: Sequence[Measured]) -> Summary:
    """Return what rounds have in common."""
    microseconds = [one.cpu["relay"] / one.events * 1e6 for one in rounds]
    return Summary(
        bytes_per_event=median(one.size / one.events for one in rounds),
        events_per_second=median(one.events / one.seconds for one in rounds),
        relay_microseconds=median(microseconds),
        least_relay_microseconds=min(microseconds),
        events_per_piece=median(one.events / one.pieces for one in rounds),
        cores={name: median(one.cpu[name] / one.seconds for one in rounds) for name in NAMES},
    )


def table(comparisons: Sequence[Comparison]) -> str:
    """Return the figures for people."""
    lines = [
        f"{'':25} {'events/s':>9} {'relay, µs of CPU/event':>22} {'events':>7}  busy, of a core:",
        f"{'events come':20} {'tap':4} {'median':>9} {'median':>13} {'least':>8} {'/piece':>7}  "
        + " ".join(f"{name:>8}" for name in NAMES),
    ]
    for one in comparisons:
        lines += [_row(one.variant.name, "off", one.untapped), _row("", "on", one.tapped)]
        lines.append(
            f"{'':20} costs {one.cost:.1%} of events per second by CPU time "
            f"({one.cost_by_least:.1%} by the least, {one.cost_by_clock:.1%} by the clock), "
            f"{one.microseconds:.2f} µs an event; "
            f"{one.deltas} deltas a stream; bound by: {one.untapped.bound_by}"
        )
    if any(one.untapped.bound_by != "relay" for one in comparisons):
        lines.append(
            f"Where it was not the relay that the others waited for (load average "
            f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs), only CPU times tell."
        )
    return "\n".join(lines)


def _row(name: str, tap: str, summary: Summary) -> str:
    return (
        f"{name:20} {tap:4} {summary.events_per_second:9,.0f} {summary.relay_microseconds:13.2f} "
        f"{summary.least_relay_microseconds:8.2f} {summary.events_per_piece:7.1f}  "
        + " ".join(f"{summary.cores[key]:8.2f}" for key in NAMES)
    )


def report(comparisons: Sequence[Comparison], rounds: int) -> dict[str, object]:
    """Return the figures for machines, with what they were measured on."""
    return {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "streams": STREAMS,
        "rounds": rounds,
        "events_beside_deltas": OTHER_EVENTS,
        "limit": COST_LIMIT,
        "limit_microseconds": COST_MICROSECONDS,
        "variants": [one.as_json() for one in comparisons],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tap", description=__doc__)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there, too")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each; default %(default)s")
    parser.add_argument("--gzip", action="store_true", help="measure coded streams, too")
    options = parser.parse_args(arguments)
    variants = PLAIN + (CODED if options.gzip else ())
    with running_bench() as bench:
        comparisons = [compare(bench, variant, options.rounds) for variant in variants]
    sys.stdout.write(table(comparisons) + "\n")
    if options.json:
        text = json.dumps(report(comparisons, options.rounds), indent=2) + "\n"
        options.json.write_text(text, encoding="utf-8")
    over = [one.variant.name for one in comparisons if not one.within_limits]
    sys.stdout.write(
        f"An event costs {'over' if over else 'within'} {COST_LIMIT:.0%} or "
        f"{COST_MICROSECONDS} µs more with the tap: {', '.join(over) or 'in all variants'}.\n"
    )
    return int(bool(over))


if __name__ == "__main__":
    sys.exit(main())
