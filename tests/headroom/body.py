"""A request body as it arrives: counted, hashed, skimmed, and kept only while it is small.

What decides the answer (`stream`, `model`, `include_usage`) is found by looking over the
bytes rather than by parsing them, so that a body of any size costs no memory. A key inside
a string has its quotes escaped and is not taken for one; a key inside another object is.
"""

import hashlib
import re
import zlib

# What is kept for the record; prompts of tests are smaller, real ones are of no interest.
KEPT_BYTES = 64 * 1024
# Longer than any of the patterns below can match.
_OVERLAP_BYTES = 512

_STREAM = re.compile(rb'[{,\s]"stream"\s{0,9}:\s{0,9}true')
_INCLUDE_USAGE = re.compile(rb'[{,\s]"include_usage"\s{0,9}:\s{0,9}true')
_MODEL = re.compile(rb'[{,\s]"model"\s{0,9}:\s{0,9}"([!#-\[\]-~]{1,200})"')
# zlib's window bits: 31 reads gzip, 47 gzip or zlib by their first bytes.
_WINDOW_BITS = {"gzip": 31, "deflate": 47}


class Body:
    """What is known of a request body so far."""

    def __init__(self, coding: str | None = None) -> None:
        """Expect a body of the given content coding: gzip, deflate or none."""
        self.size = 0
        self.wants_stream = False
        self.wants_usage = False
        self.model: str | None = None
        self._digest = hashlib.sha256()
        self._kept = bytearray()
        self._tail = b""
        bits = _WINDOW_BITS.get((coding or "").lower())
        self._decoder = None if bits is None else zlib.decompressobj(bits)

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body, as it came over the wire."""
        self.size += len(piece)
        self._digest.update(piece)
        if self.size <= KEPT_BYTES:
            self._kept += piece
        else:
            self._kept.clear()
        self._skim(self._decoded(piece))

    def _decoded(self, piece: bytes) -> bytes:
        try:
            return self._decoder.decompress(piece) if self._decoder else piece
        except zlib.error:
            self._decoder = None
            return b""

    def _skim(self, text: bytes) -> None:
        seen = self._tail + text
        # Each pattern is slow and its key is rare: looked for first, that is ten times faster.
        if b'"stream"' in seen and _STREAM.search(seen):
            self.wants_stream = True
        if b'"include_usage"' in seen and _INCLUDE_USAGE.search(seen):
            self.wants_usage = True
        if self.model is None and b'"model"' in seen and (found := _MODEL.search(seen)):
            self.model = found[1].decode("ascii")
        self._tail = seen[-_OVERLAP_BYTES:]

    @property
    def sha256(self) -> str:
        """Return the hash of what has arrived, in hexadecimal digits."""
        return self._digest.hexdigest()

    @property
    def text(self) -> str | None:
        """Return the body as latin-1 text, byte for byte, or None if it was too large."""
        return self._kept.decode("latin-1") if self.size <= KEPT_BYTES else None
