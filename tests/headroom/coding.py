"""Content codings that Headroom can read: gzip, deflate, zstd.

zstd came to the standard library with Python 3.14. Where neither that nor its backport is
installed, it is neither asked for nor read.
"""

import zlib
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from importlib import import_module
from typing import Protocol


class Decoder(Protocol):
    """What decompresses one body piece by piece."""

    def decompress(self, data: bytes, /) -> bytes:
        """Return what this piece gives."""


class UndecodableError(Exception):
    """The body is not what its coding says, or nobody here reads that coding."""


def _zstd() -> Callable[[], Decoder] | None:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            decompressor: Callable[[], Decoder] = import_module(name).ZstdDecompressor
        except ImportError:
            continue
        return decompressor
    return None


# zlib's window bits: 31 reads gzip, 47 gzip or zlib by their first bytes.
_DECODERS: dict[str, Callable[[], Decoder]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "deflate": lambda: zlib.decompressobj(47),
}
if (_zstd_decoder := _zstd()) is not None:
    _DECODERS["zstd"] = _zstd_decoder

# Observed: what Headroom asks its upstream for, whatever the client asked.
ACCEPTED = ", ".join(_DECODERS)


def decoder_of(coding: str | None) -> Decoder | None:
    """Return a decoder, or None for a body that is not coded; UndecodableError."""
    name = (coding or "identity").strip().lower()
    if name == "identity":
        return None
    if name not in _DECODERS:
        raise UndecodableError(name)
    return _DECODERS[name]()


def decoded(body: bytes, coding: str | None) -> bytes:
    """Return a whole body without its coding; UndecodableError."""
    decoder = decoder_of(coding)
    return body if decoder is None else _decompress(decoder, body)


async def decoded_pieces(
    pieces: AsyncGenerator[bytes, None], coding: str | None
) -> AsyncGenerator[bytes, None]:
    """Yield the pieces of a body without their coding, as they come; UndecodableError."""
    decoder = decoder_of(coding)
    async with aclosing(pieces):
        async for piece in pieces:
            yield piece if decoder is None else _decompress(decoder, piece)


def _decompress(decoder: Decoder, data: bytes) -> bytes:
    try:
        return decoder.decompress(data)
    except Exception as error:  # zlib's and zstd's have no common ancestor
        raise UndecodableError from error
