"""The relay beside its peers: ``python -m tests.bench``.

Calls without a peer, through nginx, HAProxy and the relay one would write first, and through
the relay with everything on, in turns. Exit status 1 says that a peer gave wrong answers, not
that one was slow: a machine that has other things to do makes anything slow.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.bench import peers
from tests.bench.calls import calls
from tests.bench.checking import check_calls
from tests.bench.field import Cores, Plan, running_peer, running_upstream
from tests.bench.peers import Upstreams
from tests.bench.processes import ROOT
from tests.bench.report import table
from tests.bench.rounds import Misbehaved, interleaved


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
    parser.add_argument("--only", default="json", help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default %(default)s")
    parser.add_argument("--seconds", type=float, default=3, help="default %(default)s")
    parser.add_argument(
        "--relay-root", metavar="FOLDER", type=Path, default=ROOT, help="whose relay to run"
    )
    return parser


def measure(options: argparse.Namespace) -> None:
    """Measure what is asked for."""
    names = options.peers.split(",")
    plan = Plan(names, Cores.available(), options.relay_root)
    with contextlib.ExitStack() as stack:
        upstreams = Upstreams(stack.enter_context(running_upstream(plan.cores.others)), 9)
        ways = [stack.enter_context(running_peer(name, plan, upstreams)) for name in names]
        for way in ways:
            check_calls(way)
        for connections in (1, 32):
            case = stack.enter_context(calls(connections, options.seconds, plan.cores.others))
            samples = interleaved(case, ways, options.rounds, lambda _: None)
            title = f"JSON calls on {connections} connection{'s' * (connections > 1)}"
            sys.stdout.write(table(title, "calls/s", samples) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
