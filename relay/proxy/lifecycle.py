"""What calls and the admin listener know of the process that they run in; set by ``app``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.proxy.hop import Memory
from relay.proxy.runtime import Runtime
from relay.telemetry.ledger import Ledger

if TYPE_CHECKING:
    from relay.telemetry.traces.exporter import Tracer


class Lifecycle:
    """The configuration in force, and whether the process is on its way out."""

    def __init__(self, runtime: Runtime, memory: Memory, ledger: Ledger) -> None:
        self.runtime = runtime
        """The configuration in force. A call keeps the one that it began with."""
        self.memory = memory
        """What is known of hops, whatever the configuration."""
        self.ledger = ledger
        """Where calls are noted once they are over; the same under every configuration."""
        self.tracer: Tracer | None = None
        """What begins and takes traces, where there are any."""
        self.draining = False
        """Whether the relay is stopping: calls in flight may finish, further ones are refused."""
        self.cutting = False
        """Whether calls in flight are being cut."""
