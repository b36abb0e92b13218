"""One call as it is measured: filled in while it runs, observed once when it is over."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from relay.errors import ClientError, RelayError

UNKNOWN: Final = "none"
"""The label of a relay, client or code that is not known."""


@dataclass(slots=True)
class Exchange:
    """What is known of a call. Times are seconds on the monotonic clock."""

    method: str = ""
    path: str = ""
    """Without the query; empty where the target was refused."""
    relay: str = UNKNOWN
    client: str = UNKNOWN
    operation: str = "other"
    status: int | None = None
    """What the agent was told."""
    code: int | None = None
    """What the upstream said, if anything."""
    outcome: str = "client_abort"
    """Until something else is known, the agent has left."""
    rejection: str | None = None
    in_flight: bool = False
    """Whether it is counted as running."""
    started: float = field(default_factory=time.perf_counter)
    first_byte: float | None = None
    """When the response's head came."""
    finished: float | None = None
    request_bytes: int = 0
    response_bytes: int = 0

    def answered(self, status: int) -> None:
        """Note the response's head."""
        self.first_byte = time.perf_counter()
        self.status = self.code = status

    def succeeded(self) -> None:
        """Note that the answer was passed on to its end."""
        refused = self.code is not None and self.code >= 400
        self.outcome = "upstream_error" if refused else "ok"

    def failed(self, error: RelayError) -> None:
        """Note what ended the call."""
        if self.code is not None and isinstance(error, ClientError):
            self.outcome = "client_abort"  # refused too late to count as such
            return
        self.outcome = error.outcome
        self.rejection = error.rejection
        if self.code is None:
            self.code = error.upstream_status
            self.status = error.status

    def finish(self) -> None:
        """Stop the clock."""
        self.finished = time.perf_counter()

    @property
    def duration(self) -> float:
        """Seconds from the request's head to the end of the call, or until now."""
        return (self.finished or time.perf_counter()) - self.started

    @property
    def time_to_first_byte(self) -> float | None:
        """Seconds from the request's head to the response's, or None."""
        return None if self.first_byte is None else self.first_byte - self.started
