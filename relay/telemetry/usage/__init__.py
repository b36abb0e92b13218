"""Tokens and outcome of a call, read from a copy of its answer's body.

``meter`` is what a call needs; ``anthropic`` and ``openai`` know the APIs, a row for each
operation; ``tally`` holds what is known so far; ``documents`` reads JSON. None of them knows
of sockets, clocks or metrics, and nothing that an answer may hold can make them raise.
"""

from relay.telemetry.usage.counts import ERROR_TYPES, SERVER_TOOLS, TOKEN_TYPES, Missing
from relay.telemetry.usage.meter import End, Meter, Usage

__all__ = [
    "ERROR_TYPES",
    "SERVER_TOOLS",
    "TOKEN_TYPES",
    "End",
    "Meter",
    "Missing",
    "Usage",
]
