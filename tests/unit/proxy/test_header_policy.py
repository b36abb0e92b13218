"""Which headers cross in each direction, and how a credential goes in."""

import pytest

from relay.config import EnvSource, GrantSettings
from relay.config.settings import built_in_grant
from relay.http.grammar import Field
from relay.http.headers import (
    field,
    list_items,
    merge_list,
    named_by_connection,
    serialize,
    wants_close,
)
from relay.http.message import RequestHead, ResponseHead
from relay.proxy.header_policy import Injection, to_agent, to_upstream

API_KEY = b"sk-ant-api03-Zm9vYmFyYmF6cXV4-AAAA"
OAUTH_TOKEN = b"sk-ant-oat01-c29tZXRoaW5nZWxzZQ-BBBB"
AGENTS_OWN = "relay-agents-own-token"


def fields_of(*pairs: tuple[str, str]) -> tuple[Field, ...]:
    """Return fields with these names and values."""
    return tuple(field(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs)


def request(*pairs: tuple[str, str], minor: int = 1) -> RequestHead:
    """Return a request's head with these fields."""
    return RequestHead(
        method=b"POST",
        target=b"/",
        minor=minor,
        fields=fields_of(*pairs),
        length=None,
        chunked=False,
    )


def response(*pairs: tuple[str, str], minor: int = 1) -> ResponseHead:
    """Return a response's head with these fields."""
    return ResponseHead(
        status=200, reason=b"OK", minor=minor, fields=fields_of(*pairs), length=None, chunked=False
    )


def lines(fields: list[Field]) -> list[tuple[str, str]]:
    """Return fields as pairs of text."""
    return [(f.name.decode("latin-1"), f.value.decode("latin-1")) for f in fields]


# To the upstream

NEVER_TO_UPSTREAM = [
    "Connection",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "HTTP2-Settings",
    "Proxy-Connection",
    "Proxy-Authorization",
    "Proxy-Authenticate",
    "Proxy-Anything",
    "Authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "Cookie",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Prefix",
    "X-Original-URL",
    "X-Original-Host",
    "X-Rewrite-URL",
    "x-headroom-base-url",
    "X-Headroom-Anything",
    "x-relay-call",
    "X-Relay-Error",
    "X-Relay-",
    "Host",
    "Content-Length",
    "Expect",
    "x_api_key",
    "Some_Name",
    "Content_Length",
]


@pytest.mark.parametrize("name", NEVER_TO_UPSTREAM)
@pytest.mark.parametrize("spelling", [str, str.lower, str.upper, str.title])
def test_never_forwarded(name: str, spelling: type[str]) -> None:
    """However it is spelled, and however often it comes."""
    head = request(("A", "1"), (spelling(name), "x"), ("B", "2"), (spelling(name), "y"))
    assert lines(to_upstream(head)) == [("A", "1"), ("B", "2")]


@pytest.mark.parametrize(
    "name",
    [
        "anthropic-version",
        "anthropic-beta",
        "anthropic-dangerous-direct-browser-access",
        "User-Agent",
        "Accept",
        "Accept-Encoding",
        "Content-Type",
        "Content-Encoding",
        "x-app",
        "X-Stainless-Retry-Count",
        "x-claude-code-session-id",
        "Idempotency-Key",
        "OpenAI-Organization",
        "traceparent",
        "X-Nobody-Has-Heard-Of",
        "X-Forward",
        "X-Relay",
        "X-Relays-Own",
        "Proxied",
        "XAuthorization",
        "x-api-key-id",
    ],
)
def test_everything_else_is_forwarded(name: str) -> None:
    """What nobody has heard of yet passes through, in its own spelling."""
    for spelling in (name, name.upper()):
        assert lines(to_upstream(request((spelling, "value")))) == [(spelling, "value")]


def test_order_spelling_and_repetition_are_kept() -> None:
    """What crosses is what was sent, values byte for byte."""
    pairs = [("b", "1"), ("A", "2 ,x\t;\xe9"), ("B", "3"), ("a", ""), ("b", "1")]
    assert lines(to_upstream(request(*pairs))) == pairs
    assert lines(to_agent(response(*pairs))) == pairs


@pytest.mark.parametrize(
    "connection",
    ["X-Secret-Hop", "x-secret-hop", "close, X-Secret-Hop", ",X-SECRET-HOP ,", "a,\tX-Secret-Hop"],
)
def test_headers_named_by_connection_are_not_forwarded(connection: str) -> None:
    """RFC 9110 §7.6.1: they were meant for this hop."""
    pairs = (("Connection", connection), ("X-Secret-Hop", "1"), ("X-Other", "2"))
    assert lines(to_upstream(request(*pairs))) == [("X-Other", "2")]
    assert lines(to_agent(response(*pairs))) == [("X-Other", "2")]


def test_every_connection_line_counts() -> None:
    """Several lines are one list."""
    head = request(("Connection", "keep-alive, X-A"), ("connection", "X-B"))
    assert named_by_connection(head) == {b"keep-alive", b"x-a", b"x-b"}


# To the agent


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Proxy-Authenticate",
        "Proxy-Connection",
        "Content-Length",
        "Set-Cookie",
        "Set-Cookie2",
        "Access-Control-Allow-Origin",
        "Access-Control-Allow-Credentials",
        "x-relay-error",
        "X-Relay-Anything",
        "X-Relay-",
        "Alt-Svc",
    ],
)
def test_never_passed_to_the_agent(name: str) -> None:
    """Hop-by-hop headers, cookies, framing, ways past the relay, and what it says of itself."""
    for spelling in (name, name.lower(), name.upper()):
        head = response(("A", "1"), (spelling, "x"), ("B", "2"))
        assert lines(to_agent(head)) == [("A", "1"), ("B", "2")]


@pytest.mark.parametrize(
    "name",
    [
        "Server",
        "Date",
        "Content-Type",
        "Content-Encoding",
        "request-id",
        "retry-after",
        "x-should-retry",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-organization-id",
        "x_underscored",
        "x-headroom-tokens-saved",
        "X-Nobody-Has-Heard-Of",
        "WWW-Authenticate",
        "X-Relay",
        "Alt-Service",
    ],
)
def test_everything_else_is_passed_to_the_agent(name: str) -> None:
    """The upstream's headers are the upstream's."""
    assert lines(to_agent(response((name, "value")))) == [(name, "value")]


# Lists


@pytest.mark.parametrize(
    ("value", "items"),
    [
        (b"", []),
        (b" , ,", []),
        (b"a", [b"a"]),
        (b"a,b", [b"a", b"b"]),
        (b" a\t,, b c ", [b"a", b"b c"]),
    ],
)
def test_list_items_are_what_stands_between_commas(value: bytes, items: list[bytes]) -> None:
    """Empty elements do not count (RFC 9110 §5.6.1)."""
    assert list_items(value) == items


def test_one_line_that_lacks_nothing_stays_as_it_is() -> None:
    """Byte for byte, odd spacing included."""
    fields = [*fields_of(("A", "1"), ("Anthropic-Beta", "x ,y,oauth"))]
    assert merge_list(fields, b"anthropic-beta") == fields
    assert merge_list(fields, b"anthropic-beta", [b"oauth"]) == fields


def test_several_lines_become_one_in_the_place_of_the_first() -> None:
    """Headroom keeps only the first line; nothing of the others may be lost."""
    pairs = (("A", "1"), ("Anthropic-Beta", "x,y"), ("B", "2"), ("anthropic-beta", "z"), ("C", "3"))
    assert lines(merge_list([*fields_of(*pairs)], b"anthropic-beta")) == [
        ("A", "1"),
        ("anthropic-beta", "x,y, z"),
        ("B", "2"),
        ("C", "3"),
    ]


def test_missing_elements_are_added_once() -> None:
    """To a line that is there, or on a line of their own."""
    one = [*fields_of(("anthropic-beta", "x"), ("A", "1"))]
    assert lines(merge_list(one, b"anthropic-beta", [b"y"])) == [
        ("anthropic-beta", "x, y"),
        ("A", "1"),
    ]
    none = [*fields_of(("A", "1"))]
    assert lines(merge_list(none, b"anthropic-beta", [b"y"])) == [
        ("A", "1"),
        ("anthropic-beta", "y"),
    ]
    assert merge_list(none, b"anthropic-beta") == none


def test_element_is_present_only_as_a_whole() -> None:
    """A longer name that contains it is another one."""
    fields = [*fields_of(("anthropic-beta", "oauth-2025-04-20-extended"))]
    merged = merge_list(fields, b"anthropic-beta", [b"oauth-2025-04-20"])
    assert lines(merged) == [("anthropic-beta", "oauth-2025-04-20-extended, oauth-2025-04-20")]


def test_empty_line_leaves_no_empty_element() -> None:
    """A list that begins with a comma would puzzle a simple reader."""
    fields = [*fields_of(("anthropic-beta", ""))]
    assert lines(merge_list(fields, b"anthropic-beta", [b"y"])) == [("anthropic-beta", "y")]


def test_fields_are_serialized_as_lines() -> None:
    """Name, colon, space, value, line end."""
    assert serialize(fields_of(("A-b", "c d"), ("E", ""))) == b"A-b: c d\r\nE: \r\n"
    assert serialize([]) == b""


@pytest.mark.parametrize(
    ("connection", "minor", "closes"),
    [
        (None, 1, False),
        ("close", 1, True),
        ("Close", 1, True),
        ("keep-alive, CLOSE", 1, True),
        ("keep-alive", 1, False),
        ("closed", 1, False),
        (None, 0, True),
        ("keep-alive", 0, True),
    ],
)
def test_sender_that_ends_the_connection_is_recognised(
    connection: str | None, minor: int, *, closes: bool
) -> None:
    """``close`` says so, and HTTP/1.0 means it."""
    pairs = [("Connection", connection)] if connection else []
    assert wants_close(request(*pairs, minor=minor)) is closes
    assert wants_close(response(*pairs, minor=minor)) is closes


# Grants

AGENT_SENDS = (
    ("Host", "relay"),
    ("Authorization", f"Bearer {AGENTS_OWN}"),
    ("x-api-key", AGENTS_OWN),
    ("X-Api-Key", AGENTS_OWN),
    ("api-key", AGENTS_OWN),
    ("x-goog-api-key", AGENTS_OWN),
    ("Cookie", f"token={AGENTS_OWN}"),
    ("Connection", "x-api-key, authorization, anthropic-version, anthropic-beta"),
    ("Accept", "*/*"),
)


def inject(grant: GrantSettings, *pairs: tuple[str, str], anthropic: bool = True) -> list[Field]:
    """Return the fields that go upstream with this grant's credential."""
    credential = OAUTH_TOKEN if grant.name == "claude" else API_KEY
    return Injection(grant, anthropic=anthropic).apply(request(*pairs), credential)


def built_in(name: str) -> GrantSettings:
    """Return a built-in grant with its defaults."""
    return built_in_grant(name, None, ("/run/secrets",))


def test_anthropic_grant_sends_an_api_key() -> None:
    """``x-api-key`` with the value, and a version where the agent sent none."""
    assert lines(inject(built_in("anthropic"), *AGENT_SENDS)) == [
        ("Accept", "*/*"),
        ("anthropic-version", "2023-06-01"),
        ("x-api-key", API_KEY.decode()),
    ]


def test_claude_grant_sends_a_bearer_and_its_beta() -> None:
    """``Authorization`` with the token, and the beta that the API asks for."""
    assert lines(inject(built_in("claude"), *AGENT_SENDS)) == [
        ("Accept", "*/*"),
        ("anthropic-beta", "oauth-2025-04-20"),
        ("anthropic-version", "2023-06-01"),
        ("Authorization", f"Bearer {OAUTH_TOKEN.decode()}"),
    ]


def test_openai_grant_sends_a_bearer_and_nothing_of_anthropics() -> None:
    """Neither version nor beta: the API is another one."""
    assert lines(inject(built_in("openai"), *AGENT_SENDS, anthropic=False)) == [
        ("Accept", "*/*"),
        ("Authorization", f"Bearer {API_KEY.decode()}"),
    ]


@pytest.mark.parametrize("name", ["anthropic", "claude", "openai"])
def test_there_is_exactly_one_credential_upstream(name: str) -> None:
    """Nothing of the agent's own token goes along, whatever it named in Connection."""
    fields = inject(built_in(name), *AGENT_SENDS, anthropic=name != "openai")
    credentials = [f for f in fields if f.key in (b"authorization", b"x-api-key", b"api-key")]
    assert len(credentials) == 1
    assert AGENTS_OWN.encode() not in serialize(fields)


def test_version_of_the_agent_is_kept() -> None:
    """The relay speaks up only where the agent said nothing."""
    fields = inject(built_in("anthropic"), ("Anthropic-Version", "2099-01-01"))
    assert lines(fields)[:-1] == [("Anthropic-Version", "2099-01-01")]


@pytest.mark.parametrize("name", ["anthropic", "claude"])
def test_betas_of_the_agent_become_one_line(name: str) -> None:
    """On every Anthropic relay, and with the OAuth beta exactly once."""
    pairs = (("anthropic-beta", "a,b"), ("Anthropic-Beta", "oauth-2025-04-20"))
    fields = inject(built_in(name), *pairs)
    betas = [f.value for f in fields if f.key == b"anthropic-beta"]
    assert betas == [b"a,b, oauth-2025-04-20"]


def test_single_beta_line_of_the_agent_is_untouched() -> None:
    """With an API key nothing has to be added."""
    fields = inject(built_in("anthropic"), ("anthropic-beta", "a ,b"))
    assert ("anthropic-beta", "a ,b") in lines(fields)


def test_betas_of_an_openai_relay_are_not_touched() -> None:
    """They mean nothing there, and are passed as they came."""
    pairs = (("anthropic-beta", "a"), ("anthropic-beta", "b"))
    fields = inject(built_in("openai"), *pairs, anthropic=False)
    assert lines(fields)[:2] == list(pairs)


def test_custom_grant_goes_in_as_it_says() -> None:
    """Header, format, what to remove and what to add."""
    grant = GrantSettings(
        name="gateway",
        sources=(EnvSource(env="GATEWAY_KEY"),),
        header=b"X-Gateway-Key",
        prefix=b"Key ",
        suffix=b";v=1",
        remove=frozenset({b"x-remove-me"}),
        add=((b"X-Team", b"agents"), (b"Anthropic-Beta", b"gateway-beta")),
    )
    pairs = (
        ("x-gateway-key", AGENTS_OWN),
        ("X-Remove-Me", "1"),
        ("x-team", "mine"),
        ("anthropic-beta", "a"),
        ("anthropic-version", "2023-06-01"),
        ("X-Kept", "2"),
    )
    assert lines(inject(grant, *pairs)) == [
        ("anthropic-beta", "a, gateway-beta"),
        ("anthropic-version", "2023-06-01"),
        ("X-Kept", "2"),
        ("X-Team", "agents"),
        ("X-Gateway-Key", f"Key {API_KEY.decode()};v=1"),
    ]


def test_custom_grant_adds_its_beta_to_any_api() -> None:
    """An ``anthropic-beta`` in ``add`` is merged, whatever the relay's kind."""
    grant = GrantSettings("g", (), b"X-Key", add=((b"anthropic-beta", b"x, y"),))
    fields = inject(grant, ("anthropic-beta", "y"), anthropic=False)
    assert lines(fields) == [("anthropic-beta", "y, x"), ("X-Key", API_KEY.decode())]
