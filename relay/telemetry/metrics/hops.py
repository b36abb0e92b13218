"""The metrics of LLM proxies on the way: what became of calls at each, and what each adds to them.

They are there for relays that have hops; of others, no child is made. A gauge is of the hops
that there are now, and counters stay, as those of relays do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from relay.errors import Api
from relay.telemetry.call import CallRecord
from relay.telemetry.histogram import OVERHEAD_BOUNDS
from relay.telemetry.hops import HOP_OUTCOMES, HopRecord
from relay.telemetry.metrics.families import Families, make_cells
from relay.telemetry.metrics.states import RelayState
from relay.telemetry.operations import OPERATIONS_BY_API

# A hop that compresses reads all of a prompt: seconds, where the relay takes microseconds.
HOP_OVERHEAD_BUCKETS: Final = (*OVERHEAD_BOUNDS, 2.5, 5.0, 10.0, 30.0)
PHASES: Final = ("request", "response")
SIDES: Final = ("in", "out")


class HopMetrics:
    """What is measured of hops."""

    def __init__(self, families: Families) -> None:
        counter = families.counter
        self.calls = counter(
            "relay_hop_calls_total",
            "Calls that reached a hop, by what became of them there.",
            *("relay", "hop", "outcome"),
        )
        self.legs = counter(
            "relay_hop_legs_total",
            "Requests that came back from a hop: one for each call, and what it asks on its own.",
            *("relay", "hop", "operation"),
        )
        self.overhead = families.histogram(
            "relay_hop_overhead_seconds",
            "A hop's own share: of a request until it comes back, and of the answer's beginning.",
            HOP_OVERHEAD_BUCKETS,
            *("relay", "hop", "phase"),
        )
        self.request_bytes = counter(
            "relay_hop_request_bytes_total",
            "Bytes of request bodies, sent to a hop and come back from it.",
            *("relay", "hop", "side"),
        )
        self.up = families.gauge(
            "relay_hop_up",
            "Whether the hop could be reached (1) or not (0) when last tried.",
            *("relay", "hop"),
        )

    def make_children(self, relay: str, api: Api, hops: Sequence[str]) -> None:
        """Make the children of a relay's hops, so that rate() sees a first failure."""
        make_cells(self.calls, [relay], hops, HOP_OUTCOMES)
        make_cells(self.legs, [relay], hops, OPERATIONS_BY_API[api])
        make_cells(self.overhead, [relay], hops, PHASES)
        make_cells(self.request_bytes, [relay], hops, SIDES)

    def observe(self, record: CallRecord) -> None:
        """Take what a call did at the hops on its way, once it is over."""
        if record.chain is not None:
            for hop in record.chain.hops:
                self._observe_hop(record.relay, hop)

    def _observe_hop(self, relay: str, hop: HopRecord) -> None:
        if hop.outcome is not None:
            self.calls[relay, hop.name, hop.outcome].value += 1
        for operation, count in hop.legs.items():
            self.legs[relay, hop.name, operation].value += count
        for phase, seconds in zip(
            PHASES, (hop.request_overhead, hop.response_overhead), strict=True
        ):
            if seconds is not None:
                self.overhead[relay, hop.name, phase].observe(seconds)
        self.request_bytes[relay, hop.name, "in"].value += hop.bytes_in
        self.request_bytes[relay, hop.name, "out"].value += hop.bytes_out or 0

    def show(self, states: Iterable[RelayState]) -> None:
        """Set the gauge of the hops that there are now, and forget those of others."""
        self.up.clear()
        for state in states:
            for hop in state.hops:
                if hop.up is not None:
                    self.up[state.relay, hop.name].value = hop.up
