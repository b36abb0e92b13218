"""The calls in flight and the last hundred, for whoever looks on: nothing secret in them."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from relay.telemetry.access_log import call_fields
from relay.telemetry.call import CallFields, CallRecord

RECENT: Final = 100


class RecentCalls:
    """What `/calls` shows, put into words when somebody asks."""

    def __init__(self) -> None:
        self._in_flight: dict[int, CallRecord] = {}
        self._recent: deque[CallRecord] = deque(maxlen=RECENT)
        self.ended = 0
        """How many calls have ended so far."""

    def begin(self, record: CallRecord) -> None:
        """Note a call of a known relay."""
        self._in_flight[id(record)] = record

    def end(self, record: CallRecord) -> None:
        """Note a call's end. Its meters, which may hold much of a body, are not kept."""
        self._in_flight.pop(id(record), None)
        record.drop_meters()
        self._recent.append(record)
        self.ended += 1

    @property
    def running(self) -> list[CallRecord]:
        """The calls in flight, the oldest first."""
        return list(self._in_flight.values())

    def ended_after(self, count: int) -> list[CallRecord]:
        """Return the calls that ended after so many had."""
        return list(self._recent)[max(0, len(self._recent) - (self.ended - count)) :]

    def describe(self) -> dict[str, object]:
        """Return the calls as plain data."""
        running = [self._running(record) for record in self._in_flight.values()]
        recent = [{**call_fields(each), "finished": round(each.ended, 3)} for each in self._recent]
        return {"time": round(time.time(), 3), "in_flight": running, "recent": recent}

    def _running(self, record: CallRecord) -> CallFields:
        fields = call_fields(record)
        fields["age"] = fields.pop("duration")
        del fields["outcome"]
        return fields
