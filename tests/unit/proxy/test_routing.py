"""From a request target to a relay: what is refused, what is found, what is allowed."""

import pytest

from relay.config.settings import DEFAULT_ALLOW
from relay.errors import Api, PathRefused, UnknownRelay
from relay.proxy.routing import Target, check_path, find_relay, is_probe, split_target
from relay.telemetry.operations import operation_of

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
    found = split_target(target)
    assert found == Target(*parts)
    assert found.operation == operation_of(found.rest)


@pytest.mark.parametrize(
    "target",
    [
        *(b"/", b"/relay", b"/relay/", b"/relay//v1/messages", b"/relay?a"),
        *(b"/relayed/anthropic/v1/messages", b"/Relay/anthropic/v1/messages"),
        *(b"/RELAY/anthropic/v1/messages", b"//relay/anthropic/v1/messages"),
        *(b"/%72elay/anthropic/v1/messages", b"/relay%2fanthropic/v1/messages"),
        *(b"/relay/anthropic%2fv1/messages", b"/relay/%61nthropic/v1/messages"),
        *(b"/relay/anthropic;x/v1/messages", b"/relay/a:b/v1/messages", b"/relay/a@b/v1/messages"),
        *(b"/v1/messages", b"/metrics", b"/healthz"),
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


ALLOWED: dict[Api, tuple[bytes, ...]] = {
    "anthropic": (
        *(b"/v1/messages", b"/v1/messages/", b"/v1/messages/count_tokens", b"/v1/models"),
        *(b"/v1/messages/batches/b1/results", b"/v1/models/claude-test", b"/v1/files/f1/content"),
        b"/v1/complete",
    ),
    "openai": (
        *(b"/v1/chat/completions", b"/v1/responses", b"/v1/responses/r1", b"/v1/models"),
        *(b"/v1/embeddings", b"/v1/files"),
    ),
}


@pytest.mark.parametrize(
    ("api", "rest"), [(api, rest) for api, paths in ALLOWED.items() for rest in paths]
)
def test_paths_of_the_api_are_allowed(api: Api, rest: bytes) -> None:
    """What agents call, and what is below it."""
    check_path(rest, DEFAULT_ALLOW[api])


@pytest.mark.parametrize("api", ["anthropic", "openai"])
@pytest.mark.parametrize(
    "rest",
    [
        *(b"", b"/", b"/stats", b"/dashboard", b"/admin/x", b"/debug/x", b"/settings"),
        *(b"/cache/clear", b"/metrics", b"/v1", b"/v1/", b"/v1/retrieve", b"/v1/compress"),
        *(b"/v1/telemetry", b"/v1/toin/x", b"/v1/feedback", b"/v1/usage", b"/v1/messagesx"),
        *(b"/v1/message", b"/V1/messages", b"/v1/Messages", b"//v1/messages", b"/v1//messages"),
        *(b"/v1/%6dessages", b"/v1%2fmessages", b"/v1/messages;x", b"/v1/messages%2fx"),
        *(b"/v1/filesystem", b"/v1/models-x", b"v1/messages", b"/x/v1/messages"),
        *(b"/v1/responsesx", b"/v1/chat"),
    ],
)
def test_other_paths_are_refused(rest: bytes, api: Api) -> None:
    """Headroom's own pages are not the agent's, nor is what only looks like the API."""
    with pytest.raises(PathRefused):
        check_path(rest, DEFAULT_ALLOW[api])


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
