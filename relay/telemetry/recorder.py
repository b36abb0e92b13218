"""What is done once calls are over: their answers' usage is read, they are counted and logged.

All of it a moment later and for many calls at once: spread between the turns of the event
loop it would cost a call twice as much. Whoever asks for figures meanwhile, or logs something
else, has it done first. What calls have cost is counted earlier where a limit is looked at: that
alone, for the rest of it is cheaper in a row.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from relay.telemetry.access_log import announce_messages, log_calls, take_dropped
from relay.telemetry.call import CallRecord
from relay.telemetry.metrics import Metrics
from relay.telemetry.recent_calls import RecentCalls

# Who watches does not notice; and of a relay that is killed, no more than this is lost.
DELAY_SECONDS: Final = 0.01
# For a loop that has no time for its timers, or is closed: whatever comes next does it.
_LATEST_SECONDS: Final = 0.04
# Calls: no event of another one waits for long.
_MOST_CALLS: Final = 32
# Bytes. The meter of an answer may hold as much of it.
_LARGE_ANSWER: Final = 64 * 1024

log = logging.getLogger("relay")

T = TypeVar("T")


class Recorder:
    """Takes calls from their beginning to their place in metrics, history and log."""

    def __init__(
        self,
        metrics: Metrics,
        history: RecentCalls,
        count: Callable[[CallRecord], None] = lambda _: None,
        observers: Sequence[Callable[[CallRecord], None]] = (),
    ) -> None:
        """Begin; ``count`` takes what a call has cost, and observers whatever they like."""
        self._metrics = metrics
        self._history = history
        self._count_stages = (CallRecord.finish, count)
        self._stages = (history.end, metrics.observe, _tell, *observers)
        """What is done with each call that is over and counted, in this order."""
        self._over: list[CallRecord] = []
        self._counted = 0
        """How many of those are counted."""
        announce_messages(self.flush)

    def begin(self, record: CallRecord) -> None:
        """Note a call of a known relay."""
        self._metrics.begin(record)
        self._history.begin(record)

    def end(self, record: CallRecord) -> None:
        """Note that a call is over; nothing of it changes any more."""
        record.stop()
        over = self._over
        over.append(record)
        late = (record.finished or 0.0) - (over[0].finished or 0.0) > _LATEST_SECONDS
        if late or len(over) >= _MOST_CALLS or record.response_bytes > _LARGE_ANSWER:
            self.flush()
        elif len(over) == 1:
            self._flush_soon()

    def _flush_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
        else:
            loop.call_later(DELAY_SECONDS, self.flush)

    def count(self) -> None:
        """Have counted what the calls have cost that are over."""
        if self._counted == len(self._over):
            return
        calls = self._over[self._counted :]
        self._counted = len(self._over)
        for stage in self._count_stages:
            _do(stage, calls)

    def flush(self) -> None:
        """Observe the calls that wait for it, and what became of the lines of others."""
        if dropped := take_dropped():
            self._metrics.log_lines_dropped(dropped)
        self.count()
        calls, self._over, self._counted = self._over, [], 0
        if not calls:
            return
        # One stage after the other: one call after the other, this took a third longer.
        for stage in self._stages:
            _do(stage, calls)
        _do(log_calls, [calls])


def _do(work: Callable[[T], None], every: Iterable[T]) -> None:
    """Have a fault end neither the work on other calls, nor the call that happens to ask."""
    left = iter(every)
    while True:
        try:
            for each in left:
                work(each)
        except Exception:
            log.exception("a fault of the relay")
        else:
            return


def _tell(record: CallRecord) -> None:
    """Tell who wants to know what the API's answers said of themselves."""
    for each in record.attempts:
        if each.on_finish is not None:
            each.on_finish(each)
