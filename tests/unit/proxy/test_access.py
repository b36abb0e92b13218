"""Who may call: Host, Origin and tokens, with clients and without."""

import hmac
from collections.abc import Sequence

import pytest

from relay.config import EnvSource, parse_listen
from relay.credentials.credential import Credential
from relay.errors import BadHost, ForeignHost, OriginRefused, TokenRefused
from relay.proxy.access import NO_CLIENT, AccessPolicy
from tests.unit.heads import request_head

TOKEN = "relay-Zk3Nw8Qx5Tb1Lm7Vc4Rj9Hd2Gf6Ys0Pa_Eu-oIiUuYt"
OTHER = "relay-Aa1Bb2Cc3Dd4Ee5Ff6Gg7Hh8Ii9Jj0Kk_Ll-mMnNoOpP"
API_KEY = "sk-ant-api03-Jr7Wm2Kx9Qv4Tz1Lb6Nc8Hd3Gf5Ys-pA0eUo"
LOCAL = "127.0.0.1"


def client(name: str, token: str) -> Credential:
    """Return a client; an empty token is none yet."""
    return Credential(name, (EnvSource(env="TOKEN"),), {"TOKEN": token})


def policy(*clients: Credential, listen: Sequence[str] = ("127.0.0.1:8484",)) -> AccessPolicy:
    """Return the policy for these clients and listen addresses."""
    return AccessPolicy([parse_listen(text) for text in listen], clients)


WITH_TOKENS = policy(client("agent", TOKEN), client("other", OTHER), client("late", ""))
WITHOUT = policy()
BOTH = pytest.mark.parametrize("access", [WITH_TOKENS, WITHOUT], ids=["tokens", "no tokens"])


# Host


@BOTH
@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["127.0.0.1", "127.0.0.1"],
        ["127.0.0.1", "evil.example"],
        ["127.0.0.1, evil.example"],
        ["127.0.0.1:8484:1"],
        ["127.0.0.1:port"],
        ["127.0.0.1:123456"],
        ["user@127.0.0.1"],
        ["127.0.0.1/path"],
        ["http://127.0.0.1"],
        ["127.0.0.1 evil"],
        ["[::1"],
        ["::1"],
        ["[::1]x"],
        ["caf\xe9"],
        [":8484"],
    ],
)
def test_host_that_is_none_is_refused(access: AccessPolicy, hosts: list[str]) -> None:
    """Missing, doubled or malformed: tokens or not."""
    with pytest.raises(BadHost):
        access.check_host(request_head(*(("Host", host) for host in hosts)), LOCAL)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8484",
        "127.0.0.1:",
        "127.9.9.9:1",
        "localhost",
        "LocalHost:8484",
        "[::1]",
        "[::1]:8484",
        "[0:0:0:0:0:0:0:1]:8484",
    ],
)
def test_loopback_is_our_own_host(host: str) -> None:
    """In any spelling and with any port."""
    WITHOUT.check_host(request_head(("Host", host)), LOCAL)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8484", "localhost.evil.example", "127.0.0.1.evil.example"),
        *("localhost.", "10.0.0.1", "0.0.0.0", "[::]", "[2001:db8::1]:8484", "2130706433"),
        *("127.1", "host.docker.internal"),
    ],
)
def test_foreign_host_is_refused_where_no_token_protects(host: str) -> None:
    """A page that rebinds its name to 127.0.0.1 still sends its name."""
    with pytest.raises(ForeignHost):
        WITHOUT.check_host(request_head(("Host", host)), LOCAL)
    WITH_TOKENS.check_host(request_head(("Host", host)), LOCAL)


def test_listen_addresses_and_the_one_called_are_our_own() -> None:
    """Whatever the listener's was, an interface's or all of them."""
    access = policy(listen=["10.84.84.1:8484", "[2001:db8::1]:8484"])
    for host in ("10.84.84.1:8484", "[2001:db8::1]:8484", "[2001:DB8::1]"):
        access.check_host(request_head(("Host", host)), LOCAL)
    access.check_host(request_head(("Host", "10.9.9.9:8484")), "10.9.9.9")
    access.check_host(request_head(("Host", "[fd00::2]:8484")), "fd00::2")
    with pytest.raises(ForeignHost):
        access.check_host(request_head(("Host", "10.9.9.9:8484")), "10.9.9.8")


# Origin


@BOTH
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://localhost:8484", "http://127.0.0.1", "null", ""]
)
def test_origin_is_always_refused(access: AccessPolicy, origin: str) -> None:
    """No web page can spend the credential, not even with a token."""
    with pytest.raises(OriginRefused):
        access.check_origin(request_head(("Host", LOCAL), ("oRiGiN", origin), ("x-api-key", TOKEN)))


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site", "", "anything"])
def test_page_of_another_site_is_refused_where_no_token_protects(site: str) -> None:
    """A simple form needs no Origin in every browser, yet says where it comes from."""
    with pytest.raises(OriginRefused):
        WITHOUT.check_origin(request_head(("Sec-Fetch-Site", site)))
    WITH_TOKENS.check_origin(request_head(("Sec-Fetch-Site", site)))


def test_every_line_on_the_site_counts() -> None:
    """A second one does not hide the first."""
    with pytest.raises(OriginRefused):
        WITHOUT.check_origin(
            request_head(("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "cross-site"))
        )


@BOTH
@pytest.mark.parametrize("site", ["none", "same-origin", "None", None])
def test_user_and_own_pages_may_call(access: AccessPolicy, site: str | None) -> None:
    """And agents, which say nothing of the kind."""
    access.check_origin(request_head(*([("Sec-Fetch-Site", site)] if site else [])))


# Tokens


@pytest.mark.parametrize(
    "pairs",
    [
        [("x-api-key", TOKEN)],
        [("X-Api-Key", TOKEN)],
        [("Authorization", f"Bearer {TOKEN}")],
        [("authorization", f"bearer {TOKEN}")],
        [("Authorization", f"BEARER   {TOKEN}")],
        [("x-api-key", TOKEN), ("Authorization", f"Bearer {TOKEN}")],
        [("x-api-key", TOKEN), ("x-api-key", TOKEN)],
        [("x-api-key", TOKEN), ("x-api-key", "")],
        [("x-api-key", ""), ("Authorization", f"Bearer {TOKEN}")],
        [("x-api-key", TOKEN), ("Authorization", "")],
        [("x-api-key", TOKEN), ("Authorization", "Bearer")],
        [("Authorization", "bearer"), ("x-api-key", TOKEN), ("authorization", "")],
    ],
)
def test_right_token_is_accepted_in_either_header_or_both(pairs: list[tuple[str, str]]) -> None:
    """It depends on the SDK's version where an API key comes; what is empty is no token."""
    assert WITH_TOKENS.admit(request_head(*pairs)) == "agent"


def test_client_is_told_by_its_token() -> None:
    """For metrics and the log."""
    assert WITH_TOKENS.admit(request_head(("x-api-key", OTHER))) == "other"


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("x-api-key", "")],
        [("x-api-key", "wrong")],
        [("x-api-key", TOKEN[:-1])],
        [("x-api-key", TOKEN + "x")],
        [("x-api-key", TOKEN.swapcase())],
        [("x-api-key", f"Bearer {TOKEN}")],
        [("x-api-key", f"{TOKEN}, {TOKEN}")],
        [("x-api-key", API_KEY)],
        [("x-api-key", "caf\xe9\xff")],
        [("x-api-key", "none")],
        [("Authorization", TOKEN)],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer ")],
        [("Authorization", "")],
        [("Authorization", f"Basic {TOKEN}")],
        [("Authorization", f"Bearer{TOKEN}")],
        [("Authorization", f"Bearer {TOKEN} x")],
        [("Authorization", f"Bearer caf\xe9{TOKEN}")],
        [("api-key", TOKEN)],
        [("x-goog-api-key", TOKEN)],
        [("Proxy-Authorization", f"Bearer {TOKEN}")],
        [("Cookie", f"x-api-key={TOKEN}")],
        [("x-api-key", TOKEN), ("Authorization", "Bearer wrong")],
        [("x-api-key", "wrong"), ("Authorization", f"Bearer {TOKEN}")],
        [("x-api-key", TOKEN), ("Authorization", "Basic d3Jvbmc=")],
        [("x-api-key", TOKEN), ("x-api-key", "wrong")],
        [("x-api-key", "wrong"), ("x-api-key", TOKEN)],
        [("x-api-key", ""), ("Authorization", "Bearer")],
        [("x-api-key", ""), ("Authorization", "Bearer wrong")],
        [("x-api-key", TOKEN), ("Authorization", "Basic")],
        [("x-api-key", TOKEN), ("Authorization", "Bearer null")],
        [("x-api-key", TOKEN), ("Authorization", f"Bearer {OTHER}")],
        [("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {OTHER}")],
    ],
)
def test_everything_presented_must_be_right_and_the_same(pairs: list[tuple[str, str]]) -> None:
    """None, a wrong one, or two that disagree."""
    with pytest.raises(TokenRefused):
        WITH_TOKENS.admit(request_head(*pairs))


def test_token_in_the_query_never_counts() -> None:
    """It would end up in logs everywhere."""
    head = request_head(target=f"/relay/anthropic/v1/messages?x-api-key={TOKEN}".encode())
    with pytest.raises(TokenRefused):
        WITH_TOKENS.admit(head)


@pytest.mark.parametrize("value", ["", " ", "None"])
def test_client_without_a_token_yet_lets_nobody_in(value: str) -> None:
    """An empty value is no password, and calls get 401 until there is one."""
    access = policy(client("agent", ""))
    for pairs in ([("x-api-key", value)], [("Authorization", f"Bearer {value}")], []):
        with pytest.raises(TokenRefused):
            access.admit(request_head(*pairs))


def test_without_clients_anybody_on_this_host_is_let_in() -> None:
    """And whatever token the agent insists on sending is ignored."""
    assert WITHOUT.admit(request_head()) == NO_CLIENT
    assert WITHOUT.admit(request_head(("x-api-key", "unused"))) == NO_CLIENT


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against every client's, whether one has matched already or not."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return hmac.compare_digest(a, b)

    class Comparing:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr("relay.proxy.access.hmac", Comparing)
    WITH_TOKENS.admit(request_head(("x-api-key", TOKEN)))
    assert [value for value, _ in compared] == [TOKEN.encode(), OTHER.encode(), b""]
    assert {token for _, token in compared} == {TOKEN.encode()}
