"""Bodies of responses, read from bytes by the framing that their heads give (RFC 9112 §6.3)."""

from __future__ import annotations

from typing import Final

from relay.errors import UpstreamTruncated
from relay.http.chunked import ChunkReader
from relay.http.message import ResponseHead

BODILESS: Final = frozenset({204, 304})
"""Statuses whose responses never have a body."""


def has_body(head: ResponseHead, method: bytes) -> bool:
    """Whether a response to this method has a body (RFC 9112 §6.3)."""
    return method != b"HEAD" and head.status not in BODILESS


class BodyReader:
    """Takes the bytes of one response's body, however they are cut, and returns its data."""

    def __init__(self, head: ResponseHead, *, bodiless: bool) -> None:
        self.rest = b""
        bodiless = bodiless or head.status in BODILESS
        self._chunks = ChunkReader(UpstreamTruncated) if head.chunked and not bodiless else None
        self._remaining = 0 if bodiless else head.length
        self.ends_by_closing = not bodiless and not head.chunked and head.length is None

    @property
    def ended(self) -> bool:
        """Whether the whole body has come; never, where only closing ends it."""
        return self._chunks.ended if self._chunks else self._remaining == 0

    def feed(self, data: bytes) -> bytes:
        """Return the data in these bytes; raise UpstreamTruncated at a wrong one.

        Data that came before a wrong byte is returned; then ``check`` raises.
        """
        if self._chunks is not None:
            piece = self._chunks.feed(data)
            if self._chunks.ended:
                self.rest = self._chunks.rest
            return piece
        if self._remaining is None:
            return data
        piece, self.rest = data[: self._remaining], data[self._remaining :]
        self._remaining -= len(piece)
        return piece

    def check(self) -> None:
        """Raise UpstreamTruncated if a wrong byte has come."""
        if self._chunks is not None:
            self._chunks.check()
