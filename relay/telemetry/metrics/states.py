"""What a scrape asks of relays at its moment: of each, and of the hops on its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from relay.errors import Api

Reach = Literal["unknown", "up", "down"]


@dataclass(frozen=True, slots=True)
class HopState:
    """How one hop of a relay stands; ``up`` is None where nobody knows yet."""

    name: str
    up: bool | None
    url: str
    bypassed: bool = False
    """Whether it went past the relay, and no call has come back from it since."""

    @property
    def reach(self) -> Reach:
        """``up``, in a word."""
        return reach_of(self.up)


@dataclass(frozen=True, slots=True)
class RelayState:
    """How one relay stands; ``up`` is None where nobody knows yet."""

    relay: str
    grant: str
    ready: bool
    up: bool | None
    upstream: str
    idle_connections: int
    active_connections: int
    api: Api = "anthropic"
    refused: bool = False
    """Whether the API refuses the credential."""
    expires_at: float | None = None
    """When the credential ends or has ended, in Unix seconds, where it says so."""
    hops: tuple[HopState, ...] = ()
    """The LLM proxies on the way to the upstream, in order."""

    @property
    def upstream_state(self) -> Reach:
        """``up``, in a word."""
        return reach_of(self.up)


def reach_of(up: bool | None) -> Reach:  # noqa: FBT001  # it is the state itself
    """Return whether something can be reached, in a word."""
    return "unknown" if up is None else "up" if up else "down"
