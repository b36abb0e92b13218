"""What the heads of HTTP/1.1 messages say, once they have been read.

Fields and heads are values: nobody changes one. Freezing them would cost a call more than
reading it does. Knows nothing of how they are read, nor of what the fields mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from relay.http.grammar import Field


@dataclass(slots=True, kw_only=True)
class MessageHead:
    """What requests and responses share: minor version, fields, and the body's framing.

    ``length`` is None where there is no Content-Length.
    """

    minor: int
    fields: tuple[Field, ...]
    length: int | None
    chunked: bool
    by_key: dict[bytes, Field] = field(init=False, repr=False, compare=False)
    """The fields by their lower-case names; of repeated ones the last."""

    def __post_init__(self) -> None:
        self.by_key = {each.key: each for each in self.fields}

    def values(self, key: bytes) -> list[bytes]:
        """Return the values of the fields with this lower-case name, in order."""
        by_key = self.by_key
        if key not in by_key:
            return []
        if len(by_key) == len(self.fields):
            return [by_key[key].value]
        return [each.value for each in self.fields if each.key == key]


@dataclass(slots=True, kw_only=True)
class RequestHead(MessageHead):
    """A request line and its fields; with neither length nor chunks there is no body."""

    method: bytes
    target: bytes


@dataclass(slots=True, kw_only=True)
class ResponseHead(MessageHead):
    """A status line and its fields; with neither length nor chunks the body ends by closing."""

    status: int
    reason: bytes
