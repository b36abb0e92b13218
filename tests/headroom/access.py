"""Who may call Headroom: anybody on loopback, and beyond it who shows its token; and who an API.

Observed on headroom-ai 0.42.0: without HEADROOM_PROXY_TOKEN it refuses to listen beyond
loopback; with it, it wants `x-headroom-proxy-token` from there, but for two health pages.
"""

import hmac
import ipaddress
import json

from .answers import JSON, Answer, own_answer
from .misrouting import path_of
from .settings import Settings
from .wire import RequestHead

OPEN_PATHS = ("/livez", "/readyz")


class NoTokenError(Exception):
    """A hop is to listen beyond loopback, and has no token to ask callers for."""


def check_host(host: str, settings: Settings) -> None:
    """Refuse what Headroom refuses to listen on; NoTokenError."""
    if settings.is_hop and not settings.proxy_token and not is_loopback(host):
        raise NoTokenError("beyond loopback HEADROOM_PROXY_TOKEN is wanted")


def access_refusal(head: RequestHead, peer: str, settings: Settings) -> Answer | None:
    """Return what is answered to a caller who may not call; None for one who may."""
    token = settings.proxy_token
    if not token or path_of(head.target) in OPEN_PATHS:
        return None
    if settings.trusts_loopback and is_loopback(peer):
        return None
    shown = head.first("x-headroom-proxy-token") or ""
    if hmac.compare_digest(shown.encode("latin-1"), token.encode()):
        return None
    body = json.dumps({"error": "unauthorized"}).encode()
    return own_answer(401, "Unauthorized", JSON, body)


def is_refused(head: RequestHead, settings: Settings) -> bool:
    """Tell whether an API does not take the credential that it is shown."""
    shown = head.first("x-api-key") or head.first("authorization")
    return settings.credential not in (None, shown)


def is_loopback(host: str) -> bool:
    """Tell whether an address, or the name that every machine has for it, is loopback."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
