"""What the page shows, as plain data: relays, calls, use, and what is wrong.

It is put together at most every 0.4 s, for all open pages together: eight of them cost hardly more
than one.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import orjson

from relay import __version__
from relay.admin.limits import limit_rows
from relay.admin.outcomes import troubleshooting
from relay.admin.rows import JsonObject, ended_row, running_row
from relay.admin.source import Source
from relay.admin.use import PageUse, Version
from relay.proxy.problems import Subject, problems_of
from relay.proxy.readiness import states_of
from relay.telemetry.call import CallRecord
from relay.telemetry.metrics import RelayState
from relay.telemetry.timeline import Leg, legs, percentile

SHOWN_IN_FLIGHT: Final = 100
"""The oldest; how many there are beside them is said."""
# Pages ask once a second, at different instants: they share what is younger than this.
_MOMENT_SECONDS: Final = 0.4

Legs = dict[str, JsonObject]
"""Figures of a leg, by the name of the hop or API that it goes to."""


class Overview:
    """Puts together what the page is told."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._use = PageUse(source)
        self._now: dict[str, object] = {}
        self._made_at = float("-inf")
        self._legs: dict[str, Legs] = {}
        self._legs_at = -1

    async def prepare(self) -> None:
        """Wait for the first reading of the ledger, for 0.3 s at most."""
        await self._use.wait()

    def event(self, seen: int, use_seen: Version | None) -> tuple[bytes, int, Version]:
        """Return the event for a reader that has seen ``seen`` calls end, and this version of use.

        With it, the two values to pass next time.
        """
        self._source.recorder.flush()
        self._use.look()
        calls, use = self._source.recent_calls, self._use.version
        ended = [ended_row(each) for each in calls.ended_after(seen)]
        told = self._current() | {"time": time.time(), "ended": ended}
        if use != use_seen:
            told["use"] = self._use.report()
        return as_json(told), calls.ended, use

    def _current(self) -> dict[str, object]:
        now = asyncio.get_running_loop().time()
        if now - self._made_at > _MOMENT_SECONDS:
            self._now, self._made_at = self._put_together(), now
        return self._now

    def _put_together(self) -> dict[str, object]:
        lifecycle, calls = self._source.lifecycle, self._source.recent_calls
        if calls.ended != self._legs_at:
            self._legs, self._legs_at = legs_by_relay(calls.ended_after(0)), calls.ended
        running = calls.running
        return {
            "version": __version__,
            "draining": lifecycle.draining,
            "relays": [self._relay(state) for state in states_of(lifecycle.runtime)],
            "in_flight": [running_row(record) for record in running[:SHOWN_IN_FLIGHT]],
            "in_flight_count": len(running),
            "ended_count": calls.ended,
            "limits": self._limits(),
            "wrong": [_wrong(each) for each in problems_of(lifecycle.runtime, lifecycle.ledger)],
        }

    def _limits(self) -> list[JsonObject]:
        """Return a row for each limit; empty where none is configured."""
        runtime = self._source.lifecycle.runtime
        if not runtime.settings.has_limits:
            return []
        return limit_rows(self._source.lifecycle.ledger.spending, runtime.accounts())

    def _relay(self, state: RelayState) -> JsonObject:
        limits, quotas = self._source.metrics.current_limits(state.relay)
        found = self._legs.get(state.relay, {})
        return {
            "name": state.relay,
            "upstream": state.upstream,
            "state": state.upstream_state,
            "grant": state.grant,
            "ready": state.ready,
            "refused": state.refused,
            "expires_at": state.expires_at,
            "connections": {"idle": state.idle_connections, "active": state.active_connections},
            "legs": found,
            "hops": _hops(state),
            "limits": [{"name": limit.name, **limit.stated()} for limit in limits],
            "quotas": [{"name": quota.name, **quota.stated()} for quota in quotas],
        }


def _hops(state: RelayState) -> list[JsonObject]:
    return [
        {"name": hop.name, "up": hop.up, "url": hop.url, "bypassed": hop.bypassed}
        for hop in state.hops
    ]


def _wrong(subject: Subject) -> JsonObject:
    help_at = troubleshooting(subject.entry)
    return {"what": subject.name, "text": subject.problem, "help": help_at}


def legs_by_relay(records: Iterable[CallRecord]) -> dict[str, Legs]:
    """Return how long each leg of each relay took, over these calls."""
    found: defaultdict[str, defaultdict[str, list[Leg]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        for leg in legs(record):
            found[record.relay][leg.to].append(leg)
    return {
        relay: {to: _leg_figures(each) for to, each in by_end.items()}
        for relay, by_end in found.items()
    }


def _leg_figures(found: Sequence[Leg]) -> JsonObject:
    seconds = [leg.seconds for leg in found]
    added = [leg.added for leg in found if leg.added is not None]
    figures: JsonObject = {"p50": percentile(seconds, 0.5), "p95": percentile(seconds, 0.95)}
    if added:
        figures |= {"added_p50": percentile(added, 0.5), "added_p95": percentile(added, 0.95)}
    return figures


def as_json(data: object) -> bytes:
    """Return JSON; a lone surrogate, which JSON can spell and UTF-8 cannot, stays an escape."""
    try:
        return orjson.dumps(data)
    except orjson.JSONEncodeError:
        return json.dumps(data).encode()
