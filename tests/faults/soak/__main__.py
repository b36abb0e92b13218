"""``python -m tests.faults.soak``: exit status 1 where something was lost without a reason."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.faults.soak.run import Soak


def say(line: str) -> None:
    """Print a line now."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def soak(minutes: float) -> int:
    """Run, say what came of it, and return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = await Soak(minutes * 60, Path(folder), say).run()
    for line in ledger.lines():
        say(line)
    return 1 if ledger.findings else 0


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak")
    parser.add_argument("--minutes", type=float, default=15.0)
    options = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # resets of connections are the point
    return uvloop.run(soak(options.minutes))


if __name__ == "__main__":
    sys.exit(main())
