"""Whatever listens where Headroom does by default is no part of a test, and is not asked.

As a program it is the relay's own, for tests that run it: `python -m tests.harness.no_headroom`.
"""

from __future__ import annotations

import sys

from relay.cli import main
from relay.commands.client import Answer, BlockingClient, NoAnswer
from relay.commands.init.detect import HEADROOM

_ask = BlockingClient.ask


def ask(client: BlockingClient, url: str, *, seconds: float) -> Answer:
    """Ask, in place of a client's own method; nobody is at Headroom's address."""
    if url.startswith(HEADROOM):
        raise NoAnswer(url, "refused")
    return _ask(client, url, seconds=seconds)


if __name__ == "__main__":
    BlockingClient.ask = ask  # type: ignore[method-assign,assignment]  # all that is asked so
    sys.exit(main())
