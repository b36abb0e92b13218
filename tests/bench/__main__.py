"""The relay beside its peers: ``python -m tests.bench``.

Calls without a peer, through nginx, HAProxy and the relay one would write first, and through
the relay with everything on, in turns. Exit status 1 says that a peer gave wrong answers, not
that one was slow: a machine that has other things to do makes anything slow.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.bench import peers
from tests.bench.calls import Calls
from tests.bench.cases import Case, Cases
from tests.bench.checking import check_calls
from tests.bench.field import Cores, Plan, Way, running_peer, running_upstream
from tests.bench.loading import running_load
from tests.bench.peers import Upstreams
from tests.bench.processes import ROOT
from tests.bench.report import table
from tests.bench.rounds import Misbehaved, Samples

GROUPS: Final = ("json", "streams", "uploads", "memory", "start")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        measure(options)
    except Misbehaved as problem:
        sys.stderr.write(f"wrong answers: {problem}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--peers", default=",".join(peers.ALL), help="default %(default)s")
    parser.add_argument("--only", default=",".join(GROUPS), help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default %(default)s")
    parser.add_argument("--seconds", type=float, default=3, help="default %(default)s")
    parser.add_argument(
        "--relay-root", metavar="FOLDER", type=Path, default=ROOT, help="whose relay to run"
    )
    return parser


def measure(options: argparse.Namespace) -> None:
    """Measure what is asked for."""
    names = options.peers.split(",")
    groups = options.only.split(",")
    plan = Plan(Cores.available(), options.relay_root)
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        load = enter(running_load(plan.cores.others))
        upstreams = Upstreams(enter(running_upstream(plan.cores.others)), load.port)
        calls = Calls(Path(enter(tempfile.TemporaryDirectory())), plan.cores.others)
        ways = [enter(running_peer(name, plan, upstreams)) for name in names]
        for way in ways:
            check_calls(way)
        for case in Cases(plan, upstreams, calls, load, options.seconds):
            if case.group in groups:
                samples = interleaved(case, ways, options.rounds)
                sys.stdout.write(table(case, samples) + "\n\n")
                sys.stdout.flush()


def interleaved(case: Case, ways: Sequence[Way], rounds: int) -> Samples:
    """Measure a case, a round with each peer after a round with each peer."""
    samples: Samples = {way.name: [] for way in ways if way.pid or not case.peers_only}
    for _ in range(rounds):
        for way in ways:
            if way.name in samples:
                samples[way.name].append(case.measure(way))
    return samples


if __name__ == "__main__":
    sys.exit(main())
