"""The refusals: answers with a status of their own, cleanly framed.

Some are the upstream's, passed on by Headroom, and some are Headroom's own, which do not
have the shape of the API that was called.
"""

import json
from collections.abc import Callable
from dataclasses import replace

from .answering import Answering
from .answers import (
    EVENT_STREAM,
    JSON,
    Answer,
    error_answer,
    health_answer,
    own_answer,
    relayed_answer,
    too_large,
)
from .anthropic import error_event
from .passage import UNREACHABLE


def unauthorized(answering: Answering) -> Answer:
    """Refuse the credential."""
    kind, text = "authentication_error", "invalid x-api-key"
    return error_answer(answering.exchange, 401, "Unauthorized", kind, text)


def rate_limited(answering: Answering) -> Answer:
    """Refuse for the upstream's rate limit."""
    text = "This request would exceed your account's rate limit. Please try again later."
    fields = [("retry-after", answering.arguments.text("retry_after", "7"))]
    kind = "rate_limit_error"
    return error_answer(answering.exchange, 429, "Too Many Requests", kind, text, headers=fields)


def overloaded(answering: Answering) -> Answer:
    """Refuse for an overloaded upstream, with the empty reason phrase it has on the wire."""
    return error_answer(answering.exchange, 529, "", "overloaded_error", "Overloaded")


def broken(answering: Answering) -> Answer:
    """Report a fault of the upstream."""
    kind, reason = "api_error", "Internal Server Error"
    return error_answer(answering.exchange, 500, reason, kind, "Internal server error")


def over_limit(answering: Answering) -> Answer:
    """Refuse a body over the limit."""
    return too_large(answering.exchange)


def locally_limited(answering: Answering) -> Answer:
    """Refuse for Headroom's own rate limit."""
    body = json.dumps({"detail": "Rate limited. Retry after 0.7s"}).encode()
    fields = [("retry-after", answering.arguments.text("retry_after", "1"))]
    return own_answer(429, "Too Many Requests", JSON, body, headers=fields)


def locally_busy(answering: Answering) -> Answer:
    """Refuse for Headroom's own limit of concurrency."""
    del answering
    kind, body = "text/plain; charset=utf-8", b"Service Unavailable"
    return own_answer(503, "Service Unavailable", kind, body)


def unreachable_stream(answering: Answering) -> Answer:
    """Report that the upstream cannot be reached, as Headroom does for a stream."""
    del answering
    body = error_event("connection_error", UNREACHABLE)
    return own_answer(502, "Bad Gateway", EVENT_STREAM, body, streamed=True)


def unreachable(answering: Answering) -> Answer:
    """Report that the upstream cannot be reached."""
    return error_answer(answering.exchange, 502, "Bad Gateway", "api_error", UNREACHABLE)


def not_ready(answering: Answering) -> Answer:
    """Answer as /readyz does while Headroom starts."""
    del answering
    return health_answer(ready=False)


def redirect(answering: Answering) -> Answer:
    """Send the client elsewhere; by default to where the stand-in would record it."""
    fields = [("location", answering.arguments.text("location", "/redirected"))]
    exchange, reason = answering.exchange, "Temporary Redirect"
    return relayed_answer(exchange, 307, reason, "text/plain", (b"",), headers=fields)


def guarded(answering: Answering) -> Answer:
    """Refuse as a guard does who has read the prompt, without asking the upstream."""
    del answering
    body = json.dumps({"error": "this prompt is against the rules of the house"}).encode()
    return own_answer(403, "Forbidden", JSON, body)


def nameless(answering: Answering) -> Answer:
    """Answer as usual, without the id that the API gives a request."""
    usual = answering.usual
    ids = ("request-id", "x-request-id")
    return replace(usual, headers=tuple(each for each in usual.headers if each[0] not in ids))


FAILURES: dict[str, Callable[[Answering], Answer]] = {
    "401": unauthorized,
    "413": over_limit,
    "429": rate_limited,
    "500": broken,
    "529": overloaded,
    "local429": locally_limited,
    "502json": unreachable,
    "502stream": unreachable_stream,
    "503text": locally_busy,
    "not_ready": not_ready,
    "redirect": redirect,
    "guard": guarded,
    "nameless": nameless,
}
