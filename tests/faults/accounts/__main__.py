"""``python -m tests.faults.accounts``: exit status 1 where the ledger says anything else."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.faults.accounts.books import SHOWN
from tests.faults.accounts.run import Life, Run


def say(line: str) -> None:
    """Print a line now."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def compare(calls: int) -> int:
    """Run, say what came of it, and return the exit status."""
    share = calls // 5
    ends = (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)
    lives = [*(Life(share, end, reloads=10) for end in ends), Life(calls // 50)]
    with tempfile.TemporaryDirectory() as folder:
        books = await Run(lives, Path(folder), say).run()
    for finding in books.findings[:SHOWN]:
        say(f"FINDING: {finding}")
    return 1 if books.findings else 0


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.accounts")
    parser.add_argument("--calls", type=int, default=10_000)
    options = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # resets of connections are the point
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(compare(options.calls))


if __name__ == "__main__":
    sys.exit(main())
