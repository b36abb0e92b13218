"""Hops in agent.yaml: what chains come to, and what is said of every mistake in one."""

from pathlib import Path

import pytest

from relay.config import (
    CommandSource,
    ConfigurationError,
    EnvSource,
    FileSource,
    HeaderSettings,
    HopSettings,
    ListenAddress,
    parse_upstream,
)
from tests.unit.config.documents import API_KEY, RELAY_TOKEN, mistakes, read, remarks

HEADROOM = "{name: headroom, url: http://localhost:8787}"
SHORT = f"""\
grants: [anthropic]
claude:
  hops:
    - {HEADROOM}
"""
CUSTOM = "{name: corp, source: {env: A}, header: X-Key}"
CA_FILE = "must be a readable file of CA certificates in PEM form"


def short(*hops: str, end: str = "") -> str:
    """Return the short form with these hops, from line 4 on, and an end below them."""
    lines = "".join(f"    - {hop}\n" for hop in hops)
    return f"grants: [anthropic]\nclaude:\n  hops:\n{lines}" + (
        f"  base_url: {end}\n" if end else ""
    )


def hop_with(text: str) -> str:
    """Return the short form whose hop has these further fields, on line 4."""
    return short(HEADROOM.replace("}", f", {text}}}"))


def relay_with(text: str, grants: str = "[anthropic]", name: str = "r") -> str:
    """Return a configuration whose relay has these fields, on line 4."""
    return f"grants: {grants}\nrelays:\n  {name}:\n    {{{text}}}\n"


# What a good file comes to


def test_short_form_is_a_whole_configuration(file: Path) -> None:
    """Hops alone make the relay ``anthropic``, which ends at the API."""
    settings = read(file, SHORT)
    (relay,) = settings.relays
    assert (relay.name, relay.api, relay.grant.name) == ("anthropic", "anthropic", "anthropic")
    assert relay.upstream == parse_upstream("https://api.anthropic.com")
    assert relay.hops == (HopSettings("headroom", parse_upstream("http://localhost:8787")),)
    assert relay.headers == ()
    assert settings.returns == (ListenAddress("127.0.0.1", 8485),)
    assert settings.has_hops
    assert settings.warnings == ()


def test_short_form_is_short_for_the_long_one(file: Path) -> None:
    """With all that is the default written out."""
    long = """\
grants: [anthropic]
relays:
  anthropic:
    url: https://api.anthropic.com
    hops:
      - name: headroom
        url: http://localhost:8787
        if_down: fail
        pass: client
        headers: {}
        ca_file: null
    headers: {}
returns: ["127.0.0.1:8485"]
"""
    assert read(file, long) == read(file, SHORT)


def test_hop_says_everything(file: Path) -> None:
    """Every key there is, with another value than its default, and in order."""
    text = """\
grants: [anthropic]
relays:
  team:
    url: https://llm.example.com
    headers: {X-Team: {env: TEAM}}
    hops:
      - name: first_1
        url: http://10.84.86.2:8787/in/
        if_down: skip
        pass: call
        headers: {X-Headroom-Proxy-Token: {file: token}, x-other: {command: [a], ttl: 5}}
      - {name: second-2, url: "https://[::1]:9000", pass: {file: ../pass}}
"""
    (relay,) = read(file, text).relays
    first, second = relay.hops
    assert first == HopSettings(
        name="first_1",
        upstream=parse_upstream("http://10.84.86.2:8787/in"),
        if_down="skip",
        pass_="call",
        headers=(
            HeaderSettings(
                b"X-Headroom-Proxy-Token", (FileSource(file=str(file.parent / "token")),)
            ),
            HeaderSettings(b"x-other", (CommandSource(command=("a",), ttl=5),)),
        ),
    )
    assert second.pass_ == (FileSource(file=str(file.parent / "../pass")),)
    assert relay.headers == (HeaderSettings(b"X-Team", (EnvSource(env="TEAM"),)),)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        (short(HEADROOM, end="https://llm.example.com/x"), "https://llm.example.com/x"),
        (SHORT + "relays: {anthropic: {url: http://h}}\n", "http://h"),
        (SHORT + "relays: {anthropic: {max_body: 5}}\n", "https://api.anthropic.com"),
        (relay_with(f"hops: [{HEADROOM}]"), "https://api.anthropic.com"),
        (relay_with(f"hops: [{HEADROOM}]", "[claude]"), "https://api.anthropic.com"),
        (relay_with(f"hops: [{HEADROOM}]", "[openai]"), "https://api.openai.com"),
        (relay_with(f"hops: [{HEADROOM}], url: http://h", f"[{CUSTOM}]"), "http://h"),
        ("grants: [anthropic]\nclaude: {base_url: http://h, hops: []}\n", "http://h"),
        (
            (
                "grants: [anthropic]\nclaude: {base_url: http://h}\n"
                f"relays: {{anthropic: {{hops: [{HEADROOM}]}}}}\n"
            ),
            "http://h",
        ),
    ],
)
def test_chain_ends_where_it_says_or_at_the_grants_api(file: Path, text: str, end: str) -> None:
    """``claude.base_url`` beside hops is the end of the chain, without them the upstream."""
    (relay,) = read(file, text).relays
    assert relay.upstream == parse_upstream(end)


def test_hops_of_claude_are_those_of_its_relay(file: Path) -> None:
    """Whose other fields stand below ``relays``."""
    text = SHORT + "relays: {anthropic: {url: http://h, allow: [/v1/messages]}}\n"
    (relay,) = read(file, text).relays
    assert [hop.name for hop in relay.hops] == ["headroom"]
    assert relay.allow == (b"/v1/messages",)


def test_claudes_grant_goes_with_its_hops(file: Path) -> None:
    """As it does with its URL."""
    text = SHORT.replace("[anthropic]", "[anthropic, claude]")
    (relay,) = read(file, f"{text}  grant: claude\n").relays
    assert (relay.grant.name, relay.upstream.host) == ("claude", "api.anthropic.com")
    (mistake,) = mistakes(file, text)
    assert mistake.startswith("3: claude.hops: more than one declared grant fits; choose in claude")


def test_base_url_alone_stays_one_upstream(file: Path) -> None:
    """Which gets the credential; nobody listens for returns, so that something else may."""
    text = "grants: [anthropic]\nclaude: {base_url: 'http://localhost:8485'}\n"
    settings = read(file, text + "listen: 127.0.0.1:8484\n")
    assert (settings.relays[0].hops, settings.has_hops, settings.warnings) == ((), False, ())
    assert read(file, text.replace("8485", "8787") + "listen: 127.0.0.1:8485\n").warnings == ()


def test_one_headroom_is_a_hop_of_both_apis(file: Path) -> None:
    """It has an upstream for each."""
    text = (
        f"grants: [anthropic, openai]\nclaude: {{hops: [{HEADROOM}]}}\n"
        f"relays: {{openai: {{hops: [{HEADROOM}]}}}}\n"
    )
    assert remarks(file, text) == []


@pytest.mark.parametrize(
    "hops",
    [
        ("{name: a, url: http://h:1/a}", "{name: b, url: http://h:1/b}"),
        ("{name: a, url: http://h:1}", "{name: b, url: http://h:2}"),
        ("{name: a, url: http://127.0.0.1:1}", "{name: b, url: http://127.0.0.2:1}"),
        ("{name: a, url: http://h:1}", "{name: b, url: http://h:1/b}"),
    ],
)
def test_hops_may_share_a_host(file: Path, hops: tuple[str, str]) -> None:
    """On ports or below paths of their own."""
    settings = read(file, short(*hops))
    assert (len(settings.relays[0].hops), settings.warnings) == (2, ())


def test_ca_file_of_a_hop_is_found_beside_the_configuration(file: Path) -> None:
    """And read once, as a relay's is."""
    (file.parent / "ca.pem").write_text("no certificate")
    lines = mistakes(file, hop_with("ca_file: ca.pem"))
    assert lines == [f"4: claude.hops[0].ca_file: {CA_FILE}"]


@pytest.mark.parametrize("header", ["x-api-key", "X-API-Key"])
def test_header_of_the_credential_may_be_a_hops_with_a_pass_of_its_own(
    file: Path, header: str
) -> None:
    """It takes the pass's place: the hop has a key that it takes, and one that it sends on."""
    text = hop_with(f"headers: {{{header}: {{env: A}}}}, pass: {{env: B}}")
    (hop,) = read(file, text).relays[0].hops
    assert hop.pass_ == (EnvSource(env="B"),)


# Where hops come back


def test_returns_may_be_several(file: Path) -> None:
    """Interfaces too, and addresses that are not there yet; no client is needed for them."""
    settings = read(file, SHORT + "returns: ['127.0.0.1:1', 'docker0:2', '10.84.86.1:3']\n")
    assert settings.returns == (
        ListenAddress("127.0.0.1", 1),
        ListenAddress("docker0", 2),
        ListenAddress("10.84.86.1", 3),
    )
    assert settings.clients == ()
    assert read(file, SHORT + "returns: '[::1]:4'\n").returns == (ListenAddress("::1", 4),)


def test_returns_may_be_given_by_the_environment(file: Path) -> None:
    """Several with commas, over the file's; an empty variable overrides nothing."""
    text = SHORT + "returns: 127.0.0.1:1\n"
    settings = read(file, text, RELAY_RETURNS="127.0.0.1:2, 10.84.86.1:2")
    assert settings.returns == (ListenAddress("127.0.0.1", 2), ListenAddress("10.84.86.1", 2))
    assert read(file, text, RELAY_RETURNS=" ").returns == (ListenAddress("127.0.0.1", 1),)


def test_returns_without_hops_are_said(file: Path) -> None:
    """In the file: Compose sets the variable for whoever declares hops later."""
    text = "grants: [anthropic]\nclaude: {base_url: http://h}\n"
    assert remarks(file, text + "returns: 127.0.0.1:1\n") == [
        "3: returns: is where hops come back, and no relay has any"
    ]
    assert remarks(file, text, RELAY_RETURNS="127.0.0.1:1") == []
    assert remarks(file, SHORT + "returns: 127.0.0.1:1\n") == []


@pytest.mark.parametrize("section", ["listen", "admin"])
def test_returns_are_at_addresses_of_their_own(file: Path, section: str) -> None:
    """By file, variable or default: each is said where it is written."""
    expected = f"must not be an address of {section}; name another"
    text = f"{SHORT}{section}: '127.0.0.1:1'\n"
    assert mistakes(file, text + "returns: ['127.0.0.1:2', 'localhost:1']\n") == [
        f"6: returns: {expected}"
    ]
    assert mistakes(file, text, RELAY_RETURNS="127.0.0.1:1") == [f"1: $RELAY_RETURNS: {expected}"]
    default = text.replace("127.0.0.1:1", "127.0.0.1:8485")
    assert mistakes(file, default) == [f"1: returns: {expected}"]
    without = f"grants: [anthropic]\nclaude: {{base_url: http://h}}\n{section}: '127.0.0.1:1'\n"
    assert mistakes(file, without + "returns: 127.0.0.1:1\n") == [f"4: returns: {expected}"]
    assert not read(file, without, RELAY_RETURNS="127.0.0.1:1").has_hops


# Mistakes

OWN_ADDRESS = (
    "is the relay's own address; name where the LLM proxy listens: "
    "where it sends on to is a setting of its own"
)
OWN_END = "is the relay's own address; name what it should forward to"
GETS_THE_CREDENTIAL = (
    'is the address of hop "headroom", which would get the credential; '
    "leave it out: the chain ends at https://api.anthropic.com then"
)
SAME_ADDRESS = (
    'is the address of hop "a" too, and an LLM proxy sends on to one place alone; keep one of them'
)
NO_PASS = (
    "takes the place of this hop's pass; say what it sends on instead, "
    "for example pass: {env: NAME}"
)
NAME = "must be letters, digits, '-' and '_', not \"none\", and nothing like a key"
SOURCE = "one of {env: NAME}, {file: PATH}, {file: PATH, json: a.b.c}, {command: [..], ttl: 300}"
MISTAKES = [
    # An end that is a hop: how one would migrate, with the hop already added
    (short(HEADROOM, end="http://localhost:8787"), f"5: claude.base_url: {GETS_THE_CREDENTIAL}"),
    (short(HEADROOM, end="http://127.0.0.1:8787"), f"5: claude.base_url: {GETS_THE_CREDENTIAL}"),
    (short(HEADROOM, end="'http://[::1]:8787/x'"), f"5: claude.base_url: {GETS_THE_CREDENTIAL}"),
    (short(HEADROOM, end="https://LOCALHOST.:8787"), f"5: claude.base_url: {GETS_THE_CREDENTIAL}"),
    (
        short("{name: headroom, url: http://Headroom/x}", end="http://headroom:80"),
        f"5: claude.base_url: {GETS_THE_CREDENTIAL}",
    ),
    (
        SHORT + "relays: {anthropic: {url: http://localhost:8787}}\n",
        f"5: relays.anthropic.url: {GETS_THE_CREDENTIAL}",
    ),
    (
        relay_with(f"url: http://localhost:8787, hops: [{HEADROOM}]", "[openai]"),
        "4: relays.r.url: " + GETS_THE_CREDENTIAL.replace("anthropic", "openai"),
    ),
    (
        relay_with(f"url: http://localhost:8787, hops: [{HEADROOM}]", f"[{CUSTOM}]"),
        (
            '4: relays.r.url: is the address of hop "headroom", which would get the credential; '
            "name the API behind the hops"
        ),
    ),
    (
        short("{name: a, url: https://api.anthropic.com}"),
        "4: claude.hops[0].url: is the API that the chain ends at by itself; leave this hop out",
    ),
    # The relay itself
    (short("{name: a, url: http://localhost:8484}"), f"4: claude.hops[0].url: {OWN_ADDRESS}"),
    (short("{name: a, url: http://127.0.0.1:9484}"), f"4: claude.hops[0].url: {OWN_ADDRESS}"),
    (
        short("{name: a, url: http://localhost:8485/anthropic/a}"),
        f"4: claude.hops[0].url: {OWN_ADDRESS}",
    ),
    (
        short("{name: a, url: http://10.84.86.1:8485}") + "returns: 10.84.86.1:8485\n",
        f"4: claude.hops[0].url: {OWN_ADDRESS}",
    ),
    (short(HEADROOM, end="http://localhost:8485"), f"5: claude.base_url: {OWN_END}"),
    (short(HEADROOM, end="http://localhost:8484"), f"5: claude.base_url: {OWN_END}"),
    (
        relay_with(f"hops: [{HEADROOM}]") + "  s: {url: 'http://127.0.0.1:8485'}\n",
        f"5: relays.s.url: {OWN_END}",
    ),
    # One LLM proxy twice
    (
        short("{name: a, url: http://localhost:1}", "{name: b, url: 'http://127.0.0.1:1/'}"),
        f"5: claude.hops[1].url: {SAME_ADDRESS}",
    ),
    (short(HEADROOM, HEADROOM.replace("8787", "1")), "5: claude.hops[1].name: is declared twice"),
    # Hops in two places
    (
        SHORT + f"relays:\n  anthropic:\n    hops: [{HEADROOM}]\n",
        "7: relays.anthropic.hops: stands beside claude.hops; keep one",
    ),
    # The credential's header
    (hop_with("headers: {X-API-Key: {env: A}}"), f"4: claude.hops[0].headers.X-API-Key: {NO_PASS}"),
    (
        hop_with("headers: {x-api-key: {env: A}}, pass: call"),
        f"4: claude.hops[0].headers.x-api-key: {NO_PASS}",
    ),
    (
        hop_with("headers: {authorization: {env: A}}").replace("[anthropic]", "[claude]"),
        f"4: claude.hops[0].headers.authorization: {NO_PASS}",
    ),
    (
        relay_with(
            "url: http://h, hops: [{name: a, url: http://a, headers: {x-key: {env: A}}}]",
            f"[{CUSTOM}]",
        ),
        f"4: relays.r.hops[0].headers.x-key: {NO_PASS}",
    ),
    (
        relay_with("url: http://h, headers: {X-Api-Key: {env: A}}"),
        "4: relays.r.headers.X-Api-Key: is where the credential goes; leave it out",
    ),
    # Other headers
    (
        hop_with("headers: {X-Relay-Call: {env: A}}"),
        "4: claude.hops[0].headers.X-Relay-Call: is one of the relay's own, which never leave it",
    ),
    (
        relay_with("url: http://h, headers: {x-relay-a: {env: A}}"),
        "4: relays.r.headers.x-relay-a: is one of the relay's own, which never leave it",
    ),
    (
        hop_with("headers: {X-A: {env: A}, x-a: {env: B}}"),
        "4: claude.hops[0].headers.x-a: is said twice, in upper and lower case; keep one",
    ),
    (
        hop_with("headers: {x-a: {env: A}, X-A: {env: B}}"),
        "4: claude.hops[0].headers.X-A: is said twice, in upper and lower case; keep one",
    ),
    (
        relay_with("url: http://h, headers: {X-A: {env: A}, x-a: {env: B}}"),
        "4: relays.r.headers.x-a: is said twice, in upper and lower case; keep one",
    ),
    (hop_with("headers: {Host: {env: A}}"), "4: claude.hops[0].headers.Host: must be the name of"),
    (hop_with("headers: {Connection: {env: A}}"), "4: claude.hops[0].headers.Connection: must be"),
    (hop_with("headers: {X-A: value}"), f"4: claude.hops[0].headers.X-A: must be {SOURCE}"),
    (hop_with("headers: [X-A]"), "4: claude.hops[0].headers: must be a mapping"),
    (
        hop_with("headers: {X-A: {env: A, fil: B}}"),
        "4: claude.hops[0].headers.X-A.fil: is an unknown key",
    ),
    # A hop's other fields
    (hop_with("pass: clients"), f"4: claude.hops[0].pass: must be client, call, or {SOURCE}"),
    (hop_with("pass: {}"), f"4: claude.hops[0].pass: must be client, call, or {SOURCE}"),
    (hop_with("pass: null"), "4: claude.hops[0].pass: must be client, call, or one of"),
    (hop_with("pass: {env: 1A}"), "4: claude.hops[0].pass.env: must be the name of an environment"),
    (hop_with("if_down: skips"), "4: claude.hops[0].if_down: must be fail or skip"),
    (hop_with("if_dwon: skip"), '4: claude.hops[0].if_dwon: is an unknown key; did you mean "if_d'),
    (hop_with("header: {}"), '4: claude.hops[0].header: is an unknown key; did you mean "headers"'),
    (hop_with("passs: call"), '4: claude.hops[0].passs: is an unknown key; did you mean "pass"?'),
    (hop_with("pass_: call"), '4: claude.hops[0].pass_: is an unknown key; did you mean "pass"?'),
    (hop_with("ca_file: /nowhere/ca.pem"), f"4: claude.hops[0].ca_file: {CA_FILE}"),
    (short("{name: a}"), "4: claude.hops[0].url: is required"),
    (short("{url: http://h}"), "4: claude.hops[0].name: is required"),
    (short("{name: a, url: h}"), "4: claude.hops[0].url: must begin with http:// or https://"),
    (short("{name: a.b, url: http://h}"), f"4: claude.hops[0].name: {NAME}"),
    (short("{name: none, url: http://h}"), f"4: claude.hops[0].name: {NAME}"),
    (short("{name: '', url: http://h}"), f"4: claude.hops[0].name: {NAME}"),
    (short("{name: a/b, url: http://h}"), f"4: claude.hops[0].name: {NAME}"),
    # The list
    (
        short("http://localhost:8787"),
        "4: claude.hops[0]: must be a mapping, for example {name: headroom, url: http://local",
    ),
    (
        "grants: [anthropic]\nclaude: {hops: headroom}\n",
        "2: claude.hops: must be a list, for example hops: [{name: headroom, url: ",
    ),
    (relay_with("url: http://h, hops: {}"), "4: relays.r.hops: must be a list"),
    (relay_with("hosp: []"), '4: relays.r.hosp: is an unknown key; did you mean "hops"?'),
    (
        "grants: [anthropic]\nclaude: {hops: []}\n",
        "1: no relay: set claude.hops or claude.base_url",
    ),
    (relay_with("hops: []"), "3: relays.r: needs url, for example http://localhost:8787"),
    (
        SHORT.replace("claude:", "x: 1").replace("  hops:", "hops:"),
        "3: hops: a top-level key is not the relay's; indent it below claude",
    ),
    # A grant of one's own
    (
        relay_with(f"hops: [{HEADROOM}]", f"[{CUSTOM}]"),
        "3: relays.r: needs url beside hops: the API that they lead to",
    ),
    (
        SHORT.replace("[anthropic]", f"[{CUSTOM}]") + "  grant: corp\n",
        "2: claude: needs base_url beside hops: the API that they lead to",
    ),
    (SHORT.replace("[anthropic]", "[openai]"), "3: claude.hops: no declared grant can serve it"),
    # Returns
    (SHORT + "returns: 8485\n", '5: returns: must be a list, for example returns: ["127.0.0.1:84'),
    (SHORT + "returns: []\n", "5: returns: must not be empty"),
    (SHORT + "returns: ['127.0.0.1']\n", "5: returns[0]: must be host:port"),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_mistake_is_named_by_line_field_and_remedy(file: Path, text: str, expected: str) -> None:
    """Whoever reads it knows where to look and what to write."""
    assert any(line.startswith(expected) for line in mistakes(file, text)), mistakes(file, text)


def test_all_mistakes_of_hops_are_told_at_once(file: Path) -> None:
    """One in a relay or in a hop hides none in another."""
    text = """\
grants: [anthropic]
relays:
  r:
    max_body: 0
    hops:
      - {name: a.b, url: http://h}
      - {name: ok, url: http://h, ca_file: /nowhere/ca.pem}
      - {name: c, url: h, pass: no}
returns: x
"""
    assert [line.split(": ")[:2] for line in mistakes(file, text)] == [
        ["4", "relays.r.max_body"],
        ["6", "relays.r.hops[0].name"],
        ["7", "relays.r.hops[1].ca_file"],
        ["8", "relays.r.hops[2].pass"],
        ["8", "relays.r.hops[2].url"],
        ["9", "returns[0]"],
    ]


def test_hops_that_are_no_list_are_one_mistake(file: Path) -> None:
    """That there is no relay without them goes without saying."""
    text = "grants: [anthropic]\nclaude: {hops: headroom}\n"
    (mistake,) = mistakes(file, text)
    assert mistake.startswith("2: claude.hops: must be a list, for example hops: [{name: ")


def test_mistake_in_the_variable_of_returns_is_said_to_be_there(file: Path) -> None:
    """With its name, since the file is innocent."""
    (line,) = mistakes(file, SHORT, RELAY_RETURNS="127.0.0.1")
    assert line.startswith("1: $RELAY_RETURNS: must be host:port")
    assert mistakes(file, SHORT, RELAY_RETURNS=",") == ["1: $RELAY_RETURNS: names no address"]


# What is hardly meant


def test_end_that_is_another_relays_hop_is_said(file: Path) -> None:
    """Half a migration: it gets the credential there, as it did."""
    text = f"{SHORT.replace('[anthropic]', '[anthropic, openai]')}relays:\n  openai:\n"
    assert remarks(file, text + "    url: http://127.0.0.1:8787\n") == [
        (
            '7: relays.openai.url: is hop "headroom" of relays.anthropic, and gets the credential '
            "here; declare it in this relay's hops"
        )
    ]


def test_hop_of_two_relays_with_one_api_is_said(file: Path) -> None:
    """It sends on to one address, so that the other's calls would not come back."""
    text = f"{SHORT}relays:\n  team:\n    hops: [{HEADROOM}]\n"
    assert remarks(file, text) == [
        (
            "4: claude.hops[0].url: is a hop of relays.team too, with the same API: where it sends "
            "on to one address, calls of one of the two do not come back"
        )
    ]


def test_url_of_a_hop_with_what_agents_send_too_is_said(file: Path) -> None:
    """As a relay's is."""
    assert remarks(file, short("{name: a, url: http://localhost:4000/v1}")) == [
        (
            "4: claude.hops[0].url: ends with what agents send too: "
            "calls would go to /v1/v1/messages; leave it out"
        )
    ]


# Secrets in the wrong place


@pytest.mark.parametrize("secret", [API_KEY, RELAY_TOKEN], ids=["key", "token"])
@pytest.mark.parametrize(
    "template",
    [
        "{{name: {}, url: http://h}}",
        "{{name: a, url: {}}}",
        "{{name: a, url: 'http://{}@h'}}",
        "{{name: a, url: http://h, pass: {}}}",
        "{{name: a, url: http://h, pass: {{env: {}}}}}",
        "{{name: a, url: http://h, pass: {{{}: x}}}}",
        "{{name: a, url: http://h, if_down: {}}}",
        "{{name: a, url: http://h, headers: {}}}",
        "{{name: a, url: http://h, headers: {{X-A: {}}}}}",
        "{{name: a, url: http://h, headers: {{X-A: {{env: {}}}}}}}",
        "{{name: a, url: http://h, ca_file: {}}}",
        "{{name: a, url: http://h, {}: x}}",
        "{}",
    ],
)
def test_misplaced_secret_is_a_mistake_and_is_never_printed(
    file: Path, template: str, secret: str
) -> None:
    """Wherever it stands in a hop."""
    with pytest.raises(ConfigurationError) as caught:
        read(file, short(template.format(secret)))
    for part in (secret, secret[:20], secret[-20:]):
        assert part not in f"{caught.value} {caught.value!r} {caught.value.args!r}"
