"""Which headers cross in each direction, and how a credential goes in."""

import pytest

from relay.config import EnvSource, FurtherHeader, GrantSettings
from relay.config.built_in_grants import built_in_grant
from relay.http.grammar import Field
from relay.http.headers import serialize
from relay.http.message import RequestHead
from relay.proxy import header_policy
from relay.proxy.credential_injection import Injection
from relay.proxy.header_policy import Crossing, goes_upstream, to_agent
from tests.unit.heads import lines, request_head, response_head

API_KEY = b"sk-ant-api03-Zm9vYmFyYmF6cXV4-AAAA"
OAUTH_TOKEN = b"sk-ant-oat01-c29tZXRoaW5nZWxzZQ-BBBB"
AGENTS_OWN = "relay-agents-own-token"


def to_upstream(head: RequestHead) -> list[Field]:
    """Return what goes upstream where no grant says more of it."""
    return header_policy.to_upstream(head, Crossing(goes_upstream))


# To the upstream

NEVER_TO_UPSTREAM = [
    *("Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade"),
    *("HTTP2-Settings", "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate"),
    *("Proxy-Anything", "Authorization", "x-api-key", "api-key", "x-goog-api-key", "Cookie"),
    *("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"),
    *("X-Forwarded-Prefix", "X-Original-URL", "X-Original-Host", "X-Rewrite-URL"),
    *("x-headroom-base-url", "X-Headroom-Anything", "x-relay-call", "X-Relay-Error", "X-Relay-"),
    *("Host", "Content-Length", "Expect", "x_api_key", "Some_Name", "Content_Length"),
]


@pytest.mark.parametrize("name", NEVER_TO_UPSTREAM)
@pytest.mark.parametrize("spelling", [str, str.lower, str.upper, str.title])
def test_never_forwarded(name: str, spelling: type[str]) -> None:
    """However it is spelled, and however often it comes."""
    head = request_head(("A", "1"), (spelling(name), "x"), ("B", "2"), (spelling(name), "y"))
    assert lines(to_upstream(head)) == [("A", "1"), ("B", "2")]


@pytest.mark.parametrize(
    "name",
    [
        *("anthropic-version", "anthropic-beta", "anthropic-dangerous-direct-browser-access"),
        *("User-Agent", "Accept", "Accept-Encoding", "Content-Type", "Content-Encoding", "x-app"),
        *("X-Stainless-Retry-Count", "x-claude-code-session-id", "Idempotency-Key"),
        *("OpenAI-Organization", "traceparent", "X-Nobody-Has-Heard-Of", "X-Forward", "X-Relay"),
        *("X-Relays-Own", "Proxied", "XAuthorization", "x-api-key-id"),
    ],
)
def test_everything_else_is_forwarded(name: str) -> None:
    """What nobody has heard of yet passes through, in its own spelling."""
    for spelling in (name, name.upper()):
        assert lines(to_upstream(request_head((spelling, "value")))) == [(spelling, "value")]


def test_order_spelling_and_repetition_are_kept() -> None:
    """What crosses is what was sent, values byte for byte."""
    pairs = [("b", "1"), ("A", "2 ,x\t;\xe9"), ("B", "3"), ("a", ""), ("b", "1")]
    assert lines(to_upstream(request_head(*pairs))) == pairs
    assert lines(to_agent(response_head(*pairs))) == pairs


@pytest.mark.parametrize(
    "connection",
    ["X-Secret-Hop", "x-secret-hop", "close, X-Secret-Hop", ",X-SECRET-HOP ,", "a,\tX-Secret-Hop"],
)
def test_headers_named_by_connection_are_not_forwarded(connection: str) -> None:
    """RFC 9110 §7.6.1: they were meant for this hop."""
    pairs = (("Connection", connection), ("X-Secret-Hop", "1"), ("X-Other", "2"))
    assert lines(to_upstream(request_head(*pairs))) == [("X-Other", "2")]
    assert lines(to_agent(response_head(*pairs))) == [("X-Other", "2")]


# To the agent


@pytest.mark.parametrize(
    "name",
    [
        *("Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade"),
        *("Proxy-Authenticate", "Proxy-Connection", "Content-Length", "Set-Cookie", "Set-Cookie2"),
        *("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "x-relay-error"),
        *("X-Relay-Anything", "X-Relay-", "Alt-Svc"),
    ],
)
def test_never_passed_to_the_agent(name: str) -> None:
    """Hop-by-hop headers, cookies, framing, ways past the relay, and what it says of itself."""
    for spelling in (name, name.lower(), name.upper()):
        head = response_head(("A", "1"), (spelling, "x"), ("B", "2"))
        assert lines(to_agent(head)) == [("A", "1"), ("B", "2")]


@pytest.mark.parametrize(
    "name",
    [
        *("Server", "Date", "Content-Type", "Content-Encoding", "request-id", "retry-after"),
        *("x-should-retry", "anthropic-ratelimit-requests-remaining", "anthropic-organization-id"),
        *("x_underscored", "x-headroom-tokens-saved", "X-Nobody-Has-Heard-Of", "WWW-Authenticate"),
        *("X-Relay", "Alt-Service"),
    ],
)
def test_everything_else_is_passed_to_the_agent(name: str) -> None:
    """The upstream's headers are the upstream's."""
    assert lines(to_agent(response_head((name, "value")))) == [(name, "value")]


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
    return Injection(grant, anthropic=anthropic).apply(request_head(*pairs), (credential,))


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


SEVERAL = GrantSettings(
    name="chatgpt",
    sources=(EnvSource(env="UNUSED"),),
    header=b"authorization",
    prefix=b"Bearer ",
    field="access_token",
    further=(
        FurtherHeader(b"ChatGPT-Account-Id", "account_id"),
        FurtherHeader(b"X-B", "b", b"<", b">"),
    ),
)


def test_grant_of_several_headers_fills_each_of_them() -> None:
    """None of them comes from the agent, whatever it sends."""
    injection = Injection(SEVERAL, anthropic=False)
    head = request_head(*AGENT_SENDS, ("chatgpt-account-id", AGENTS_OWN), ("x-b", AGENTS_OWN))
    for account in (b"one", b"two"):
        assert lines(injection.apply(head, (API_KEY, account, b"b"))) == [
            ("Accept", "*/*"),
            ("authorization", f"Bearer {API_KEY.decode()}"),
            ("ChatGPT-Account-Id", account.decode()),
            ("X-B", "<b>"),
        ]


def test_pass_in_the_credentials_place_brings_nothing_of_the_rest() -> None:
    """An LLM proxy on the way gets none of it, neither the relay's nor the agent's."""
    head = request_head(("chatgpt-account-id", AGENTS_OWN))
    fields = Injection(SEVERAL, anthropic=False).apply(head, (b"pass",))
    assert lines(fields) == [("authorization", "Bearer pass")]


def test_custom_grant_adds_its_beta_to_any_api() -> None:
    """An ``anthropic-beta`` in ``add`` is merged, whatever the relay's kind."""
    grant = GrantSettings("g", (), b"X-Key", add=((b"anthropic-beta", b"x, y"),))
    fields = inject(grant, ("anthropic-beta", "y"), anthropic=False)
    assert lines(fields) == [("anthropic-beta", "y, x"), ("X-Key", API_KEY.decode())]
