"""What is allowed in agent.yaml and hardly meant: it serves, and is said with its place."""

from pathlib import Path

import pytest

from tests.unit.config.documents import API_KEY, RELAY_TOKEN, SHORT, remarks


def forwarding_to(url: str, more: str = "") -> str:
    """Return the short form with another URL, on line 2."""
    return f"grants: [anthropic]\nclaude: {{base_url: '{url}'}}\n{more}"


@pytest.mark.parametrize(
    ("url", "called"),
    [
        ("https://api.anthropic.com/v1", "/v1/v1/messages"),
        ("https://api.anthropic.com/v1/", "/v1/v1/messages"),
        ("https://gateway.example/team/v1", "/team/v1/v1/messages"),
        ("https://api.anthropic.com/v1/messages", "/v1/messages/v1/messages"),
    ],
)
def test_url_with_what_agents_send_too(file: Path, url: str, called: str) -> None:
    """As it stands in the SDKs' own settings."""
    assert remarks(file, forwarding_to(url)) == [
        (
            "2: claude.base_url: ends with what agents send too: "
            f"calls would go to {called}; leave it out"
        )
    ]


@pytest.mark.parametrize(("host", "said"), [("api.anthropic.com", 1), ("headroom.corp", 0)])
def test_api_by_plain_http(file: Path, host: str, said: int) -> None:
    """Its own name is on the internet; another may be next door."""
    expected = (
        "2: claude.base_url: is plain http, which shows the credential to whoever is on the way"
    )
    found = remarks(file, forwarding_to(f"http://{host}"))
    assert [each.partition(";")[0] for each in found] == [expected] * said


def test_url_of_any_relay_is_looked_at(file: Path) -> None:
    """By the paths that it allows: others may be wanted behind the same URL."""
    text = "grants: [openai]\nrelays:\n  a: {{url: 'https://h/v1'{}}}\n"
    (remark,) = remarks(file, text.format(""))
    assert remark.startswith("3: relays.a.url: ends with what agents send too: ")
    assert remarks(file, text.format(", allow: [/chat/completions]")) == []


@pytest.mark.parametrize(
    "url",
    [
        "https://api.anthropic.com",
        "http://localhost:8787/headroom",
        "https://gateway.example/v1/account/anthropic",
        "https://h/xv1",
    ],
)
def test_url_with_a_path_of_its_own_is_fine(file: Path, url: str) -> None:
    """A prefix is the upstream's affair."""
    assert remarks(file, forwarding_to(url)) == []


@pytest.mark.parametrize("address", ["0.0.0.0:9484", "[::]:9484", "192.0.2.7:9484", "docker0:9484"])
def test_admin_pages_for_the_network_are_said(file: Path, address: str) -> None:
    """They ask for no token."""
    expected = (
        f"shows metrics and calls to whoever reaches {address}, without a token; "
        "127.0.0.1 shows them to this host alone"
    )
    assert remarks(file, f"{SHORT}admin: '{address}'\n") == [f"4: admin: {expected}"]
    assert remarks(file, SHORT, RELAY_ADMIN=address) == [f"1: $RELAY_ADMIN: {expected}"]


@pytest.mark.parametrize("address", ["127.0.0.1:9484", "localhost:1", "[::1]:9484", "lo:9484"])
def test_admin_pages_for_this_host_are_not(file: Path, address: str) -> None:
    """That is where they belong."""
    assert remarks(file, f"{SHORT}admin: '{address}'\n") == []


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("grant", 'did you mean "grants"?'),
        ("Grants", 'did you mean "grants"?'),
        ("relay", 'did you mean "relays"?'),
        ("listener", 'did you mean "listen"?'),
        ("admins", 'did you mean "admin"?'),
        ("client", 'did you mean "clients"?'),
        ("timeout", 'did you mean "timeouts"?'),
        ("drian", 'did you mean "drain"?'),
        ("cluade", 'did you mean "claude"?'),
        ("cost", 'did you mean "costs"?'),
        ("base_url", "indent it below claude"),
        ("claude.base_url", "indent it below claude, without the dot"),
        ("relays.openai.url", "indent it below relays, without the dot"),
    ],
)
def test_key_that_is_nearly_the_relays(file: Path, key: str, meant: str) -> None:
    """It is ignored, and hardly another tool's."""
    expected = f"4: {key}: a top-level key is not the relay's; {meant}"
    assert remarks(file, f"{SHORT}{key}: x\n") == [expected]


FOREIGN = """\
name: my-agent
agent: claude
agents: [one]
command: [claude, --print]
interactive: true
dependencies: {node: 22}
image: registry.example/sk-tools@sha256:9f2b7c61d84e4f60a1b2c3d4e5f607189f2b7c61
commit: 3f2a9c1b7d8e4f60a1b2c3d4e5f607183f2a9c1b
environment:
  - A=b
  - ANTHROPIC_API_KEY=${ANTHROPIC_API_KEY}
env: {DB_PASSWORD: in-another-place, ANTHROPIC_API_KEY: proxy-managed, MAX_TOKENS: 5}
anthropic_api_key: ${ANTHROPIC_API_KEY}
api_key:
access_token: {env: TOKEN}
volumes: [./sk-frontend-service-of-production:/x, ./relay-data-of-the-production-cluster:/y]
max_tokens: 1000
tokenizer: cl100k
deadline: 5
rate: 6
"""


def test_keys_of_other_tools_pass_without_a_word(file: Path) -> None:
    """agent.yaml is shared: hashes, references and others' secrets by name are their business."""
    assert remarks(file, SHORT + FOREIGN) == []


@pytest.mark.parametrize(
    "key",
    [
        "anthropic_api_key",
        "ANTHROPIC_API_KEY",
        "anthropic-auth-token",
        "claude_code_oauth_token",
        "OPENAI_API_KEY",
        "relay_token",
        "api_key",
        "apikey",
        "password",
    ],
)
def test_key_that_is_named_like_a_credential_is_not_read(file: Path, key: str) -> None:
    """Whoever writes it believes that it is; the value is not shown."""
    assert remarks(file, f"{SHORT}{key}: value-of-it\n") == [
        (
            f"4: {key}: is not read: a credential comes from where grants say, "
            "such as source: {env: NAME} or {file: PATH}"
        )
    ]


IN_PLAIN_TEXT = (
    "holds what looks like a key, in plain text: the relay does not read it here; "
    "grants name a variable or a file for it"
)


@pytest.mark.parametrize("secret", [API_KEY, RELAY_TOKEN], ids=["key", "token"])
@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("anthropic_api_key: {}\n", "anthropic_api_key"),
        ("other: {}\n", "other"),
        ("{}: 1\n", "<not shown>"),
        ("env:\n  ANTHROPIC_API_KEY: {}\n", "env.ANTHROPIC_API_KEY"),
        ("env: [A=b, 'ANTHROPIC_API_KEY={}']\n", "env[1]"),
        ("env: {{a: {{b: [{{c: {}}}]}}}}\n", "env.a.b[0].c"),
        ("env: {{{}: 1}}\n", "env.<not shown>"),
        ("command: [curl, -H, 'x-api-key: {}']\n", "command[2]"),
        ("env: &x [{}, *x]\n", "env[0]"),
    ],
)
def test_key_in_plain_text_is_said_and_not_shown(
    file: Path, text: str, place: str, secret: str
) -> None:
    """Wherever it stands in another tool's part: it is in a file that is meant to be shared."""
    (remark,) = remarks(file, SHORT + text.format(secret))
    assert remark.partition(": ")[2] == f"{place}: {IN_PLAIN_TEXT}"


@pytest.mark.parametrize(
    ("source", "place"),
    [
        (f"source: {{command: [echo, {API_KEY}]}}", "grants[0].source.command[1]"),
        (f"source: {{env: A}}, add: {{x-key: {API_KEY}}}", "grants[0].add.x-key"),
    ],
)
def test_key_in_plain_text_is_said_in_the_relays_own_part(
    file: Path, source: str, place: str
) -> None:
    """Where any text may stand."""
    grant = f"{{name: corp, header: X-Key, {source}}}"
    text = f"grants: [{grant}]\nrelays: {{corp: {{url: http://h}}}}\n"
    expected = "holds what looks like a key, in plain text: put it into a variable, or a file"
    assert remarks(file, text) == [f"1: {place}: {expected} of its own"]


def test_remarks_are_in_the_order_of_the_file(file: Path) -> None:
    """As mistakes are."""
    text = f"admin: 0.0.0.0:9484\nclient: x\n{SHORT}other: {API_KEY}\n"
    assert [line.partition(":")[0] for line in remarks(file, text)] == ["1", "2", "6"]
