"""A user's own variables, none of which a test may notice."""

from __future__ import annotations

import os
from typing import Final

AS_STARTED: Final = {**os.environ}
"""For what fetches a test's programs: it goes out as the user does."""

_PREFIXES: Final = (
    *("RELAY_", "ANTHROPIC_", "CLAUDE", "OPENAI_", "CODEX_", "HEADROOM_"),
    *("OTEL_", "COMPOSE_", "XDG_"),
)
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def forget() -> None:
    """Take away what the relay, agents, SDKs and compose would read."""
    for name in [*os.environ]:
        if name.startswith(_PREFIXES) or name.lower() in _PROXIES:
            del os.environ[name]
