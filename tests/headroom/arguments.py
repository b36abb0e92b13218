"""The arguments of a mode: few, all optional, all text on their way here.

They come as a query string in a header or as members of a JSON object. A name that no
mode has or a value that is no number is refused, lest a test passes by a misspelling.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

NAMES = {
    "events": "number of text deltas",
    "gap": "seconds between two events",
    "delay": "seconds before the head",
    "after": "events before the fault",
    "before": "`head`: the fault comes before the head",
    "pings": "number of pings before message_start",
    "retry_after": "value of retry-after, in seconds",
    "size": "length of the body in bytes",
    "location": "value of location",
    "bytes": "the answer, byte for byte (latin-1)",
    "duplex": "1: echo each piece as it arrives",
    # Of a hop, for what it sends on:
    "to": "where it goes, in place of the upstream's address",
    "path": "what is asked there, as `POST /v1/messages/batches`",
    "also": "what is asked before it, in the same way",
    "key": "the credential, in place of the caller's",
    "drop": "names of headers that do not go on, with commas between them",
    "add": "a header that goes on as well, as `name: value`",
    "attempts": "how often it is tried at most",
    "rounds": "how often it is asked, one after the other; the last answer is passed on",
    "times": "how often it is asked at once; one answer is passed on",
    "deaf": "1: read on when the client has gone",
}


class ArgumentError(Exception):
    """The mode or one of its arguments does not exist or makes no sense."""


@dataclass(frozen=True)
class Arguments:
    """The arguments given to a mode."""

    given: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse unknown names."""
        if unknown := set(self.given) - set(NAMES):
            raise ArgumentError(f"unknown arguments: {', '.join(sorted(unknown))}")

    def text(self, name: str, default: str = "") -> str:
        """Return an argument as it is."""
        return self.given.get(name, default)

    def number(self, name: str, default: float) -> float:
        """Return a non-negative number."""
        try:
            number = float(self.given.get(name, default))
        except ValueError as error:
            raise ArgumentError(f"{name} is not a number") from error
        if not 0 <= number < float("inf"):
            raise ArgumentError(f"{name} is out of range")
        return number

    def count(self, name: str, default: int) -> int:
        """Return a non-negative whole number."""
        return int(self.number(name, default))


def parse_arguments(query: str) -> Arguments:
    """Read arguments from a query string; ArgumentError if one is unknown."""
    return Arguments(dict(parse_qsl(query, keep_blank_values=True, encoding="latin-1")))
