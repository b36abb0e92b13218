"""Where Headroom would have sent a request, credential and all, and which pages are its own.

Headroom decides by headers that any client can set, and by the path; a relay in front of
it must let through neither. Observed on headroom-ai 0.42.0; here a little wider where that
makes a hole easier to see: the two headers count on every path, and an Anthropic key alone
does not make a request Anthropic's, `anthropic-version` does.
"""

import re
from typing import Literal
from urllib.parse import unquote

from .wire import RequestHead

Kind = Literal["api", "admin", "health", "other", "malformed"]

HEALTH_PATHS = ("/livez", "/readyz", "/health")
OPENAI_PATHS = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings")
ANTHROPIC_PATHS = ("/v1/messages",)
API_PATHS = (*OPENAI_PATHS, *ANTHROPIC_PATHS, "/v1/models", "/v1/files", "/v1/complete")
ADMIN_PATHS = (
    *("/stats", "/stats-history", "/dashboard", "/admin", "/debug", "/settings", "/cache"),
    *("/metrics", "/v1/retrieve", "/v1/compress", "/v1/telemetry", "/v1/toin"),
    *("/v1/feedback", "/v1/usage"),
)

_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")


def path_of(target: str) -> str:
    """Return the path of a target decoded once, as Starlette matches it."""
    if not target.startswith("/"):
        target = _ORIGIN.sub("", target)
    return unquote(target.partition("?")[0], encoding="latin-1")


def kind_of(target: str) -> Kind:
    """Say whose page a target is: the API's, Headroom's administration or health, or nobody's."""
    path = path_of(target)
    if path in HEALTH_PATHS:
        return "health"
    if _under(path, ADMIN_PATHS):
        return "admin"
    return "api" if _under(path, API_PATHS) else "other"


def routed_to(head: RequestHead) -> str | None:
    """Return where the credential would go: a provider, or the address the client named.

    None for pages that Headroom answers itself.
    """
    if kind_of(head.target) in ("admin", "health"):
        return None
    if named := (head.first("x-headroom-base-url") or "").strip():
        return named
    if head.first("x-goog-api-key"):
        return "google"
    path = path_of(head.target)
    if _under(path, OPENAI_PATHS):
        return "openai"
    if _under(path, ANTHROPIC_PATHS) or head.first("anthropic-version"):
        return "anthropic"
    return "openai"


def effective_beta(head: RequestHead) -> str | None:
    """Return what is left of `anthropic-beta`: Headroom keeps the last line only."""
    return next(reversed(head.values("anthropic-beta")), None)


def _under(path: str, prefixes: tuple[str, ...]) -> bool:
    return any(path == prefix or path.startswith(prefix + "/") for prefix in prefixes)
