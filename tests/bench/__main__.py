"""The relay beside its peers: ``python -m tests.bench``.

Calls without a peer, through nginx, HAProxy and the relay one would write first, through the
relay as it is, with a ledger and limits, and through a chain of it and a hop, in turns. Exit
status 1 says that a peer gave wrong answers, not that one was slow: a machine that has other
things to do makes anything slow.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.bench import peers
from tests.bench.calls import Calls
from tests.bench.cases import Case, Cases
from tests.bench.checking import check_calls
from tests.bench.field import Cores, Plan, Way, running_peer, running_upstream
from tests.bench.loading import running_load
from tests.bench.machine import disturbance, machine, missing, versions
from tests.bench.peers import Upstreams
from tests.bench.plot import plot
from tests.bench.processes import ROOT
from tests.bench.record import record
from tests.bench.report import table, verdicts
from tests.bench.rounds import Misbehaved, Samples
from tests.bench.targets import Figures, reached

GROUPS: Final = ("json", "streams", "uploads", "memory", "start")
ROUNDS: Final = 6
SECONDS: Final = 2
QUICK_ROUNDS: Final = 3
QUICK_SECONDS: Final = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    options = _parser().parse_args(arguments)
    # A thousand streams are twice as many connections, and the processes to be inherit it.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if packages := missing():
        sys.stderr.write(
            f"The bench needs Debian's {', '.join(packages)} (or the same programs on\n"
        )
        sys.stderr.write(
            "PATH; no service has to run):\n  apt-get install --no-install-recommends "
        )
        sys.stderr.write(" ".join(packages) + "\n")
        return 2
    try:
        measure(options)
    except Misbehaved as problem:
        sys.stderr.write(f"wrong answers: {problem}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="four minutes instead of eleven, and rougher")
    add("--only", type=_among(GROUPS), default=GROUPS, help=",".join(GROUPS))
    add("--peers", type=_among(peers.ALL), default=peers.ALL, help=",".join(peers.ALL))
    add("--rounds", type=int, help=f"of each case with each peer; default {ROUNDS}")
    add("--seconds", type=int, help=f"of a round; default {SECONDS}")
    add("--relay-root", metavar="FOLDER", type=Path, default=ROOT, help="whose relay to run")
    add("--json", metavar="FILE", type=Path, help="write the figures there, too")
    add("--plot", metavar="FILE", type=Path, help="draw the ratios there, too (SVG)")
    return parser


def _among(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return names

    return parse


def measure(options: argparse.Namespace) -> None:
    """Measure what is asked for, and say what there is to say."""
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    about: dict[str, object] = {
        "machine": machine(),
        "versions": versions(options.relay_root),
        "round_seconds": seconds,
    }
    if warning := disturbance():
        _say(warning)
    figures = Figures()
    with field(Plan(Cores.available(), options.relay_root), options.peers, seconds) as (
        ways,
        cases,
    ):
        asked = [case for case in cases if case.group in options.only]
        for case in asked:
            times = max(1, rounds // 2) if case.peers_only else rounds
            figures.samples[case.name] = samples = interleaved(case, ways, times)
            _say(table(case, samples))
    found = reached(figures)
    _say(verdicts(found))
    if options.json:
        options.json.write_text(record(about, asked, figures, found))
    if options.plot:
        options.plot.write_text(plot(found))


@contextlib.contextmanager
def field(plan: Plan, names: Sequence[str], seconds: float) -> Iterator[tuple[list[Way], Cases]]:
    """Start everything; yield the ways that calls can take, and what can be measured on them.

    Raises:
        Misbehaved: A peer does not do its work.
    """
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        load = enter(running_load(plan.cores.others))
        upstreams = Upstreams(enter(running_upstream(plan.cores.others)), load.port)
        calls = Calls(Path(enter(tempfile.TemporaryDirectory())), plan.cores.others)
        ways = [enter(running_peer(name, plan, upstreams)) for name in names]
        for way in ways:
            check_calls(way)
        yield ways, Cases(plan, upstreams, calls, load, seconds)


def interleaved(case: Case, ways: Sequence[Way], rounds: int) -> Samples:
    """Measure a case, a round with each peer after a round with each peer."""
    samples: Samples = {way.name: [] for way in ways if way.pid or not case.peers_only}
    for _ in range(rounds):
        for way in ways:
            if way.name in samples:
                samples[way.name].append(case.measure(way))
    return samples


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
