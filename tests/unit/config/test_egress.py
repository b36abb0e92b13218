"""The way out in agent.yaml: which relays take it, and what is said of every mistake in one."""

from pathlib import Path

import pytest

from relay.config import (
    CommandSource,
    EgressSettings,
    EnvSource,
    FileSource,
    Settings,
    parse_proxy,
)
from tests.unit.config.documents import mistakes, read, remarks

PASSWORD = "Pw-7Hq2Zt9Vk4Nc8"
PROXY = '{url: "http://proxy.corp:3128"}'
STRAIGHT = """\
grants: [anthropic]
claude:
  base_url: https://api.anthropic.com
"""
TWO = """\
grants: [anthropic, openai]
relays:
  anthropic: {url: "https://api.anthropic.com"%s}
  openai: {url: "https://api.openai.com"%s}
"""
PLAIN = (
    "is plain http, so that the proxy of egress could read the credential; name an https:// "
    "address, or go there straight: relays: {anthropic: {egress: null}}"
)


def ways(settings: Settings) -> dict[str, str]:
    """Return the proxies by the relays that go out through them."""
    return {each.name: str(each.egress.proxy) for each in settings.relays if each.egress}


# What a good file comes to


def test_without_it_calls_go_straight(file: Path) -> None:
    """Whatever the environment says."""
    assert ways(read(file, STRAIGHT)) == {}


def test_one_is_for_every_relay(file: Path) -> None:
    """In its whole form, with a source of each kind for its credential."""
    text = TWO % ("", "") + f"egress: {PROXY}\n"
    egress = EgressSettings(parse_proxy("http://proxy.corp:3128"))
    settings = read(file, text)
    assert [relay.egress for relay in settings.relays] == [egress, egress]
    assert settings.egresses == (egress,)
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{file: /run/secrets/proxy}", FileSource(file="/run/secrets/proxy")),
        ("{env: PROXY_LOGIN}", EnvSource(env="PROXY_LOGIN")),
        ("{command: [login, proxy]}", CommandSource(command=("login", "proxy"))),
    ],
)
def test_its_credential_has_a_source(file: Path, source: str, expected: object) -> None:
    """Of any kind."""
    text = f'{STRAIGHT}egress: {{url: "https://p:8443", credential: {source}}}\n'
    (relay,) = read(file, text).relays
    assert relay.egress is not None
    assert relay.egress.sources == (expected,)
    assert relay.egress.proxy.tls


def test_relative_paths_begin_at_the_files_folder(file: Path) -> None:
    """Of its credential; and of its CA, which must be there."""
    text = f'{STRAIGHT}egress: {{url: "http://p:1", credential: {{file: proxy}}, ca_file: ca}}\n'
    assert mistakes(file, text) == [
        "4: egress.ca_file: must be a readable file of CA certificates in PEM form"
    ]
    settings = read(file, text.replace(", ca_file: ca", ""))
    assert settings.egresses[0].sources == (FileSource(file=str(file.parent / "proxy")),)


def test_a_relays_own_goes_before_it(file: Path) -> None:
    """And null is straight."""
    own = ', egress: {url: "http://other.corp:8080"}'
    assert ways(read(file, TWO % (own, ", egress: null") + f"egress: {PROXY}\n")) == {
        "anthropic": "http://other.corp:8080"
    }
    assert ways(read(file, TWO % (own, ""))) == {"anthropic": "http://other.corp:8080"}
    assert ways(read(file, TWO % (", egress: null", "") + f"egress: {PROXY}\n")) == {
        "openai": "http://proxy.corp:3128"
    }


def test_the_shorthands_relay_may_go_straight(file: Path) -> None:
    """Beside ``claude``, in its own place."""
    text = f"{STRAIGHT}egress: {PROXY}\nrelays: {{anthropic: {{egress: null}}}}\n"
    settings = read(file, text)
    assert ways(settings) == {}
    assert remarks(file, text) == ["4: egress: is a way out that no relay takes"]


def test_it_is_for_the_end_of_a_chain_alone(file: Path) -> None:
    """Hops have none, wherever they are."""
    hops = "{hops: [{name: a, url: 'http://a.corp'}, {name: b, url: 'http://localhost:8787'}]}"
    settings = read(file, f"grants: [anthropic]\nclaude: {hops}\negress: {PROXY}\n")
    assert ways(settings) == {"anthropic": "http://proxy.corp:3128"}
    assert settings.warnings == ()


@pytest.mark.parametrize("url", ["http://localhost:8787", "https://127.0.0.1", "http://[::1]:1"])
def test_it_never_leads_to_loopback(file: Path, url: str) -> None:
    """By TLS or without; said where it was meant for that relay alone."""
    text = f"grants: [anthropic]\nclaude: {{base_url: '{url}'}}\n"
    assert ways(read(file, f"{text}egress: {PROXY}\n")) == {}
    own = f"{text}relays: {{anthropic: {{egress: {PROXY}}}}}\n"
    assert ways(read(file, own)) == {}
    assert remarks(file, own) == [
        ("3: relays.anthropic.egress: is not taken: calls to this host's own loopback go straight")
    ]


@pytest.mark.parametrize("proxy", ["http://localhost:3128", "http://127.0.0.1", "https://[::1]:1"])
def test_the_proxy_itself_may_be_on_loopback(file: Path, proxy: str) -> None:
    """As those are that speak a company's own dialect for others."""
    assert ways(read(file, f"{STRAIGHT}egress: {{url: '{proxy}'}}\n")) == {"anthropic": proxy}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://proxy.corp:3128/", "http://proxy.corp:3128"),
        ("http://proxy.corp", "http://proxy.corp"),
        ("https://[fd00::1]:8443", "https://[fd00::1]:8443"),
    ],
)
def test_addresses_of_proxies(text: str, shown: str) -> None:
    """Scheme, host and port; a slash behind them is none of a path."""
    assert str(parse_proxy(text)) == shown


# Mistakes


@pytest.mark.parametrize(
    ("egress", "said"),
    [
        ("http://p:1", 'egress: must be a mapping, for example {url: "http://proxy.corp:3128"}'),
        ("[]", 'egress: must be a mapping, for example {url: "http://proxy.corp:3128"}'),
        ("{}", "egress.url: is required"),
        ("{url: 'http://p:1', user: x}", "egress.user: is an unknown key; known here: ca_file, "),
        ("{url: 'http://p:1', credential: secret}", "egress.credential: must be one of {env: "),
        ("{url: 3128}", "egress.url: must be text; put it in quotes"),
        ("{url: 'proxy.corp:3128'}", "egress.url: must begin with http:// or https://, for exampl"),
        ("{url: 'socks5://p:1080'}", "egress.url: must begin with http:// or https://, for exam"),
        ("{url: 'http://p:1/path'}", "egress.url: must be a host and its port, without a path, "),
        ("{url: 'http://p:1?a'}", "egress.url: must not have a query or a fragment"),
        (
            "{url: 'http://:3128'}",
            "egress.url: needs a host and a valid port, for example http://pr",
        ),
        ("{url: 'http://p:0'}", "egress.url: needs a host and a valid port, for example"),
        (
            f"{{url: 'http://corp:{PASSWORD}@p:1'}}",
            "egress.url: must not hold a user or password; credential names a source of user:pa",
        ),
        (
            "{url: 'http://127.0.0.1:8484'}",
            "egress.url: is the relay's own address; name the proxy on the way out",
        ),
    ],
)
def test_mistakes_in_it(file: Path, egress: str, said: str) -> None:
    """With what would be right, and never a password; a relay's own is read alike."""
    (mistake,) = mistakes(file, f"{STRAIGHT}egress: {egress}\n")
    assert mistake.startswith(f"4: {said}")
    (own,) = mistakes(file, f"{STRAIGHT}relays: {{anthropic: {{egress: {egress}}}}}\n")
    assert own.startswith(f"4: relays.anthropic.{said}")
    assert PASSWORD not in mistake + own


@pytest.mark.parametrize("place", ["egress: {}", "relays: {{anthropic: {{egress: {}}}}}"])
def test_a_credential_that_the_proxy_could_read(file: Path, place: str) -> None:
    """Said at the address, with both ways out of it."""
    text = f"grants: [anthropic]\nclaude: {{base_url: 'http://llm.corp'}}\n{place.format(PROXY)}\n"
    assert mistakes(file, text) == [f"2: claude.base_url: {PLAIN}"]
    assert ways(read(file, text.replace(place.format(PROXY), ""))) == {}


def test_a_mistake_elsewhere_hides_none_in_it(file: Path) -> None:
    """Nor the other way round."""
    text = TWO % (", alow: []", ", egress: {url: 1}, max_body: -1") + "egress: 7\n"
    said = mistakes(file, text)
    assert [line.split(": ")[1] for line in said] == [
        "relays.anthropic.alow",
        "relays.openai.egress.url",
        "relays.openai.max_body",
        "egress",
    ]


def test_a_way_out_that_nobody_takes(file: Path) -> None:
    """Is said."""
    text = f"grants: [anthropic]\nclaude: {{base_url: 'http://localhost:1'}}\negress: {PROXY}\n"
    assert remarks(file, text) == ["3: egress: is a way out that no relay takes"]


def test_no_password_in_a_repr(file: Path) -> None:
    """Settings hold sources alone."""
    (file.parent / "proxy").write_text(f"corp:{PASSWORD}")
    text = f'{STRAIGHT}egress: {{url: "http://p:1", credential: {{file: proxy}}}}\n'
    assert PASSWORD not in repr(read(file, text))
