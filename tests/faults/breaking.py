"""How far an answer or a request came, and the ways in which a peer can then fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.harness.messages import CHUNKED, EVENTS, STOP, chunk
from tests.harness.peer import Peer

# Together they are what any operation may answer.
ONE = b'{"id":"one"'
TWO = b',"usage":0}'
SIZED = b"HTTP/1.1 200 OK\r\ncontent-length: 22\r\n\r\n"
CLOSE_DELIMITED = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n"
GARBAGE = b"\x00\xff no HTTP at all\r\n\r\n"

Break = Callable[[Peer], None]


def leave(peer: Peer) -> None:
    """Close the connection."""
    peer.leave()


def reset(peer: Peer) -> None:
    """Reset the connection."""
    peer.reset()


def half_close(peer: Peer) -> None:
    """Say that nothing more will be sent."""
    peer.half_close()


def stall(_: Peer) -> None:
    """Do nothing more, and leave the connection open."""


def garble(peer: Peer) -> None:
    """Send what belongs nowhere."""
    peer.transport.write(GARBAGE)


LEAVINGS = (leave, reset, half_close)


def named(case: object) -> str:
    """Return how a case is called in a test's name."""
    return str(getattr(case, "__name__", case))


@dataclass(frozen=True)
class Place:
    """How far the bytes came, and how much of a body that makes."""

    name: str
    sent: bytes
    body: bytes = b""
    framing: str = ""

    def __str__(self) -> str:
        return f"{self.framing} {self.name}".strip().replace(" ", "-")


BEFORE_THE_BODY = (
    Place("before the head", b""),
    Place("within the head", b"HTTP/1.1 200 OK\r\ncontent-ty"),
)

_IN_CHUNKS = {
    "behind the head": (b"", b""),
    "within a chunk size": (chunk(ONE) + b"b", ONE),
    "within a chunk": (chunk(ONE) + b"b\r\n" + TWO[:5], ONE + TWO[:5]),
    "behind a chunk's data": (chunk(ONE)[:-2], ONE),
    "between chunks": (chunk(ONE), ONE),
    "before the last chunk": (chunk(ONE) + chunk(TWO), ONE + TWO),
    "within the last chunk": (chunk(ONE) + chunk(TWO) + b"0\r\n", ONE + TWO),
}
_SIZED = {
    "behind the head": b"",
    "within the body": ONE,
    "before the last byte": (ONE + TWO)[:-1],
}

CHUNKED_ANSWERS = (
    *(Place(name, CHUNKED + sent, body, "chunked") for name, (sent, body) in _IN_CHUNKS.items()),
    # An agent of the API may think that it has everything: the framing says otherwise.
    Place("behind message_stop", EVENTS + chunk(STOP), STOP, "events"),
)
SIZED_ANSWERS = tuple(Place(name, SIZED + body, body, "sized") for name, body in _SIZED.items())
CLOSE_DELIMITED_ANSWERS = (
    Place("behind the head", CLOSE_DELIMITED, b"", "close-delimited"),
    Place("within the body", CLOSE_DELIMITED + ONE, ONE, "close-delimited"),
)
WHOLE_ANSWERS = (
    Place("whole", CHUNKED + chunk(ONE) + chunk(TWO) + chunk(b""), ONE + TWO, "chunked"),
    Place("whole", SIZED + ONE + TWO, ONE + TWO, "sized"),
)

CHUNKED_REQUESTS = tuple(
    Place(name, sent, body, "chunked") for name, (sent, body) in _IN_CHUNKS.items()
)
SIZED_REQUESTS = tuple(Place(name, body, body, "sized") for name, body in _SIZED.items())
