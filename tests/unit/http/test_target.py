"""Request targets: which are refused, by their form, bytes and segments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import BadTarget, MethodRefused
from relay.http.target import check_target, has_dot_segment, has_segments

CLEAN = [
    *(b"/", b"/relay/anthropic/v1/messages", b"/relay/anthropic/v1/messages?beta=true"),
    *(b"/relay/anthropic/v1/files/a%2Fb", b"/relay/anthropic/v1/files/%252e%252e/x"),
    *(b"/relay/anthropic/v1/files/a%20b", b"/relay/anthropic/v1/files/%C3%A9"),
    *(b"/relay/anthropic/v1/files/...", b"/relay/anthropic/v1/files/.hidden"),
    *(b"/relay/anthropic/v1/files/..a", b"/relay/anthropic/v1/files/a.."),
    *(b"/relay/anthropic/v1/files/a.b", b"/relay/anthropic/v1/files/a;b=c"),
    b"/relay/anthropic//v1//messages//",
    *(b"/relay/anthropic/v1/models/claude@2:beta+x,y!$&'()*=~_-", b"/relay/anthropic/v1/messages?"),
    *(b"/relay/anthropic/v1/messages?a=../../b", b"/relay/anthropic/v1/messages?a=%2e%2e%2f"),
    b"/relay/anthropic/v1/messages?a=%00%zz%",
    *(
        b"/relay/anthropic/v1/messages?a?b=/c",
        b"/relay/anthropic/v1/messages?url=http://localhost:8787/",
    ),
]
UNCLEAN = [
    # Other forms
    b"http://localhost:8787/v1/messages",
    b"HTTP://relay/relay/anthropic/v1/messages",
    b"https://api.anthropic.com/",
    b"*",
    b"localhost:8787",
    b"relay/anthropic/v1/messages",
    b"?a=b",
    b"",
    # Bytes that are none of a target's
    b"/relay/anthropic/v1/messages#fragment",
    b"/relay/anthropic/v1/messages?a#b",
    b"/relay/anthropic/v1/\xc3\xa9",
    b"/relay/anthropic/v1/messages?\xff",
    b"/relay/anthropic/v1/a b",
    b"/relay/anthropic/v1/a\x00b",
    b"/relay/anthropic/v1/a\x7fb",
    b"/relay/anthropic/v1/a\tb",
    # Escapes of control bytes, and broken ones
    b"/relay/anthropic/v1/a%00b",
    b"/relay/anthropic/v1/a%0d%0aHost:b",
    b"/relay/anthropic/v1/a%0Ab",
    b"/relay/anthropic/v1/a%1fb",
    b"/relay/anthropic/v1/a%7fb",
    b"/relay/anthropic/v1/a%7Fb",
    b"/relay/anthropic/v1/a%",
    b"/relay/anthropic/v1/a%2",
    b"/relay/anthropic/v1/a%zz",
    b"/relay/anthropic/v1/a%2g",
    b"/relay/anthropic/v1/%u002e%u002e/x",
    b"/relay/anthropic/v1/%%32e%%32e/x",
]
DOTS = [
    *(b"..", b".", b"%2e%2e", b"%2E%2E", b"%2e", b".%2e", b"%2e.", b".%2E", b"..;", b"..;a=b"),
    *(b".;a", b"%2e%2e;a", b"..%3b", b"..%3Ba", b"a%2f..", b"..%2f", b"..%2Fa", b"..%5c"),
    *(b"..%5Ca", b"a%5c..", b"%2f..%2f", b"%2e%2e%2f%2e%2e", b"..\\a", b"a\\..", b"a\\b"),
]


@pytest.mark.parametrize("target", CLEAN)
def test_clean_targets_pass(target: bytes) -> None:
    """Nothing is decoded twice, and a query may hold what it likes."""
    check_target(b"POST", target)


@pytest.mark.parametrize("target", UNCLEAN)
def test_unclean_targets_are_refused(target: bytes) -> None:
    """Only a plain origin-form path is relayed."""
    with pytest.raises(BadTarget):
        check_target(b"POST", target)


@pytest.mark.parametrize("dots", DOTS)
@pytest.mark.parametrize("where", [b"/%b", b"/%b/x", b"/relay/a/%b", b"/relay/a/v1/%b/b?c=d"])
def test_dot_segments_are_refused_in_any_spelling(dots: bytes, where: bytes) -> None:
    """Whoever resolves them would reach another path than the one that was allowed."""
    with pytest.raises(BadTarget):
        check_target(b"GET", where.replace(b"%b", dots))


@given(st.lists(st.sampled_from([*DOTS[:9], b"a", b"v1", b"...", b"%2561"]), min_size=1))
def test_path_has_a_dot_segment_if_one_of_its_segments_is_one(segments: list[bytes]) -> None:
    """Wherever it stands."""
    expected = any(segment in DOTS for segment in segments)
    assert has_dot_segment(b"/" + b"/".join(segments)) is expected


@pytest.mark.parametrize("method", [b"CONNECT", b"TRACE", b"TRACK", b"connect", b"Trace"])
@pytest.mark.parametrize("target", [b"localhost:8787", b"/relay/anthropic/v1/messages", b"*"])
def test_tunnels_and_echoes_are_refused(method: bytes, target: bytes) -> None:
    """One would pass the relay by, the other would show the credential."""
    with pytest.raises(MethodRefused):
        check_target(method, target)


@pytest.mark.parametrize(
    "method", [b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"QUX"]
)
def test_other_methods_pass(method: bytes) -> None:
    """ANY method is relayed, known or not."""
    check_target(method, b"/relay/anthropic/v1/messages")


@pytest.mark.parametrize(
    ("path", "prefix", "inside"),
    [
        (b"/a/b", b"/a", True),
        (b"/a", b"/a", True),
        (b"/a/", b"/a", True),
        (b"/ab", b"/a", False),
        (b"/A", b"/a", False),
        (b"/%61", b"/a", False),
        (b"/a%2Fb", b"/a", False),
        (b"/a/b", b"/a/", True),
        (b"/x", b"/", True),
        (b"/", b"/", True),
    ],
)
def test_prefix_matches_whole_segments(path: bytes, prefix: bytes, *, inside: bool) -> None:
    """Byte for byte: what is compared is what is forwarded."""
    assert has_segments(path, prefix) is inside
