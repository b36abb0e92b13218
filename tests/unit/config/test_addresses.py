"""Addresses in agent.yaml: where to forward, and where to listen."""

import pytest

from relay.config import ListenAddress, UpstreamAddress, parse_listen
from relay.config.addresses import parse_upstream

SECRET = "sk-ant-api03-Jr7Wm2Kx9Qv4Tz1Lb6Nc8Hd3Gf5Ys-pA0eUo"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("http://localhost:8787", ("http", "localhost", 8787, b"")),
        ("http://localhost:8787/", ("http", "localhost", 8787, b"")),
        ("http://localhost", ("http", "localhost", 80, b"")),
        ("http://localhost:", ("http", "localhost", 80, b"")),
        ("https://api.anthropic.com", ("https", "api.anthropic.com", 443, b"")),
        ("https://api.anthropic.com:443/", ("https", "api.anthropic.com", 443, b"")),
        ("HTTP://LocalHost:8787", ("http", "localhost", 8787, b"")),
        ("http://[::1]:8787", ("http", "::1", 8787, b"")),
        ("https://[2001:db8::1]", ("https", "2001:db8::1", 443, b"")),
        ("http://127.0.0.1:1", ("http", "127.0.0.1", 1, b"")),
        ("http://llm_proxy-1.internal.:65535", ("http", "llm_proxy-1.internal.", 65535, b"")),
        ("http://h/a/b%20c", ("http", "h", 80, b"/a/b%20c")),
        ("http://h/a/b//", ("http", "h", 80, b"/a/b")),
    ],
)
def test_upstream_urls_are_split(text: str, parts: tuple[str, str, int, bytes]) -> None:
    """Scheme, host, port and a path prefix without its last slash."""
    assert parse_upstream(text) == UpstreamAddress(*parts)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "must begin with http:// or https://"),
        ("localhost:8787", "must begin with http:// or https://"),
        ("//localhost:8787", "must begin with http:// or https://"),
        ("ftp://localhost", "must begin with http:// or https://"),
        ("ws://localhost", "must begin with http:// or https://"),
        (SECRET, "must begin with http:// or https://"),
        ("http://", "needs a host"),
        ("http:///v1", "needs a host"),
        ("http://:8787", "needs a host"),
        ("http://localhost:0", "valid port"),
        ("http://localhost:65536", "is not a valid URL"),
        ("http://localhost:-1", "is not a valid URL"),
        (f"http://localhost:{SECRET}", "is not a valid URL"),
        ("http://[::1", "is not a valid URL"),
        ("http://[::zz]", "is not a valid URL|has a malformed IPv6 address"),
        ("http://[v1.a:b]", "is not a valid URL|has a malformed IPv6 address"),
        ("http://@localhost", "must not hold a user or password"),
        ("http://user@localhost", "must not hold a user or password"),
        (f"http://user:{SECRET}@localhost", "must not hold a user or password"),
        (f"http://{SECRET}@localhost", "must not hold a user or password"),
        ("http://localhost?", "must not have a query or a fragment"),
        (f"http://localhost/?key={SECRET}", "must not have a query or a fragment"),
        ("http://localhost/#", "must not have a query or a fragment"),
        ("http://local host", "has a malformed host name"),
        ("http://-localhost", "has a malformed host name"),
        ("http://b\xfccher.example", "has a malformed host name"),
        ("http://" + "a" * 300, "has a malformed host name"),
        ("http://h/a/../b", "has a path that cannot be forwarded"),
        ("http://h/%2e%2e", "has a path that cannot be forwarded"),
        ("http://h/a b", "has a path that cannot be forwarded"),
        ("http://h/\xe4", "has a path that cannot be forwarded"),
        ("http://h/a%zz", "has a path that cannot be forwarded"),
    ],
)
def test_other_urls_are_refused_with_what_would_be_right(text: str, remedy: str) -> None:
    """The value is not repeated: it may be a secret in the wrong place."""
    with pytest.raises(ValueError, match=remedy) as caught:
        parse_upstream(text)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "authority", "tls"),
    [
        ("http://localhost:8787", b"localhost:8787", False),
        ("http://localhost:80", b"localhost", False),
        ("http://localhost:443", b"localhost:443", False),
        ("https://h:443", b"h", True),
        ("https://h:80", b"h:80", True),
        ("http://[::1]:8787", b"[::1]:8787", False),
        ("https://[::1]/x", b"[::1]", True),
    ],
)
def test_host_header_leaves_out_a_default_port(text: str, authority: bytes, *, tls: bool) -> None:
    """RFC 9110 §7.2; and an IPv6 address stands in brackets."""
    address = parse_upstream(text)
    assert address.authority == authority
    assert address.tls is tls


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://localhost:8787/", "http://localhost:8787"),
        ("https://h:443/a/", "https://h/a"),
        ("http://[::1]:1/a", "http://[::1]:1/a"),
    ],
)
def test_upstream_is_shown_as_a_url(text: str, shown: str) -> None:
    """As ``relay check`` prints it."""
    assert str(parse_upstream(text)) == shown


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:8484", "127.0.0.1", 8484, True),
        ("127.8.8.8:1", "127.8.8.8", 1, True),
        ("localhost:8484", "127.0.0.1", 8484, True),
        ("[::1]:8484", "::1", 8484, True),
        ("lo:8484", "lo", 8484, True),
        ("0.0.0.0:8484", "0.0.0.0", 8484, False),
        ("[::]:8484", "::", 8484, False),
        ("10.84.84.1:65535", "10.84.84.1", 65535, False),
        ("[2001:db8::1]:0", "2001:db8::1", 0, False),
        ("docker0:8484", "docker0", 8484, False),
        ("br-0a1b2c3d4e5f:8484", "br-0a1b2c3d4e5f", 8484, False),
        ("eth0.100:8484", "eth0.100", 8484, False),
    ],
)
def test_listen_addresses_are_split(text: str, host: str, port: int, *, loopback: bool) -> None:
    """An address, ``localhost`` or the name of an interface, and a port."""
    address = parse_listen(text)
    assert address == ListenAddress(host, port)
    assert address.is_loopback is loopback


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "must be host:port"),
        ("8484", "must be host:port"),
        ("127.0.0.1", "must be host:port"),
        ("127.0.0.1:", "must be host:port"),
        ("127.0.0.1:http", "must be host:port"),
        ("127.0.0.1:-1", "must be host:port"),
        ("127.0.0.1:65536", "must be host:port"),
        ("127.0.0.1:\xb2", "must be host:port"),
        ("127.0.0.1:84 84", "must be host:port"),
        (f"127.0.0.1:{SECRET}", "must be host:port"),
        (SECRET, "must be host:port"),
        (":8484", "needs an IP address or an interface's name"),
        ("127.0.0:8484", "needs an IP address or an interface's name"),
        ("127.0.0.256:8484", "needs an IP address or an interface's name"),
        ("an-overlong-interface:8484", "needs an IP address or an interface's name"),
        ("eth 0:8484", "needs an IP address or an interface's name"),
        ("eth/0:8484", "needs an IP address or an interface's name"),
        (f"{SECRET}:8484", "needs an IP address or an interface's name"),
        ("::1:8484", "needs square brackets"),
        ("http://localhost:8484", "needs square brackets"),
        ("[127.0.0.1]:8484", "has a malformed address"),
        ("[]:8484", "has a malformed address"),
        ("[fe80::1%eth0]:8484", "needs an IP address or an interface's name"),
        ("[::zz]:8484", "needs an IP address or an interface's name"),
    ],
)
def test_other_listen_addresses_are_refused_with_what_would_be_right(
    text: str, remedy: str
) -> None:
    """The value is not repeated: it may be a secret in the wrong place."""
    with pytest.raises(ValueError, match=remedy) as caught:
        parse_listen(text)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("text", ["127.0.0.1:8484", "[::1]:8484", "docker0:8484"])
def test_listen_address_is_shown_as_it_is_written(text: str) -> None:
    """As the log and ``relay check`` print it."""
    assert str(parse_listen(text)) == text


LOOPS = [
    ("http://localhost:8484", "127.0.0.1:8484"),
    ("http://LOCALHOST.:8484", "127.0.0.1:8484"),
    ("http://x.localhost:8484", "127.0.0.1:8484"),
    ("https://127.0.0.1:8484/path", "127.0.0.1:8484"),
    ("http://127.0.0.1", "127.0.0.1:80"),
    ("http://0.0.0.0:8484", "127.0.0.1:8484"),
    ("http://[::1]:8484", "[::1]:8484"),
    ("http://[0:0:0:0:0:0:0:1]:8484", "[::1]:8484"),
    ("http://localhost:8484", "[::1]:8484"),
    ("http://[::ffff:127.0.0.1]:8484", "127.0.0.1:8484"),
    ("http://localhost:8484", "0.0.0.0:8484"),
    ("http://127.0.0.5:8484", "0.0.0.0:8484"),
    ("http://[::1]:8484", "[::]:8484"),
    ("http://10.84.84.1:8484", "10.84.84.1:8484"),
    ("http://localhost:8484", "lo:8484"),
    ("http://127.0.0.1:8484", "lo:8484"),
]
NO_LOOPS = [
    ("http://localhost:8787", "127.0.0.1:8484"),
    ("http://127.0.0.2:8484", "127.0.0.1:8484"),
    ("http://[::1]:8484", "127.0.0.1:8484"),
    ("http://[::1]:8484", "0.0.0.0:8484"),
    ("http://127.0.0.1:8484", "[::]:8484"),
    ("http://10.84.84.1:8484", "127.0.0.1:8484"),
    ("http://10.84.84.1:8484", "0.0.0.0:8484"),
    ("http://localhost:8484", "10.84.84.1:8484"),
    ("http://headroom:8484", "127.0.0.1:8484"),
    ("http://headroom:8484", "0.0.0.0:8484"),
    ("http://localhost.example:8484", "127.0.0.1:8484"),
    ("http://localhost:8484", "docker0:8484"),
    ("http://127.0.0.1:8484", "docker0:8484"),
]


@pytest.mark.parametrize(("url", "listener"), LOOPS)
def test_url_of_a_listener_is_known(url: str, listener: str) -> None:
    """In every spelling of loopback, by the port that counts."""
    assert parse_listen(listener).is_reached_at(parse_upstream(url))


@pytest.mark.parametrize(("url", "listener"), NO_LOOPS)
def test_url_of_another_place_is_not_taken_for_a_listener(url: str, listener: str) -> None:
    """What only a resolver or the kernel knows is not guessed."""
    assert not parse_listen(listener).is_reached_at(parse_upstream(url))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost", True),
        ("http://LocalHost.:1", True),
        ("http://headroom.localhost", True),
        ("http://127.9.9.9", True),
        ("http://[::1]", True),
        ("http://[::ffff:127.0.0.1]", True),
        ("http://0.0.0.0", True),
        ("http://headroom", False),
        ("http://10.84.86.2", False),
        ("http://[fe80::1]", False),
    ],
)
def test_upstream_on_loopback_is_known(url: str, *, expected: bool) -> None:
    """As far as the name tells."""
    assert parse_upstream(url).is_loopback is expected


@pytest.mark.parametrize(
    ("url", "other", "expected"),
    [
        ("http://h:1", "http://h:1", True),
        ("http://h:1", "http://H.:1/", True),
        ("http://h:443", "https://h", True),
        ("http://h", "http://h/a", True),
        ("http://h/a", "http://h/a/b", True),
        ("http://h/a", "http://h/b", False),
        ("http://h/a", "http://h/ab", False),
        ("http://h:1", "http://h:2", False),
        ("http://h", "http://other", False),
        ("http://localhost:1", "http://127.0.0.1:1", True),
        ("http://localhost:1", "http://[::1]:1", True),
        ("http://a.localhost:1", "http://0.0.0.0:1", True),
        ("http://127.0.0.1:1", "http://[::ffff:127.0.0.1]:1", True),
        ("http://127.0.0.1:1", "http://127.0.0.2:1", False),
        ("http://localhost:1", "http://10.0.0.1:1", False),
        ("http://localhost:1", "http://h:1", False),
    ],
)
def test_upstreams_overlap_where_one_is_in_the_other(
    url: str, other: str, *, expected: bool
) -> None:
    """Both ways round, whatever the scheme: one port is one listener's."""
    one, two = parse_upstream(url), parse_upstream(other)
    assert (one.overlaps(two), two.overlaps(one)) == (expected, expected)
