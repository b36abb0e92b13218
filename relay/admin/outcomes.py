"""How a call ended, in words, and where the docs say what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from relay import DOCS
from relay.telemetry.call import CallFields


class Entry(NamedTuple):
    """What is said of a call, and the heading in ``docs/troubleshooting.md`` that helps."""

    words: str
    anchor: str = ""
    """Empty where there is nothing to do."""


OUTCOMES: Final[Mapping[str, Entry]] = {
    "ok": Entry("answered"),
    "client_abort": Entry("the agent left"),
    "rejected": Entry("refused by the relay", "the-relays-own-answers"),
    "no_credential": Entry("no credential yet", "no-credential-yet"),
    "connect_error": Entry("the upstream was not reached", "upstream-not-reached"),
    "upstream_error": Entry("an error from upstream", "answers-of-headrooms-and-of-the-api"),
    "timeout": Entry("the upstream was too slow", "upstream-too-slow"),
    "truncated": Entry("the answer broke off", "an-answer-breaks-off"),
    "stream_error": Entry("an error within the stream", "an-error-within-a-stream"),
    "internal_error": Entry("cut by the relay", "a-fault-of-the-relay"),
    "hop_bypass": Entry("a hop did not come back", "a-hop-does-not-come-back"),
}
REASONS: Final[Mapping[str, Entry]] = {
    "framing": Entry("malformed request", "malformed-request"),
    "host": Entry("foreign host", "foreign-host"),
    "origin": Entry("called from a web page", "called-from-a-web-page"),
    "target": Entry("bad target", "bad-target"),
    "path": Entry("path not allowed", "path-not-allowed"),
    "relay": Entry("no relay of that name", "no-relay-of-that-name"),
    "token": Entry("token not accepted", "token-not-accepted"),
    "too_large": Entry("body too large", "body-too-large"),
    "draining": Entry("the relay was stopping", "stopping"),
    "limit": Entry("over a limit", "a-limit-is-reached"),
    "pass": Entry("a hop's pass was not right", "a-return-is-refused"),
    "leg": Entry("a leg that its call may not make", "more-than-its-call-may"),
}
"""By the ``reason`` of calls whose outcome is ``rejected``."""
# Calls refused by a limit that is not on dollars or tokens, by status.
_LIMITS: Final[Mapping[int, Entry]] = {
    403: Entry("a batch under a limit", "batches-under-a-limit"),
    429: Entry("too many calls at once", "too-many-calls-at-once"),
}
# Errors from upstream, by status.
_STATUSES: Final[Mapping[int, Entry]] = {
    401: Entry("credential refused upstream", "the-credential-is-refused"),
    402: Entry("payment wanted upstream", "the-credential-is-refused"),
    403: Entry("refused upstream", "the-credential-is-refused"),
    429: Entry("rate limit", "the-apis-rate-limit"),
    529: Entry("the API is overloaded", "overloaded"),
}
# The upstream answered 200 with something that is no answer of the API.
_NO_ANSWER: Final = Entry("not an answer", "an-answer-that-is-none")
# The relay's own 502, in place of an answer that could not be passed on.
_NO_VALID_ANSWER: Final = Entry("no valid answer from upstream", "no-valid-answer")
_SILENCE: Final = Entry("the answer fell silent", "an-answer-falls-silent")


def described(fields: CallFields) -> dict[str, str]:
    """Return how a finished call ended: ``said``, in words, and ``help``, an address, if any."""
    entry = _entry(fields)
    if not entry.anchor:
        return {"said": entry.words}
    return {"said": entry.words, "help": troubleshooting(entry.anchor)}


def troubleshooting(anchor: str) -> str:
    """Return the address of an entry of the docs, as they were for this version."""
    return f"{DOCS}/troubleshooting.md#{anchor}"


def _entry(fields: CallFields) -> Entry:
    outcome, status = str(fields.get("outcome")), fields.get("status")
    code = status if isinstance(status, int) else 0
    if outcome == "rejected" and (reason := str(fields.get("reason"))) in REASONS:
        return _LIMITS.get(code, REASONS[reason]) if reason == "limit" else REASONS[reason]
    if outcome == "upstream_error" and code:
        return _said_upstream(code, by_api="error_type" in fields)
    if outcome == "timeout" and code != 504:
        return _SILENCE
    return OUTCOMES.get(outcome, Entry(outcome.replace("_", " ")))


def _said_upstream(status: int, *, by_api: bool) -> Entry:
    if status < 400:
        return _NO_ANSWER
    if status == 502 and not by_api:
        return _NO_VALID_ANSWER
    return _STATUSES.get(status, OUTCOMES["upstream_error"])
