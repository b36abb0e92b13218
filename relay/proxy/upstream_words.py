"""Why an upstream that answers cannot reach what is behind it, in its own words, into the log.

An LLM proxy that has no way to the API answers 502 or 504, and the agent alone reads why. The
words are another's: known secrets and what looks like one are taken out, the rest is escaped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from relay.config.problems import without_keys
from relay.proxy.hop_words import OR_A_HOP, QUIET_SECONDS
from relay.telemetry.call import CallRecord

GATEWAY_STATUSES: Final = (502, 504)
"""By which an LLM proxy says that it has not reached what is behind it."""
_SHOWN: Final = 200
_ADVICE: Final = "see to its way to the API, and to its log"

log = logging.getLogger("relay")


class UpstreamWords:
    """What one relay's upstream says of its own upstream."""

    def __init__(
        self, relay: str, secrets: Callable[[], Iterable[bytes]], *, may_be_hop: bool = False
    ) -> None:
        self._relay = relay
        self._secrets = secrets
        self._advice = f"{_ADVICE}; {OR_A_HOP}" if may_be_hop else _ADVICE
        self._quiet_until = float("-inf")
        self.problem = ""
        """What it says and what to do, until a call is answered by something else."""

    def hear(self, record: CallRecord, further: Iterable[bytes] = ()) -> None:
        """Log what a call that is over was told, if it was that, and not a moment ago.

        ``further`` are secrets of this call's own.
        """
        if record.code not in GATEWAY_STATUSES:
            if record.code is not None:
                self.problem = ""
            return
        message = record.usage.error_message if record.usage is not None else ""
        now = time.monotonic()
        if not message or now < self._quiet_until:
            return
        self._quiet_until = now + QUIET_SECONDS
        words = shown(message, [*self._secrets(), *further])
        self.problem = f"its upstream answers {record.code}: {words}; {self._advice}"
        log.warning("relay %s: %s", self._relay, self.problem)


def shown(message: str, secrets: Iterable[bytes]) -> str:
    """Return another's message as the log may have it: no secret, one line, and not much of it."""
    # The longest first: one may be a part of another.
    for secret in sorted(secrets, key=len, reverse=True):
        message = message.replace(secret.decode("ascii"), "[redacted]")
    message = without_keys(message)
    cut = "..." if len(message) > _SHOWN else ""
    return ascii(message[:_SHOWN] + cut)
