"""What calls and the admin listener know of the process that they run in; set by ``app``."""

from __future__ import annotations

from relay.proxy.hop import Memory
from relay.proxy.runtime import Runtime
from relay.telemetry.ledger import Ledger


class Lifecycle:
    """The configuration in force, and whether the process is on its way out."""

    def __init__(self, runtime: Runtime, memory: Memory, ledger: Ledger) -> None:
        self.runtime = runtime
        """The configuration in force. A call keeps the one that it began with."""
        self.memory = memory
        """What is known of hops, whatever the configuration."""
        self.ledger = ledger
        """Where calls are noted once they are over; the same under every configuration."""
        self.draining = False
        """Whether the relay is stopping: calls in flight may finish, further ones are refused."""
        self.cutting = False
        """Whether calls in flight are being cut."""
