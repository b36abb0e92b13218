"""From a request target to a relay, and to what goes on to its upstream.

``/relay/<name>/<rest>?<query>`` in exactly that spelling; which paths a relay passes on. Pure:
knows nothing of sockets, configuration files or credentials.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from relay.config.values import RELAY_NAME
from relay.errors import PathRefused, UnknownRelay
from relay.http.memo import Memo
from relay.http.target import has_segments
from relay.telemetry.operations import creates_batch, is_billed, is_endpoint, operation_of

T = TypeVar("T")

_PREFIX: Final = b"/relay/"


@dataclass(slots=True, init=False)
class Target:
    """A relay's name and what follows it; ``rest`` begins with a slash or is empty."""

    relay: str
    rest: bytes
    query: bytes
    """With its question mark, or empty."""
    operation: str
    """The ``operation`` label of this path."""
    is_endpoint: bool
    """Whether the path is an operation's own, and not one below it."""
    is_billed: bool
    """Whether a POST to the path may use tokens, if the operation does."""
    creates_batch: bool
    """Whether a POST to the path creates a batch."""

    def __init__(self, relay: str, rest: bytes, query: bytes) -> None:
        self.relay, self.rest, self.query = relay, rest, query
        self.operation, self.is_endpoint, self.is_billed, self.creates_batch = _known[rest]


def _look_at(rest: bytes) -> tuple[str, bool, bool, bool]:
    """Return what a target's path tells by itself."""
    return operation_of(rest), is_endpoint(rest), is_billed(rest), creates_batch(rest)


# It takes 10 µs, and agents ask for the same few paths over and over.
_known: Final = Memo(_look_at)


def split_target(target: bytes) -> Target:
    """Return the parts of ``/relay/<name>/<rest>?<query>``, in exactly that spelling.

    Raises:
        UnknownRelay: The path has another form.
    """
    path, mark, query = target.partition(b"?")
    if not path.startswith(_PREFIX):
        raise UnknownRelay
    name, slash, rest = path.removeprefix(_PREFIX).partition(b"/")
    text = name.decode("ascii", "replace")
    if not RELAY_NAME.fullmatch(text):
        raise UnknownRelay
    return Target(text, slash + rest, mark + query)


def find_relay(target: Target, relays: Mapping[str, T]) -> T:
    """Return the relay of that name; raise UnknownRelay where there is none."""
    try:
        return relays[target.relay]
    except KeyError:
        raise UnknownRelay from None


def is_probe(method: bytes, target: Target) -> bool:
    """Whether this is one of Claude Code's reachability probes."""
    if target.rest in (b"", b"/"):
        return method == b"HEAD"
    return target.rest == b"/api/hello" and method in (b"HEAD", b"GET")


def check_path(rest: bytes, allow: tuple[bytes, ...]) -> None:
    """Raise PathRefused unless the path starts with one of the allowed prefixes."""
    for prefix in allow:
        if rest and has_segments(rest, prefix):
            return
    raise PathRefused
