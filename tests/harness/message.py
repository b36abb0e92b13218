"""HTTP messages as a peer got them, however far they came."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Message:
    """A request or a response as far as it came; ``complete`` says what its framing said."""

    start: bytes
    fields: list[tuple[bytes, bytes]]
    pieces: list[bytes] = field(default_factory=list)
    complete: bool = False

    @property
    def body(self) -> bytes:
        """The body without its framing."""
        return b"".join(self.pieces)

    def values(self, name: str) -> list[bytes]:
        """Return the values of the fields of that name, in any case."""
        return [value for key, value in self.fields if key.lower() == name.encode().lower()]

    @property
    def names(self) -> list[bytes]:
        """The names of the fields in lower case, in order."""
        return [key.lower() for key, _ in self.fields]


@dataclass
class Answer(Message):
    """What an agent got."""

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.start.split(b" ")[1])

    @property
    def outcome(self) -> str:
        """The ``x-relay-error`` header, or empty."""
        return b"".join(self.values("x-relay-error")).decode()

    @property
    def error(self) -> dict[str, Any]:
        """The error in the body, in the shape of either API."""
        return dict(json.loads(self.body)["error"])


@dataclass
class Request(Message):
    """What an upstream got."""

    @property
    def method(self) -> bytes:
        """The method."""
        return self.start.split(b" ")[0]

    @property
    def target(self) -> bytes:
        """The request target."""
        return self.start.split(b" ")[1]
