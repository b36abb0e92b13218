"""A user's own variables, none of which a test may notice."""

from __future__ import annotations

import os
from typing import Final

from relay.config import GRANT_VARIABLES

AS_STARTED: Final = {**os.environ}
"""For what fetches a test's programs: it goes out as the user does."""

_PREFIXES: Final = (
    *("RELAY_", "ANTHROPIC_", "CLAUDE", "OPENAI_", "CODEX_", "HEADROOM_"),
    *("OTEL_", "COMPOSE_", "XDG_"),
)
_OTHERS: Final = (
    *(name.lower() for name in GRANT_VARIABLES.values()),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("columns", "lines", "no_color", "force_color"),
)


def forget() -> None:
    """Take away what the relay, agents, SDKs, compose and pictures for a terminal go by."""
    for name in [*os.environ]:
        if name.startswith(_PREFIXES) or name.lower() in _OTHERS:
            del os.environ[name]
