"""Content codings (RFC 9110 §8.4): a copy of a coded body decoded as it passes.

Decoders work piece by piece, take bodies of several members, and stop with a clear signal
where the output is out of proportion: what passes through the relay is never touched, so a
decompression bomb may cost it neither memory nor time. ``restrict`` keeps an agent from
being sent what could not be read here. Knows nothing of sockets, or of what is in a body.
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Bytes of output. A socket is read by 256 KiB at most, and text of events shrinks to a tenth
# at best: what one piece of it gives stays far below, while gzip can swell a thousandfold.
FEED_LIMIT: Final = 16 * 1024 * 1024
# 128,000 tokens streamed one by one are about 32 MiB, the largest embeddings about 120 MiB.
TOTAL_LIMIT: Final = 256 * 1024 * 1024
# No server in use stacks more than two. curl allows five.
STACK_LIMIT: Final = 5
# RFC 9659 §3: a content coding's window is at most 8 MiB, and a decoder may refuse more.
_ZSTD_WINDOW_LOG: Final = 23
# What one member is given at a time, so that many tiny members are not copied over and over.
_SLICE: Final = 4096
_BROTLI_STEP: Final = 64 * 1024

_IDENTITY: Final = b"identity"
_REFUSED: Final = re.compile(rb"[ \t]*;[ \t]*q[ \t]*=[ \t]*0(?:\.0*)?[ \t]*", re.IGNORECASE)


class Undecodable(Exception):
    """There is no decoder for the coding, or the body is not what the coding says."""


class DecodedTooLarge(Exception):
    """The body gives more than anyone would have coded: a decompression bomb."""


class _Member(Protocol):
    """One compressed stream, as zlib and zstd have it."""

    @property
    def eof(self) -> bool:
        """Whether its end has come."""

    @property
    def unused_data(self) -> bytes:
        """What followed its end."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return output, up to that length."""


@dataclass(frozen=True, slots=True)
class _Coding:
    """How bodies of a coding are decoded."""

    member: Callable[[], _Member]
    errors: tuple[type[Exception], ...]
    another: Callable[[bytes], bool]
    """Whether these bytes, after a member's end, begin another; else they are ignored."""


class Decoder:
    """Decodes one body, whose codings are undone in turn."""

    def __init__(self, codings: Sequence[_Coding]) -> None:
        self._layers = [_Layer(coding) for coding in codings]

    def feed(self, data: bytes) -> bytes:
        """Return what these bytes give.

        Raises:
            Undecodable: They are not of this coding.
            DecodedTooLarge: They give too much, at once or with what came before.
        """
        for layer in self._layers:
            data = layer.feed(data)
        return data

    @property
    def finished(self) -> bool:
        """Whether every coding's own end has come."""
        return all(layer.finished for layer in self._layers)


class _Layer:
    """One coding of a body."""

    def __init__(self, coding: _Coding) -> None:
        self._coding = coding
        self._member = coding.member()
        self._total = 0

    def feed(self, data: bytes) -> bytes:
        try:
            pieces = self._decode(data)
        except self._coding.errors as error:
            raise Undecodable from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @property
    def finished(self) -> bool:
        return self._member.eof

    def _decode(self, data: bytes) -> list[bytes]:
        pieces: list[bytes] = []
        room = min(FEED_LIMIT, TOTAL_LIMIT - self._total)
        for start in range(0, len(data), _SLICE):
            rest = data[start : start + _SLICE]
            while rest and self._accepts(rest):
                piece = self._member.decompress(rest, room + 1)
                pieces.append(piece)
                room -= len(piece)
                self._total += len(piece)
                if room < 0:
                    raise DecodedTooLarge
                rest = self._member.unused_data
        return pieces

    def _accepts(self, data: bytes) -> bool:
        if self._member.eof and self._coding.another(data):
            self._member = self._coding.member()
        return not self._member.eof


class _DeflateMember:
    """Deflate as RFC 9110 §8.4.1.2 has it, in zlib's wrapping, or as some servers do, bare."""

    def __init__(self) -> None:
        self._start = b""
        self._inflater: _Member | None = None

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        if self._inflater is None:
            data = self._start + data
            if len(data) < 2:
                self._start = data
                return b""
            self._inflater = zlib.decompressobj(_deflate_window(data))
        return self._inflater.decompress(data, max_length)

    @property
    def eof(self) -> bool:
        return self._inflater is not None and self._inflater.eof

    @property
    def unused_data(self) -> bytes:
        return b"" if self._inflater is None else self._inflater.unused_data


def _deflate_window(start: bytes) -> int:
    """Return zlib's ``wbits`` for a body that begins so (RFC 1950 §2.2)."""
    wrapped = start[0] & 0x0F == 8 and start[0] >> 4 <= 7 and (start[0] << 8 | start[1]) % 31 == 0
    return zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS


class _BrotliMember:
    """Brotli behind the interface of the others."""

    unused_data = b""

    def __init__(self) -> None:
        self._decompressor = brotli.Decompressor()

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        step = min(_BROTLI_STEP, max_length)
        pieces = [self._decompressor.process(data, output_buffer_limit=step)]
        size = len(pieces[0])
        # can_accept_more_data() says yes while output is still waiting; a piece below the
        # limit says that there is none.
        while len(pieces[-1]) >= step and size < max_length:
            pieces.append(self._decompressor.process(b"", output_buffer_limit=step))
            size += len(pieces[-1])
        return b"".join(pieces)

    @property
    def eof(self) -> bool:
        return bool(self._decompressor.is_finished())


_GZIP: Final = _Coding(
    partial(zlib.decompressobj, zlib.MAX_WBITS | 16),
    (zlib.error,),
    lambda data: data.startswith(b"\x1f"),
)
_CODINGS: Final = {
    b"gzip": _GZIP,
    b"x-gzip": _GZIP,  # RFC 9110 §8.4.1.3
    b"deflate": _Coding(_DeflateMember, (zlib.error,), lambda _: False),
    b"br": _Coding(_BrotliMember, (brotli.error,), lambda _: False),
    b"zstd": _Coding(
        partial(
            zstd.ZstdDecompressor,
            options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG},
        ),
        (zstd.ZstdError,),
        # RFC 8878 §3.1: a frame's magic number, or a skippable frame's.
        lambda data: data[0] >> 4 in (2, 5),
    ),
}


def decoder_for(content_encoding: bytes) -> Decoder | None:
    """Return a decoder for a body with this Content-Encoding, or None where it is not coded.

    Raises:
        Undecodable: There is none for one of the codings, or too many are stacked.
    """
    names = [name for part in content_encoding.lower().split(b",") if (name := part.strip(b" \t"))]
    coded = [name for name in names if name != _IDENTITY]
    if len(coded) > STACK_LIMIT or not _CODINGS.keys() >= set(coded):
        raise Undecodable
    return Decoder([_CODINGS[name] for name in reversed(coded)]) if coded else None


def restrict(accept_encoding: bytes) -> bytes:
    """Return an Accept-Encoding without the codings that there is no decoder for.

    ``*`` stands for those too. Nothing is added; where nothing is left that may be sent, the
    value is ``identity``. A value that needs no change stays as it is, byte for byte.
    """
    elements = [e for part in accept_encoding.split(b",") if (e := part.strip(b" \t"))]
    kept = [element for element in elements if _is_refusal(element) or _is_readable(element)]
    if len(kept) == len(elements):
        return accept_encoding
    return _IDENTITY if all(map(_is_refusal, kept)) else b", ".join(kept)


def _is_refusal(element: bytes) -> bool:
    _, parameter, value = element.partition(b";")
    return _REFUSED.fullmatch(parameter + value) is not None


def _is_readable(element: bytes) -> bool:
    name = element.partition(b";")[0].strip(b" \t").lower()
    return name == _IDENTITY or name in _CODINGS
