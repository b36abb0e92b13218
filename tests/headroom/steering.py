"""What Headroom makes of a message whose sender names the upstream: refuse it, or go there.

Observed on headroom-ai 0.42.0: without HEADROOM_ALLOWED_BASE_URLS any public address is
gone to; with it, the hosts and origins in it and no others, whatever they are. The address
is judged before the message is read, and an unreadable message goes nowhere.
"""

import ipaddress
import json
from urllib.parse import urlsplit

from .answers import JSON, Answer, error_answer, own_answer
from .misrouting import path_of
from .record import Exchange


def steered_answer(exchange: Exchange, allowed: str | None) -> Answer | None:
    """Return what is answered to a message that names its upstream; None: the usual."""
    named = exchange.header("x-headroom-base-url")
    if not named or (exchange.method, path_of(exchange.target)) != ("POST", "/v1/messages"):
        return None
    if not is_obeyed(named, allowed):
        body = json.dumps({"detail": "Rejected unsafe upstream base URL"}).encode()
        return own_answer(400, "Bad Request", JSON, body)
    try:
        json.loads(exchange.body.text or "")
    except ValueError:
        text = "Invalid request body: malformed JSON"
        return error_answer(exchange, 400, "Bad Request", "invalid_request_error", text)
    return None


def is_obeyed(named: str, allowed: str | None) -> bool:
    """Tell whether a call goes to the named address."""
    parts = urlsplit(named)
    if allowed is not None:
        return parts.hostname in allowed.split(",") or named in allowed.split(",")
    try:
        return ipaddress.ip_address(parts.hostname or "").is_global
    except ValueError:
        return False
