"""Content codings: what was coded comes out, however it is cut, and no more than a fair amount."""

import gzip
import zlib
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.http import coding
from relay.http.coding import DecodedTooLarge, Undecodable, decoder_for, restrict
from tests.unit.telemetry.usage.samples import CODERS, brotli_compress, bytewise, cut, zstd_compress

CODED = sorted(set(CODERS) - {"identity"})
BODY = b"The quick brown fox. " * 40 + bytes(range(256))
BOMBS: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"br": brotli_compress,
    b"zstd": zstd_compress,
    b"gzip, gzip": lambda body: gzip.compress(gzip.compress(body)),
}


def decode(content_encoding: bytes, pieces: Iterable[bytes]) -> bytes:
    """Return what the pieces give; the coding's end must have come."""
    decoder = decoder_for(content_encoding)
    assert decoder is not None
    body = b"".join([decoder.feed(piece) for piece in pieces])
    assert decoder.finished
    return body


@pytest.mark.parametrize("name", CODED)
def test_what_was_coded_comes_out_whole_and_byte_by_byte(name: str) -> None:
    """Every coding, in each of its forms."""
    content_encoding, code = CODERS[name]
    coded = code(BODY)
    assert decode(content_encoding, [coded]) == BODY
    assert decode(content_encoding, bytewise(coded)) == BODY


@given(
    st.sampled_from(CODED),
    st.binary(max_size=2000),
    st.lists(st.integers(min_value=1, max_value=2000), max_size=8),
)
def test_any_body_comes_out_at_any_cut(name: str, body: bytes, positions: list[int]) -> None:
    """Bodies that compress and bodies that do not."""
    content_encoding, code = CODERS[name]
    assert decode(content_encoding, cut(code(body), positions)) == body


def test_output_comes_as_soon_as_it_was_flushed() -> None:
    """A stream's events are seen when they arrive, not at the end."""
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    decoder = decoder_for(b"gzip")
    assert decoder is not None
    for text in (b"one", b"two"):
        flushed = compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)
        assert decoder.feed(flushed) == text
    assert not decoder.finished


@pytest.mark.parametrize("value", [b"", b"identity", b" Identity , ", b","])
def test_what_is_not_coded_needs_no_decoder(value: bytes) -> None:
    """Nor does a header that names nothing."""
    assert decoder_for(value) is None


@pytest.mark.parametrize(
    "value", [b"compress", b"gzip, aes128gcm", b"*", b"gzip;q=1", b"gzip," * 6]
)
def test_what_cannot_be_decoded_is_said_at_once(value: bytes) -> None:
    """Unknown codings, nonsense, and more layers than anyone needs."""
    with pytest.raises(Undecodable):
        decoder_for(value)


@pytest.mark.parametrize("content_encoding", [b"gzip", b"deflate", b"br", b"zstd"])
def test_a_body_that_is_not_what_it_says_is_undecodable(content_encoding: bytes) -> None:
    """It is found out, if not at its first byte."""
    decoder = decoder_for(content_encoding)
    assert decoder is not None
    with pytest.raises(Undecodable):
        decoder.feed(b'{"type":"message","content":[]}' * 10)


def test_a_window_beyond_the_codings_own_is_refused() -> None:
    """RFC 9659: a frame that asks for 128 MiB of memory does not get them."""
    zstd = import_module(zstd_compress.__module__)
    options = {zstd.CompressionParameter.window_log: 27}
    compressor = zstd.ZstdCompressor(options=options)
    decoder = decoder_for(b"zstd")
    assert decoder is not None
    with pytest.raises(Undecodable):
        decoder.feed(compressor.compress(BODY) + compressor.flush())


@pytest.mark.parametrize("content_encoding", BOMBS)
def test_a_bomb_is_stopped_at_the_limit_of_one_feed(content_encoding: bytes) -> None:
    """Little in, far too much out."""
    bomb = BOMBS[content_encoding](bytes(coding.FEED_LIMIT + 2))
    decoder = decoder_for(content_encoding)
    assert decoder is not None
    with pytest.raises(DecodedTooLarge):
        decoder.feed(bomb)


@pytest.mark.parametrize("content_encoding", BOMBS)
def test_what_stays_within_the_limit_is_no_bomb(content_encoding: bytes) -> None:
    """Much out of little, and still whole."""
    body = bytes(2_000_000)
    assert decode(content_encoding, [BOMBS[content_encoding](body)]) == body


@pytest.mark.parametrize("content_encoding", BOMBS)
def test_a_slow_bomb_is_stopped_at_the_limit_of_a_body(
    content_encoding: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small its pieces are."""
    monkeypatch.setattr(coding, "TOTAL_LIMIT", 100_000)
    with pytest.raises(DecodedTooLarge):
        decode(content_encoding, bytewise(BOMBS[content_encoding](bytes(200_000))))


def test_a_bomb_of_layers_is_stopped_in_each() -> None:
    """The outer layer alone may be the bomb."""
    inner = gzip.compress(bytes(300_000_000), compresslevel=1)
    decoder = decoder_for(b"gzip, gzip")
    assert decoder is not None
    with pytest.raises(DecodedTooLarge):
        decoder.feed(gzip.compress(inner))


@pytest.mark.parametrize("content_encoding", [b"gzip", b"deflate", b"zstd"])
@pytest.mark.parametrize("rest", [b"\0\0\0", b"garbage"])
def test_what_follows_the_end_is_ignored(content_encoding: bytes, rest: bytes) -> None:
    """As gzip and browsers do."""
    coded = BOMBS[content_encoding](BODY)
    assert decode(content_encoding, [coded + rest, rest]) == BODY
    assert decode(content_encoding, bytewise(coded + rest)) == BODY


def test_what_follows_the_end_of_brotli_in_another_piece_is_ignored() -> None:
    """In the same piece the library takes it for an error."""
    assert decode(b"br", [brotli_compress(BODY), b"rest"]) == BODY


def test_an_end_that_has_not_come_is_known() -> None:
    """A body may be cut off although its message is whole."""
    for content_encoding, code in BOMBS.items():
        decoder = decoder_for(content_encoding)
        assert decoder is not None
        decoder.feed(code(BODY)[:-1])
        assert not decoder.finished


def test_many_tiny_members_take_no_more_than_their_share() -> None:
    """Thousands of members in one piece are not copied thousands of times."""
    count = 5000
    assert decode(b"gzip", [gzip.compress(b"a") * count]) == b"a" * count


def test_all_codings_of_the_web_can_be_decoded_here() -> None:
    """Brotli and zstd come with the package."""
    assert set(coding._CODINGS) == {b"gzip", b"x-gzip", b"deflate", b"br", b"zstd"}


ACCEPTED = {
    "what can be read": (b"gzip, deflate, br, zstd", b"gzip, deflate, br, zstd"),
    "its spelling": (b"GZip;q=1.0 ,br ; Q=0.5,,", b"GZip;q=1.0 ,br ; Q=0.5,,"),
    "identity": (b"identity", b"identity"),
    "nothing at all": (b"", b""),
    "one that cannot": (b"gzip, dcb, br", b"gzip, br"),
    "with weights": (b"dcz;q=1, gzip;q=0.8,identity; q=0.1", b"gzip;q=0.8, identity; q=0.1"),
    "only one that cannot": (b"compress", b"identity"),
    "nonsense": (b"gz ip, ;q=1", b"identity"),
    "any": (b"*", b"identity"),
    "any, with a weight": (b"gzip, *;q=0.1", b"gzip"),
    "any refused": (b"gzip, *;q=0", b"gzip, *;q=0"),
    "refusals stay": (b"gzip, dcb, br;q=0.000", b"gzip, br;q=0.000"),
    "refusals of what cannot be read": (b"gzip, dcb;q=0", b"gzip, dcb;q=0"),
    "nothing but refusals left": (b"dcb, identity;q=0, *;q=0", b"identity"),
    "refusals alone": (b"identity;q=0", b"identity;q=0"),
    "a weight that is small": (b"dcb;q=0.001", b"identity"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_codings_without_a_decoder_are_not_asked_for(name: str) -> None:
    """Nothing is added, and what needs no change has none."""
    value, expected = ACCEPTED[name]
    assert restrict(value) == expected
    assert restrict(expected) == expected
