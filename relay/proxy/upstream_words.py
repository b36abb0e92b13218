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
from relay.telemetry.call import CallRecord

QUIET_SECONDS: Final = 60.0
"""How often, at most, a relay's upstream is quoted: agents retry all the while."""
_GATEWAY_STATUSES: Final = (502, 504)
_SHOWN: Final = 200

log = logging.getLogger("relay")


class UpstreamWords:
    """What one relay's upstream says of its own upstream."""

    def __init__(self, relay: str, secrets: Callable[[], Iterable[bytes]]) -> None:
        self._relay = relay
        self._secrets = secrets
        self._quiet_until = float("-inf")

    def hear(self, record: CallRecord, further: Iterable[bytes] = ()) -> None:
        """Log what a call that is over was told, if it was that, and not a moment ago.

        ``further`` are secrets of this call's own.
        """
        if record.code not in _GATEWAY_STATUSES:
            return
        message = record.usage.error_message if record.usage is not None else ""
        now = time.monotonic()
        if not message or now < self._quiet_until:
            return
        self._quiet_until = now + QUIET_SECONDS
        log.warning(
            "relay %s: its upstream answers %d: %s; see to its way to the API, and to its log",
            self._relay,
            record.code,
            shown(message, [*self._secrets(), *further]),
        )


def shown(message: str, secrets: Iterable[bytes]) -> str:
    """Return another's message as the log may have it: no secret, one line, and not much of it."""
    for secret in secrets:
        message = message.replace(secret.decode("ascii"), "[redacted]")
    message = without_keys(message)
    cut = "..." if len(message) > _SHOWN else ""
    return ascii(message[:_SHOWN] + cut)
