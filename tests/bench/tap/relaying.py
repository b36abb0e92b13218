"""The relay as the product runs it, with one relay whose calls have no meter.

Both relays are in the same process: what is compared differs in nothing but the tap. Calls of
the relay named UNTAPPED lose their meter as soon as their answers begin, so that the loop
around each piece runs without it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import uvloop

from relay.app import App
from relay.config import load
from relay.http.message import ResponseHead
from relay.telemetry import access_log
from relay.telemetry.call import CallRecord

TAPPED: Final = "tapped"
UNTAPPED: Final = "untapped"


def take_meters_away() -> None:
    """Have the calls of one relay go without a meter."""
    answered = CallRecord.answered

    def answered_unmetered(self: CallRecord, head: ResponseHead) -> None:
        answered(self, head)
        if self.relay == UNTAPPED:
            self.meter = None

    CallRecord.answered = answered_unmetered  # type: ignore[method-assign]  # that is the idea


async def serve(configuration: Path) -> None:
    """Serve until SIGTERM."""
    await App(load(configuration)).run()


if __name__ == "__main__":
    access_log.set_up("json")
    take_meters_away()
    uvloop.run(serve(Path(sys.argv[1])))
