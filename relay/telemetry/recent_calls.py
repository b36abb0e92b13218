"""The calls in flight and the last hundred, for whoever looks on: nothing secret in them."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from relay.telemetry.access_log import call_fields
from relay.telemetry.call import CallFields, Exchange

RECENT: Final = 100


class History:
    """What `/calls` shows, put into words when somebody asks."""

    def __init__(self) -> None:
        self._in_flight: dict[int, Exchange] = {}
        self._recent: deque[tuple[Exchange, float]] = deque(maxlen=RECENT)

    def begin(self, exchange: Exchange) -> None:
        """Note a call of a known relay."""
        self._in_flight[id(exchange)] = exchange

    def end(self, exchange: Exchange) -> None:
        """Note a call's end. Its meter, which may hold much of a body, is not kept."""
        self._in_flight.pop(id(exchange), None)
        exchange.meter = None
        self._recent.append((exchange, time.time() - exchange.age))

    def describe(self) -> dict[str, object]:
        """Return the calls as plain data."""
        running = [self._running(exchange) for exchange in self._in_flight.values()]
        recent = [
            {**call_fields(exchange), "finished": round(finished, 3)}
            for exchange, finished in self._recent
        ]
        return {"time": round(time.time(), 3), "in_flight": running, "recent": recent}

    def _running(self, exchange: Exchange) -> CallFields:
        fields = call_fields(exchange)
        fields["age"] = fields.pop("duration")
        del fields["outcome"]
        return fields
