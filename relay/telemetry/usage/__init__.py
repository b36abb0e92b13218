"""Tokens and outcome of a call, read from a copy of its answer's body.

``meter`` is what a call needs, and ``statement`` what it makes of an answer; ``anthropic`` and
``openai`` know the APIs, a reader for each operation; ``counts`` holds what is known so far;
``first_bytes`` tells JSON from events, and ``json_body`` reads it. None of them knows of
sockets, clocks or metrics, and nothing that an answer may hold can make them raise.
"""

from relay.telemetry.usage.counts import (
    CACHE_WRITES,
    ERROR_TYPES,
    INPUT_TYPES,
    SERVER_TOOLS,
    TOKEN_TYPES,
    Missing,
    Part,
    merge,
)
from relay.telemetry.usage.meter import Meter
from relay.telemetry.usage.statement import End, Usage

__all__ = [
    "CACHE_WRITES",
    "ERROR_TYPES",
    "INPUT_TYPES",
    "SERVER_TOOLS",
    "TOKEN_TYPES",
    "End",
    "Meter",
    "Missing",
    "Part",
    "Usage",
    "merge",
]
