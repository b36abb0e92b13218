"""Whether an API takes a relay's credential, by what its last answers say.

401 and 403 refuse it, and so does an error for want of payment, whatever its status. An answer
below 500 that is none of these takes it; 500 and above say nothing of it, for they may come from a
proxy in between. What was said of a value that has been replaced since counts no longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from relay.credentials.credential import Credential
from relay.credentials.shape import why_refused
from relay.telemetry.call import CallRecord
from relay.telemetry.usage import Usage

_UNPAID: Final = "billing"
_REFUSING_ERRORS: Final = frozenset({"authentication_error", "permission_error"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """That an API refuses a credential: by which status or error, and since when."""

    cause: str
    since: datetime


class Standing:
    """What the API behind one relay last said of the credential."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential
        self._refusal: Refusal | None = None
        self._version = 0
        """Of the value that was refused."""
        self._answered_at = float("-inf")
        """When the last answer began that was judged."""

    @property
    def refusal(self) -> Refusal | None:
        """The refusal of the value that there is now."""
        self._credential.value()  # a file may have another
        return self._refusal if self._version == self._credential.version else None

    def judge(self, version: int, record: CallRecord) -> None:
        """Take what a call that is over, sent with this version of the value, says of it."""
        answered_at = record.first_byte
        if version != self._credential.version or record.code is None or answered_at is None:
            return
        # An answer that began earlier, and took longer, is not the last.
        if answered_at < self._answered_at:
            return
        self._answered_at = answered_at
        cause = _cause(record.code, record.usage)
        if cause is None:
            if record.code < 500:
                self._refusal = None
        elif self.refusal is None or self.refusal.cause != cause:
            self._refusal = Refusal(cause, datetime.now(UTC))
            self._version = version

    def explain(self) -> str:
        """Return what refuses the credential, since when, and the remedy; or nothing."""
        refusal = self.refusal
        if refusal is None:
            return ""
        since = f"{refusal.since:%Y-%m-%d %H:%M:%S} UTC"
        text = f"the API refuses the credential {self._credential.name} ({refusal.cause})"
        return f"{text} since {since}; {self._remedy(refusal.cause)}"

    @property
    def recovery(self) -> str:
        """What to say once it is not refused any more."""
        name = self._credential.name
        if self._refusal is None:
            return f"the API takes the credential {name} again"
        return f"the credential {name}, which the API refused, has another value now"

    def _remedy(self, cause: str) -> str:
        grant = self._credential.name
        if reason := why_refused(self._credential.reading, grant):
            return f"it {reason}"
        if cause == _UNPAID:
            return "see to the account's balance or limits where the API is paid for"
        if cause == "403":
            return "it may not do what was asked, or something in between refuses"
        return f"put another where this one is from: {self._credential.origin()}"


def _cause(code: int, usage: Usage | None) -> str | None:
    """Return what refuses the credential in an answer, or None where nothing does."""
    if code == 402 or (usage is not None and usage.unpaid):
        return _UNPAID
    if code in (401, 403):
        return str(code)
    # An error within a stream, or of a proxy that has put its own status in front of it.
    if usage is not None and usage.error_type in _REFUSING_ERRORS:
        return usage.error_type
    return None
