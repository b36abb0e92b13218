"""From a request target to a relay: what is refused, what is found, what is allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.settings import DEFAULT_ALLOW
from relay.errors import BadTarget, MethodRefused, PathRefused, UnknownRelay
from relay.http.target import check_target, has_dot_segment, has_segments
from relay.proxy.routing import Target, check_path, find_relay, is_probe, split_target
from relay.telemetry.operations import OPERATIONS, OPERATIONS_BY_API

CLEAN = [
    b"/",
    b"/relay/anthropic/v1/messages",
    b"/relay/anthropic/v1/messages?beta=true",
    b"/relay/anthropic/v1/files/a%2Fb",
    b"/relay/anthropic/v1/files/%252e%252e/x",
    b"/relay/anthropic/v1/files/a%20b",
    b"/relay/anthropic/v1/files/%C3%A9",
    b"/relay/anthropic/v1/files/...",
    b"/relay/anthropic/v1/files/.hidden",
    b"/relay/anthropic/v1/files/..a",
    b"/relay/anthropic/v1/files/a..",
    b"/relay/anthropic/v1/files/a.b",
    b"/relay/anthropic/v1/files/a;b=c",
    b"/relay/anthropic//v1//messages//",
    b"/relay/anthropic/v1/models/claude@2:beta+x,y!$&'()*=~_-",
    b"/relay/anthropic/v1/messages?",
    b"/relay/anthropic/v1/messages?a=../../b",
    b"/relay/anthropic/v1/messages?a=%2e%2e%2f",
    b"/relay/anthropic/v1/messages?a=%00%zz%",
    b"/relay/anthropic/v1/messages?a?b=/c",
    b"/relay/anthropic/v1/messages?url=http://localhost:8787/",
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
    b"..",
    b".",
    b"%2e%2e",
    b"%2E%2E",
    b"%2e",
    b".%2e",
    b"%2e.",
    b".%2E",
    b"..;",
    b"..;a=b",
    b".;a",
    b"%2e%2e;a",
    b"..%3b",
    b"..%3Ba",
    b"a%2f..",
    b"..%2f",
    b"..%2Fa",
    b"..%5c",
    b"..%5Ca",
    b"a%5c..",
    b"%2f..%2f",
    b"%2e%2e%2f%2e%2e",
    b"..\\a",
    b"a\\..",
    b"a\\b",
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


# Relays


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        (b"/relay/a", ("a", b"", b"")),
        (b"/relay/a/", ("a", b"/", b"")),
        (b"/relay/a?b", ("a", b"", b"?b")),
        (b"/relay/a/v1/messages", ("a", b"/v1/messages", b"")),
        (b"/relay/a/v1/messages?", ("a", b"/v1/messages", b"?")),
        (b"/relay/a/v1/m%2Fx?b=%2e&c?d", ("a", b"/v1/m%2Fx", b"?b=%2e&c?d")),
        (b"/relay/A-b_c.d9/x", ("A-b_c.d9", b"/x", b"")),
        (b"/relay/a//x", ("a", b"//x", b"")),
    ],
)
def test_targets_are_split_byte_for_byte(target: bytes, parts: tuple[str, bytes, bytes]) -> None:
    """What follows the relay's name goes upstream exactly as it came."""
    assert split_target(target) == Target(*parts)


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/relay",
        b"/relay/",
        b"/relay//v1/messages",
        b"/relay?a",
        b"/relayed/anthropic/v1/messages",
        b"/Relay/anthropic/v1/messages",
        b"/RELAY/anthropic/v1/messages",
        b"//relay/anthropic/v1/messages",
        b"/%72elay/anthropic/v1/messages",
        b"/relay%2fanthropic/v1/messages",
        b"/relay/anthropic%2fv1/messages",
        b"/relay/%61nthropic/v1/messages",
        b"/relay/anthropic;x/v1/messages",
        b"/relay/a:b/v1/messages",
        b"/relay/a@b/v1/messages",
        b"/v1/messages",
        b"/metrics",
        b"/healthz",
    ],
)
def test_relay_is_named_in_exactly_one_spelling(target: bytes) -> None:
    """Another spelling names nothing, even if some server took it for the same."""
    with pytest.raises(UnknownRelay):
        split_target(target)


def test_relay_is_found_by_its_name_alone() -> None:
    """Byte for byte: not by its case, not by a part of it."""
    relays = {"anthropic": 1, "openai": 2}
    assert find_relay(Target("openai", b"/v1", b""), relays) == 2
    for name in ("Anthropic", "anthropi", "anthropic.", "none"):
        with pytest.raises(UnknownRelay):
            find_relay(Target(name, b"/v1", b""), relays)


# Probes


@pytest.mark.parametrize(
    ("method", "rest", "probe"),
    [
        (b"HEAD", b"", True),
        (b"HEAD", b"/", True),
        (b"GET", b"", False),
        (b"GET", b"/", False),
        (b"POST", b"", False),
        (b"HEAD", b"/api/hello", True),
        (b"GET", b"/api/hello", True),
        (b"POST", b"/api/hello", False),
        (b"get", b"/api/hello", False),
        (b"GET", b"/api/hello/", False),
        (b"GET", b"/api/helloo", False),
        (b"GET", b"//api/hello", False),
        (b"HEAD", b"/v1/messages", False),
        (b"HEAD", b"/v1/messages/api/hello", False),
    ],
)
def test_probes_are_those_of_claude_code_and_no_others(
    method: bytes, rest: bytes, *, probe: bool
) -> None:
    """They are answered without a token, so nothing else may pass for one."""
    assert is_probe(method, Target("anthropic", rest, b"")) is probe
    assert is_probe(method, Target("anthropic", rest, b"?a=b")) is probe


# Allowed paths


@pytest.mark.parametrize(
    "rest",
    [
        b"/v1/messages",
        b"/v1/messages/",
        b"/v1/messages/count_tokens",
        b"/v1/messages/batches/b1/results",
        b"/v1/models",
        b"/v1/models/claude-test",
        b"/v1/files/f1/content",
        b"/v1/complete",
    ],
)
def test_paths_of_the_anthropic_api_are_allowed(rest: bytes) -> None:
    """What agents call, and what is below it."""
    check_path(rest, DEFAULT_ALLOW["anthropic"])


@pytest.mark.parametrize(
    "rest",
    [
        b"/v1/chat/completions",
        b"/v1/responses",
        b"/v1/responses/r1",
        b"/v1/models",
        b"/v1/embeddings",
        b"/v1/files",
    ],
)
def test_paths_of_the_openai_api_are_allowed(rest: bytes) -> None:
    """What agents call, and what is below it."""
    check_path(rest, DEFAULT_ALLOW["openai"])


@pytest.mark.parametrize("api", ["anthropic", "openai"])
@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"/",
        b"/stats",
        b"/dashboard",
        b"/admin/x",
        b"/debug/x",
        b"/settings",
        b"/cache/clear",
        b"/metrics",
        b"/v1",
        b"/v1/",
        b"/v1/retrieve",
        b"/v1/compress",
        b"/v1/telemetry",
        b"/v1/toin/x",
        b"/v1/feedback",
        b"/v1/usage",
        b"/v1/messagesx",
        b"/v1/message",
        b"/V1/messages",
        b"/v1/Messages",
        b"//v1/messages",
        b"/v1//messages",
        b"/v1/%6dessages",
        b"/v1%2fmessages",
        b"/v1/messages;x",
        b"/v1/messages%2fx",
        b"/v1/filesystem",
        b"/v1/models-x",
        b"v1/messages",
        b"/x/v1/messages",
        b"/v1/responsesx",
        b"/v1/chat",
    ],
)
def test_other_paths_are_refused(rest: bytes, api: str) -> None:
    """Headroom's own pages are not the agent's, nor is what only looks like the API."""
    with pytest.raises(PathRefused):
        check_path(rest, DEFAULT_ALLOW["openai" if api == "openai" else "anthropic"])


def test_paths_of_one_api_are_refused_on_a_relay_of_the_other() -> None:
    """Headroom would send them elsewhere, credential and all."""
    with pytest.raises(PathRefused):
        check_path(b"/v1/responses", DEFAULT_ALLOW["anthropic"])
    with pytest.raises(PathRefused):
        check_path(b"/v1/messages", DEFAULT_ALLOW["openai"])


def test_nothing_is_allowed_without_a_prefix() -> None:
    """An empty list allows no path at all."""
    with pytest.raises(PathRefused):
        check_path(b"/v1/messages", ())


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


# Operations


@pytest.mark.parametrize(
    ("rest", "operation"),
    [
        (b"/v1/messages", "messages"),
        (b"/v1/messages/", "messages"),
        (b"/v1/messages/count_tokens", "count_tokens"),
        (b"/v1/messages/count_tokensx", "messages"),
        (b"/v1/messages/batches", "batches"),
        (b"/v1/messages/batches/b1/results", "batches"),
        (b"/v1/models", "models"),
        (b"/v1/models/claude-test", "models"),
        (b"/v1/files/f1", "files"),
        (b"/v1/chat/completions", "chat_completions"),
        (b"/v1/responses/r1", "responses"),
        (b"/v1/embeddings", "embeddings"),
        (b"/v1/complete", "other"),
        (b"/v1/messagesx", "other"),
        (b"/v1", "other"),
        (b"", "other"),
        (b"/V1/messages", "other"),
    ],
)
def test_operation_is_told_by_the_path(rest: bytes, operation: str) -> None:
    """The longest match counts; what is not known is ``other``."""
    assert Target("a", rest, b"?x").operation == operation


@pytest.mark.parametrize(
    ("rest", "is_endpoint", "is_billed"),
    [
        (b"/v1/messages", True, True),
        (b"/v1/messages/x", False, True),
        (b"/v1/messages/", False, True),
        (b"/v1/responses", True, True),
        (b"/v1/responses/compact", False, True),
        (b"/v1/responses/resp_1/cancel", False, True),
        (b"/v1/responses/input_tokens", False, False),
        (b"/v1/responses/input_tokens/x", False, True),
        (b"/v1/chat/completions", True, True),
        (b"/v1/chat/completions/chatcmpl_1", False, False),
        (b"/v1/chat/completions/chatcmpl_1/x", False, True),
    ],
)
def test_path_tells_whether_a_call_may_cost(
    rest: bytes,
    is_endpoint: bool,
    is_billed: bool,  # what is to be told
) -> None:
    """What only counts tokens is free, and so is a change to what was paid for."""
    target = Target("a", rest, b"")
    assert (target.is_endpoint, target.is_billed) == (is_endpoint, is_billed)


def test_every_operation_is_one_of_an_api() -> None:
    """And both have what is none of theirs."""
    assert set().union(*OPERATIONS_BY_API.values()) == set(OPERATIONS)
    assert all("other" in operations for operations in OPERATIONS_BY_API.values())


def test_operations_are_a_closed_set() -> None:
    """They are the label values that dashboards know."""
    assert set(OPERATIONS) == {
        "messages",
        "count_tokens",
        "batches",
        "models",
        "files",
        "chat_completions",
        "responses",
        "embeddings",
        "other",
    }
