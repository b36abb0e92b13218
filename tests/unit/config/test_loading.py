"""agent.yaml from end to end: what it comes to, and what is said of every mistake in it."""

import asyncio
from pathlib import Path
from typing import NoReturn

import pytest
from pydantic import ValidationError

from relay.commands.check import describe
from relay.config import (
    ClientSettings,
    CommandSource,
    ConfigurationError,
    EnvSource,
    FileSource,
    FurtherHeader,
    GrantSettings,
    ListenAddress,
    RelaySettings,
    Settings,
    Timeouts,
    UpstreamAddress,
    find_file,
    load,
)
from relay.config.schema import Claude, Client, Grant, Relay
from relay.config.sources import Model

# Made up, and of the shape of real ones.
API_KEY = "sk-ant-api03-Jr7Wm2Kx9Qv4Tz1Lb6Nc8Hd3Gf5Ys-pA0eUo"
RELAY_TOKEN = "relay-Zk3Nw8Qx5Tb1Lm7Vc4Rj9Hd2Gf6Ys0Pa_Eu-oIiUuYt"
HEX_KEY = "f3b07c2e81d4a65b0f7d2c9e4a18369d"
# A folder as Nix names it, by a hash of what is in it.
NIX_PATH = "/nix/store/0c4h1n2a9p3m8qk5x7z6w1v4b2d8f3g5-agent-key-1.0/key"

SHORT = """\
grants: [anthropic]
claude:
  base_url: http://localhost:8787
"""
LONG = """\
grants:
  - name: anthropic
    source: {env: MY_KEY}
  - name: openai
    source: {file: keys/openai.json, json: tokens.api.key}
  - name: gateway
    source: {command: [pass, show, gateway], ttl: 60}
    header: X-Gateway-Key
    format: "Key {};v=1"
    remove: [X-Debug, Api-Key]
    add: {X-Team: agents}
claude:
  base_url: http://localhost:8787
relays:
  openai:
    url: https://llm.example.com:8443/proxy/
    grant: openai
    api: openai
    allow: [/v1/responses]
    max_body: 1000
  gateway:
    url: http://[::1]:9001
    grant: gateway
listen: ["127.0.0.1:8000", "docker0:8001"]
admin: ["127.0.0.1:9000", "[::1]:9000"]
clients:
  - name: agent
    token: {env: AGENT_TOKEN}
  - name: other
    token: {file: /run/tokens/other}
timeouts: {connect: 1, headers: 2.5, idle: 3, request_body: 4, write: 5}
drain: 0
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the test's agent.yaml goes."""
    return tmp_path / "agent.yaml"


def read(file: Path, text: str, **environment: str) -> Settings:
    """Return what this text comes to under these variables, and no others."""
    file.write_text(text, encoding="utf-8")
    return load(file, {"RELAY_SECRETS": str(file.parent / "secrets"), **environment})


def mistakes(file: Path, text: str, **environment: str) -> list[str]:
    """Return what is said of a text that cannot be used, without the file's name."""
    with pytest.raises(ConfigurationError) as caught:
        read(file, text, **environment)
    lines = caught.value.explain()
    assert all(line.startswith(f"{file}:") for line in lines)
    assert "\n".join(lines) == str(caught.value)
    return [line.removeprefix(f"{file}:") for line in lines]


def relay_with(text: str, grants: str = "[anthropic]") -> str:
    """Return a configuration whose relay ``r`` has these further fields, on line 4."""
    return f"grants: {grants}\nrelays:\n  r:\n    {{url: http://localhost:8787, {text}}}\n"


def grant_with(text: str) -> str:
    """Return a configuration whose grant has these further fields, on line 2."""
    return (
        f"grants:\n  - {{name: anthropic, {text}}}\nclaude: {{base_url: http://localhost:8787}}\n"
    )


# What a good file comes to


def test_short_form_is_a_whole_configuration(file: Path) -> None:
    """Three lines, and every default as it is documented."""
    file.write_text(SHORT)
    settings = load(file, {})
    (relay,) = settings.relays
    assert relay == RelaySettings(
        name="anthropic",
        upstream=UpstreamAddress("http", "localhost", 8787, b""),
        grant=GrantSettings(
            name="anthropic",
            sources=(
                EnvSource(env="ANTHROPIC_API_KEY"),
                FileSource(file="/run/secrets/anthropic_api_key"),
            ),
            header=b"x-api-key",
        ),
        api="anthropic",
        allow=(b"/v1/messages", b"/v1/models", b"/v1/files", b"/v1/complete"),
        ca_file=None,
        max_body=None,
    )
    assert settings.file == str(file)
    assert settings.listen == (ListenAddress("127.0.0.1", 8484),)
    assert settings.admin == (ListenAddress("127.0.0.1", 9484),)
    assert settings.clients == ()
    assert settings.drain == 30
    assert settings.warnings == ()


def test_timeouts_have_their_documented_defaults(file: Path) -> None:
    """In seconds."""
    assert read(file, SHORT).timeouts.model_dump() == {
        "connect": 10,
        "headers": 600,
        "idle": 330,
        "request_body": 30,
        "write": 120,
    }


def test_single_timeout_leaves_the_others_alone(file: Path) -> None:
    """Each stands for itself."""
    timeouts = read(file, SHORT + "timeouts: {idle: 5}\n").timeouts
    assert timeouts == Timeouts(idle=5)
    assert timeouts.connect == 10


@pytest.mark.parametrize(
    ("grant", "header", "prefix", "add", "variable"),
    [
        ("anthropic", b"x-api-key", b"", (), "ANTHROPIC_API_KEY"),
        (
            "claude",
            b"Authorization",
            b"Bearer ",
            ((b"anthropic-beta", b"oauth-2025-04-20"),),
            "CLAUDE_CODE_OAUTH_TOKEN",
        ),
        ("openai", b"Authorization", b"Bearer ", (), "OPENAI_API_KEY"),
    ],
)
def test_built_in_grants_are_as_documented(
    file: Path,
    grant: str,
    header: bytes,
    prefix: bytes,
    add: tuple[tuple[bytes, bytes], ...],
    variable: str,
) -> None:
    """Header, format, addition and default sources."""
    text = f"grants: [{grant}]\nrelays: {{r: {{url: http://h}}}}\n"
    (relay,) = read(file, text, RELAY_SECRETS="").relays
    assert relay.grant == GrantSettings(
        name=grant,
        sources=(EnvSource(env=variable), FileSource(file=f"/run/secrets/{variable.lower()}")),
        header=header,
        prefix=prefix,
        add=add,
    )
    assert relay.api == ("openai" if grant == "openai" else "anthropic")


def test_openai_relay_allows_what_is_documented(file: Path) -> None:
    """The paths of the OpenAI API, and not of Anthropic's."""
    (relay,) = read(file, relay_with("grant: openai", "[anthropic, openai]")).relays
    assert relay.api == "openai"
    assert relay.allow == (
        b"/v1/chat/completions",
        b"/v1/responses",
        b"/v1/models",
        b"/v1/embeddings",
        b"/v1/files",
    )


def test_long_form_says_everything(file: Path) -> None:
    """Every key there is, with another value than its default."""
    settings = read(file, LONG)
    relays = {relay.name: relay for relay in settings.relays}
    assert set(relays) == {"openai", "gateway", "anthropic"}
    anthropic, openai, gateway = relays["anthropic"], relays["openai"], relays["gateway"]
    assert anthropic.grant.sources == (EnvSource(env="MY_KEY"),)
    assert openai.upstream == UpstreamAddress("https", "llm.example.com", 8443, b"/proxy")
    assert openai.grant.sources == (
        FileSource(file=str(file.parent / "keys/openai.json"), json_path="tokens.api.key"),
    )
    assert (openai.api, openai.allow, openai.max_body) == ("openai", (b"/v1/responses",), 1000)
    assert gateway.upstream == UpstreamAddress("http", "::1", 9001, b"")
    assert gateway.grant == GrantSettings(
        name="gateway",
        sources=(CommandSource(command=("pass", "show", "gateway"), ttl=60),),
        header=b"X-Gateway-Key",
        prefix=b"Key ",
        suffix=b";v=1",
        remove=frozenset({b"x-debug", b"api-key"}),
        add=((b"X-Team", b"agents"),),
    )
    assert gateway.api == "anthropic"
    assert settings.listen == (ListenAddress("127.0.0.1", 8000), ListenAddress("docker0", 8001))
    assert settings.admin == (ListenAddress("127.0.0.1", 9000), ListenAddress("::1", 9000))
    assert settings.clients == (
        ClientSettings("agent", (EnvSource(env="AGENT_TOKEN"),)),
        ClientSettings("other", (FileSource(file="/run/tokens/other"),)),
    )
    assert list(settings.timeouts.model_dump().values()) == [1, 2.5, 3, 4, 5]
    assert settings.drain == 0
    assert {grant.name for grant in settings.grants} == {"anthropic", "openai", "gateway"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{env: A_KEY}", EnvSource(env="A_KEY")),
        ("{file: /run/key}", FileSource(file="/run/key")),
        ("{file: /run/key, json: a.b}", FileSource(file="/run/key", json_path="a.b")),
        (
            "{file: /run/key, json: a, expires: b.c}",
            FileSource(file="/run/key", json_path="a", expires="b.c"),
        ),
        (
            "{command: [a], json: status.token, expires: status.expirationTimestamp}",
            CommandSource(
                command=("a",), json_path="status.token", expires="status.expirationTimestamp"
            ),
        ),
        ("{command: [a, b c]}", CommandSource(command=("a", "b c"), ttl=300)),
        ("{command: [a], ttl: 0.5}", CommandSource(command=("a",), ttl=0.5)),
    ],
)
def test_every_kind_of_source_serves_grants_and_tokens(
    file: Path, source: str, expected: EnvSource | FileSource | CommandSource
) -> None:
    """The same forms in both places."""
    clients = f"clients: [{{name: agent, token: {source}}}]\n"
    settings = read(file, grant_with(f"source: {source}") + clients)
    assert settings.relays[0].grant.sources == (expected,)
    assert settings.clients == (ClientSettings("agent", (expected,)),)


def test_paths_begin_at_the_file_or_at_home(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path does not depend on where the relay was started."""
    monkeypatch.setenv("HOME", "/home/someone")
    (grant,) = read(file, grant_with("source: {file: ../key}")).grants
    assert grant.sources == (FileSource(file=str(file.parent / "../key")),)
    (grant,) = read(file, grant_with("source: {file: ~/key}")).grants
    assert grant.sources == (FileSource(file="/home/someone/key"),)


def test_ca_file_is_found_beside_the_configuration(file: Path) -> None:
    """And read once, so that a mistake in it shows at once."""
    bundle = Path(__file__).parent / "missing.pem"
    text = relay_with(f"ca_file: {bundle}")
    assert mistakes(file, text) == [
        "4: relays.r.ca_file: must be a readable file of CA certificates in PEM form"
    ]
    for text in ("no certificate", "", "\ufeff", "\ufeffno certificate"):
        (file.parent / "ca.pem").write_text(text, encoding="utf-8")
        assert len(mistakes(file, relay_with("ca_file: ca.pem"))) == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e9", 1e9), ("1e+2", 100), ("1.5e1", 15), ("5E-1", 0.5), (".5e1", 5), ("1.0e+2", 100)],
)
def test_number_with_an_exponent_is_one(file: Path, text: str, value: float) -> None:
    """YAML 1.1 takes most of them for texts; nobody who writes them does."""
    settings = read(file, f"{SHORT}drain: {text}\ntimeouts: {{idle: {text}}}\n")
    assert (settings.drain, settings.timeouts.idle) == (value, value)


def test_whole_number_may_have_an_exponent(file: Path) -> None:
    """Of bytes, say."""
    (relay,) = read(file, relay_with("max_body: 1e7")).relays
    assert relay.max_body == 10_000_000


def test_merged_sections_are_as_if_written_out(file: Path) -> None:
    """``<<`` in the relay's own sections, from another tool's or the relay's."""
    text = "x-slow: &slow {idle: 5, write: 6}\n" + SHORT + "timeouts: {<<: *slow, write: 7}\n"
    assert read(file, text).timeouts == Timeouts(idle=5, write=7)


def test_settings_are_frozen(file: Path) -> None:
    """A configuration in force never changes under a call."""
    settings = read(file, SHORT)
    with pytest.raises(AttributeError):
        settings.drain = 1  # type: ignore[misc]  # that is the test
    with pytest.raises(ValueError, match="frozen"):
        settings.timeouts.idle = 1  # type: ignore[misc]  # that is the test


def test_listen_and_admin_may_be_a_single_text(file: Path) -> None:
    """A list of one is easily forgotten to be one."""
    settings = read(file, SHORT + 'listen: "127.0.0.1:1"\nadmin: "127.0.0.1:2"\n')
    assert settings.listen == (ListenAddress("127.0.0.1", 1),)
    assert settings.admin == (ListenAddress("127.0.0.1", 2),)


# Which grant serves which relay


def test_shorthand_and_a_relay_of_its_name_are_one(file: Path) -> None:
    """``relays.anthropic`` adds to what ``claude.base_url`` says."""
    text = SHORT + "relays: {anthropic: {max_body: 5}}\n"
    (relay,) = read(file, text).relays
    assert (relay.max_body, relay.upstream.port) == (5, 8787)
    same = SHORT + "relays: {anthropic: {url: http://localhost:8787}}\n"
    assert len(read(file, same).relays) == 1


def test_with_two_fitting_grants_one_must_be_chosen(file: Path) -> None:
    """An API key and a subscription are billed differently: nothing is guessed."""
    both = SHORT.replace("[anthropic]", "[anthropic, claude]")
    (mistake,) = mistakes(file, both)
    assert "claude.base_url: more than one declared grant fits" in mistake
    assert "choose in claude.grant: anthropic or claude" in mistake
    for chosen in ("  grant: claude\n", "relays: {anthropic: {grant: claude}}\n"):
        assert [relay.grant.name for relay in read(file, both + chosen).relays] == ["claude"]


def test_claudes_grant_is_that_of_the_relay_it_stands_for(file: Path) -> None:
    """With the relay's URL beside it or below ``relays``; a custom one too."""
    grants = "grants: [anthropic, claude, {name: corp, source: {env: A}, header: X-Key}]\n"
    relays = "relays: {anthropic: {url: http://h}}\n"
    for grant in ("claude", "corp"):
        (relay,) = read(file, f"{grants}claude: {{grant: {grant}}}\n{relays}").relays
        assert (relay.name, relay.grant.name) == ("anthropic", grant)
        (relay,) = read(file, f"{grants}claude: {{grant: {grant}, base_url: http://h}}\n").relays
        assert (relay.name, relay.grant.name) == ("anthropic", grant)


def test_grant_may_be_left_out_where_one_fits(file: Path) -> None:
    """By the relay's API, where that is given."""
    text = relay_with("api: openai", "[anthropic, openai]")
    assert [relay.grant.name for relay in read(file, text).relays] == ["openai"]
    text = relay_with("api: anthropic", "[claude, openai]")
    assert [relay.grant.name for relay in read(file, text).relays] == ["claude"]
    (mistake,) = mistakes(file, relay_with("max_body: 5", "[anthropic, openai]"))
    assert (
        "more than one declared grant fits; choose in relays.<name>.grant: anthropic or openai"
        in mistake
    )


def test_custom_grant_serves_alone_or_where_it_is_named(file: Path) -> None:
    """It never slips in beside a built-in one."""
    custom = "{name: gateway, source: {env: A}, header: X-Key}"
    alone = relay_with("max_body: 5", f"[{custom}]")
    assert [relay.grant.name for relay in read(file, alone).relays] == ["gateway"]
    beside = relay_with("max_body: 5", f"[anthropic, {custom}]")
    assert [relay.grant.name for relay in read(file, beside).relays] == ["anthropic"]
    named = relay_with("grant: gateway, api: openai", f"[anthropic, {custom}]")
    (relay,) = read(file, named).relays
    assert (relay.grant.name, relay.api) == ("gateway", "openai")


@pytest.mark.parametrize(
    ("headers", "first", "further"),
    [
        (
            '{authorization: "Bearer {access_token}", chatgpt-account-id: "{account_id}"}',
            FurtherHeader(b"authorization", "access_token", b"Bearer "),
            [FurtherHeader(b"chatgpt-account-id", "account_id")],
        ),
        (
            '{X-Account: "id={a.b};", X-Api-Key: "{}"}',
            FurtherHeader(b"X-Api-Key", ""),
            [FurtherHeader(b"X-Account", "a.b", b"id=", b";")],
        ),
        ('{X-One: "{one}"}', FurtherHeader(b"X-One", "one"), []),
    ],
)
def test_one_source_can_fill_several_headers(
    file: Path, headers: str, first: FurtherHeader, further: list[FurtherHeader]
) -> None:
    """The first is the one that APIs read a credential from, in whatever order they stand."""
    custom = f"{{name: gateway, source: {{file: /x}}, headers: {headers}}}"
    (grant,) = read(file, relay_with("max_body: 5", f"[{custom}]")).grants
    own = FurtherHeader(grant.header, grant.field, grant.prefix, grant.suffix)
    assert (own, list(grant.further)) == (first, further)
    assert grant.fields == (first.field, *(each.field for each in further))


def test_custom_grant_does_not_serve_the_shorthand_unnamed(file: Path) -> None:
    """``claude.base_url`` means an Anthropic credential unless told otherwise."""
    custom = "{name: gateway, source: {env: A}, header: X-Key}"
    text = SHORT.replace("[anthropic]", f"[{custom}]")
    assert mistakes(file, text) == [
        "3: claude.base_url: no declared grant can serve it; declare anthropic or claude in grants"
    ]
    named = text + "relays: {anthropic: {grant: gateway}}\n"
    assert [relay.grant.name for relay in read(file, named).relays] == ["gateway"]


def test_grant_without_a_relay_is_warned_of(file: Path) -> None:
    """It does no harm, yet it is hardly meant."""
    text = relay_with("grant: anthropic", "[anthropic, openai]")
    assert read(file, text).warnings == (f'{file}:1: grants[1]: grant "openai" serves no relay',)


# Other tools' keys


def test_keys_of_other_tools_are_ignored_at_the_top_level(file: Path) -> None:
    """agent.yaml is shared with whatever runs the agent."""
    text = SHORT + (
        "name: my-agent\nagent: claude\ncommand: [claude, --print]\ninteractive: true\n"
        "dependencies: {node: 22}\nenvironment:\n  - A=b\n"
    )
    settings = read(file, text)
    assert settings == read(file, SHORT)
    assert settings.warnings == ()


def test_key_that_is_nearly_the_relays_is_warned_of(file: Path) -> None:
    """With the nearest one, and its place."""
    settings = read(file, SHORT + "timeout: {idle: 5}\n")
    meant = 'a top-level key is not the relay\'s; did you mean "timeouts"?'
    assert settings.warnings == (f"{file}:4: timeout: {meant}",)


# What the environment says


def test_listeners_may_be_given_by_the_environment(file: Path) -> None:
    """They override the file's, several with commas."""
    settings = read(
        file,
        LONG,
        RELAY_LISTEN="127.0.0.1:1, lo:2,",
        RELAY_ADMIN="[::1]:3",
    )
    assert settings.listen == (ListenAddress("127.0.0.1", 1), ListenAddress("lo", 2))
    assert settings.admin == (ListenAddress("::1", 3),)


def test_empty_variables_override_nothing(file: Path) -> None:
    """As compose passes a variable that is not set."""
    settings = read(file, SHORT, RELAY_LISTEN="", RELAY_ADMIN=" ", RELAY_TOKEN=" ")
    assert settings == read(file, SHORT)


def test_mistake_in_a_variable_is_said_to_be_there(file: Path) -> None:
    """With its name, since the file is innocent."""
    lines = mistakes(file, SHORT, RELAY_LISTEN=f"127.0.0.1,{API_KEY}", RELAY_ADMIN=API_KEY)
    assert [line.split(" must")[0] for line in lines] == [
        "1: $RELAY_ADMIN:",
        "1: $RELAY_LISTEN:",
        "1: $RELAY_LISTEN:",
    ]
    assert API_KEY not in str(lines)


@pytest.mark.parametrize("name", ["RELAY_LISTEN", "RELAY_ADMIN"])
def test_variable_of_commas_names_no_address(file: Path, name: str) -> None:
    """A relay that listens nowhere would be a puzzle."""
    assert mistakes(file, SHORT, **{name: " , ,"}) == [f"1: ${name}: names no address"]


def test_folder_of_secrets_that_cannot_be_entered_is_no_mistake(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in it can be read: then there is no token there."""

    def forbid(path: object, *_: object, **__: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    file.write_text(SHORT)
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.stat", forbid)
        assert load(file, {"RELAY_SECRETS": "/run/forbidden"}).clients == ()


def test_token_in_the_environment_makes_a_client(file: Path) -> None:
    """So the short form alone serves in compose, on any address."""
    settings = read(file, SHORT, RELAY_TOKEN=RELAY_TOKEN, RELAY_LISTEN="0.0.0.0:8484")
    folder = file.parent / "secrets"
    assert settings.clients == (
        ClientSettings(
            "agent",
            (EnvSource(env="RELAY_TOKEN"), FileSource(file=str(folder / "relay_token"))),
        ),
    )


def test_token_among_the_secrets_makes_a_client(file: Path) -> None:
    """Its file being there is enough, and an empty list of clients is none."""
    (file.parent / "secrets").mkdir()
    (file.parent / "secrets/relay_token").touch()
    settings = read(file, SHORT + "clients: []\n", RELAY_LISTEN="0.0.0.0:8484")
    assert [client.name for client in settings.clients] == ["agent"]


def test_declared_clients_count_alone(file: Path) -> None:
    """A token lying around is nobody's then."""
    settings = read(file, LONG, RELAY_TOKEN=RELAY_TOKEN)
    assert [client.name for client in settings.clients] == ["agent", "other"]


def test_secrets_may_be_in_several_folders(file: Path, tmp_path: Path) -> None:
    """Looked through in order, for credentials and the token alike."""
    first, second = tmp_path / "first", tmp_path / "second"
    second.mkdir()
    (second / "relay_token").write_text(RELAY_TOKEN)
    settings = read(file, SHORT, RELAY_SECRETS=f"{first}:{second}")
    assert settings.grants[0].sources == (
        EnvSource(env="ANTHROPIC_API_KEY"),
        FileSource(file=f"{first}/anthropic_api_key"),
        FileSource(file=f"{second}/anthropic_api_key"),
    )
    assert settings.clients[0].sources[-1] == FileSource(file=f"{second}/relay_token")


# Where the file is


def test_file_is_looked_for_in_documented_places(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The option, the variable, the working directory."""
    monkeypatch.chdir(tmp_path)
    file.touch()
    assert find_file("/x/option.yaml", {"RELAY_CONFIG": "/x/variable.yaml"}) == Path(
        "/x/option.yaml"
    )
    assert find_file(None, {"RELAY_CONFIG": "/x/variable.yaml"}) == Path("/x/variable.yaml")
    assert find_file(None, {"RELAY_CONFIG": ""}) == Path("agent.yaml")


def test_file_of_the_system_is_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/etc/relay/agent.yaml, where the working directory has none."""
    system = tmp_path / "etc.yaml"
    system.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("relay.config.loading.PLACES", ("agent.yaml", str(system)))
    assert find_file(None, {}) == system


def test_without_a_file_the_places_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the ways to name another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("relay.config.loading.PLACES", ("agent.yaml", str(tmp_path / "none.yaml")))
    with pytest.raises(ConfigurationError, match=r"--config or \$RELAY_CONFIG"):
        find_file(None, {})


def test_file_that_cannot_be_read_is_a_mistake(file: Path, tmp_path: Path) -> None:
    """Whether it is missing, a directory, or no text."""
    with pytest.raises(ConfigurationError, match="cannot be read: no such file"):
        load(file, {})
    with pytest.raises(ConfigurationError, match="cannot be read: is a directory"):
        load(tmp_path, {})
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
        load(file, {})


# Mistakes

MISTAKES = [
    # Nothing, or not enough
    ("", "1: is empty; it needs grants, and claude.hops, claude.base_url or relays"),
    (
        "# only a comment\n",
        "1: is empty; it needs grants, and claude.hops, claude.base_url or relays",
    ),
    (
        "grants: [anthropic]\n",
        "1: no relay: set claude.hops or claude.base_url, or declare one in relays",
    ),
    ("grants: [anthropic]\nrelays: {}\n", "1: no relay:"),
    ("grants: [anthropic]\nclaude: {}\n", "1: no relay:"),
    ("grants: [anthropic]\nclaude: {base_url: null}\n", "1: no relay:"),
    ("relays: {r: {url: http://h}}\n", "1: grants: is required: at least one"),
    ("grants: []\nrelays: {r: {url: http://h}}\n", "1: grants: is required: at least one"),
    ("grants: [anthropic]\nrelays:\n  r: null\n", "3: relays.r: needs url"),
    # Grants
    (
        SHORT.replace("[anthropic]", "[openai]"),
        "3: claude.base_url: no declared grant can serve it",
    ),
    (SHORT.replace("[anthropic]", "[nope]"), "1: grants[0]: is none of the built-in grants"),
    (SHORT.replace("[anthropic]", "[anthropic, anthropic]"), "1: grants[1]: is declared twice"),
    (SHORT.replace("[anthropic]", "[5]"), "1: grants[0]: must be a mapping"),
    (
        SHORT.replace("[anthropic]", "anthropic"),
        "1: grants: must be a list, for example grants: [anthropic]",
    ),
    (SHORT.replace("[anthropic]", "[{name: none}]"), "1: grants[0].name: "),
    (SHORT.replace("[anthropic]", "[{source: {env: A}}]"), "1: grants[0].name: is required"),
    (grant_with("header: X"), "2: grants[0].header: is for custom grants only"),
    (grant_with("add: {}"), "2: grants[0].add: is for custom grants only"),
    (grant_with('headers: {X: "{}"}'), "2: grants[0].headers: is for custom grants only"),
    *(
        (relay_with("max_body: 5", f"[{{name: g, source: {{env: A}}, {fields}}}]"), message)
        for fields, message in (
            ('header: X, headers: {Y: "{}"}', "grants[0].header: stands beside headers"),
            ('format: "{}", headers: {Y: "{}"}', "grants[0].format: stands beside headers"),
            ('headers: {Y: "{}", y: "{a}"}', "grants[0].headers: says a header twice"),
            ('headers: {Y: "none"}', "must hold the name of a field once, in braces"),
            ('headers: {Y: "{a}{b}"}', "must hold the name of a field once, in braces"),
            ('headers: {Y: "{a b}"}', "must hold the name of a field once, in braces"),
            ('headers: {Host: "{a}"}', "must be the name of a header"),
            ("headers: {}", "a custom one needs name, source and header"),
        )
    ),
    (
        grant_with("sauce: {env: A}"),
        '2: grants[0].sauce: is an unknown key; did you mean "source"?',
    ),
    # Sources
    (grant_with("source: A_KEY"), "2: grants[0].source: must be one of {env: NAME}, {file: PATH}"),
    (grant_with("source: {}"), "2: grants[0].source: must be one of"),
    (grant_with("source: {var: A}"), "2: grants[0].source: must be one of"),
    (grant_with("source: {env: ''}"), "2: grants[0].source.env: must be the name of"),
    (grant_with("source: {env: 1A}"), "2: grants[0].source.env: must be the name of"),
    (grant_with("source: {env: 5}"), "2: grants[0].source.env: must be text; put it in quotes"),
    (grant_with("source: {env: A, file: b}"), "2: grants[0].source.file: is an unknown key; known"),
    (grant_with("source: {env: A, ttl: 5}"), "2: grants[0].source.ttl: is an unknown key"),
    (
        grant_with("source: {file: a, jsn: b}"),
        "2: grants[0].source.jsn: is an unknown key; did you",
    ),
    (grant_with("source: {file: ''}"), "2: grants[0].source.file: must be the path of a file"),
    (grant_with('source: {file: "a\\0"}'), "2: grants[0].source.file: must be the path of a file"),
    (grant_with("source: {file: a, json: ''}"), "2: grants[0].source.json: must not be empty"),
    (grant_with("source: {command: []}"), "2: grants[0].source.command: must not be empty"),
    (grant_with("source: {command: a b}"), "2: grants[0].source.command: must be a list"),
    (grant_with("source: {command: [a], ttl: 0}"), "2: grants[0].source.ttl: must be greater than"),
    (grant_with("source: {command: [a], ttl: x}"), "2: grants[0].source.ttl: must be a number"),
    (grant_with("source: {file: ' '}"), "2: grants[0].source.file: must be the path of a file"),
    (grant_with('source: {file: "a\\nb"}'), "2: grants[0].source.file: must be the path of a"),
    (grant_with("source: {file: ~nobody-at-all/x}"), "2: grants[0].source.file: names the home"),
    (
        grant_with('source: {file: a, json: "\\t"}'),
        "2: grants[0].source.json: must be a dotted path",
    ),
    (grant_with("source: {command: ['']}"), "2: grants[0].source.command: must be a program"),
    (grant_with('source: {command: ["a", "\\0"]}'), "2: grants[0].source.command: must be a"),
    (grant_with('source: {command: ["\\ud800"]}'), "2: "),
    # The shorthand
    ("grants: [anthropic]\nclaude: {base_url: localhost}\n", "2: claude.base_url: must begin with"),
    ("grants: [anthropic]\nclaude: {base_url: 5}\n", "2: claude.base_url: must be text"),
    ("grants: [anthropic]\nclaude: {url: http://h}\n", "2: claude.url: is an unknown key"),
    ("grants: [anthropic]\nclaude: http://h\n", "2: claude: must be a mapping"),
    (
        SHORT + "relays: {anthropic: {url: http://other}}\n",
        "4: relays.anthropic.url: differs from claude.base_url; keep one of them",
    ),
    # Its grant
    (SHORT + "  grant: claude\n", "2: claude: grant: names a grant that is not declared in grants"),
    (SHORT + "  grant: 5\n", "4: claude.grant: must be text"),
    (
        SHORT + "  grant: anthropic\nrelays: {anthropic: {grant: claude}}\n",
        "5: relays.anthropic.grant: differs from claude.grant; keep one of them",
    ),
    (
        "grants: [openai]\nclaude: {grant: openai}\nrelays: {openai: {url: http://h}}\n",
        "2: claude.grant: needs base_url beside it",
    ),
    # Relays
    ("grants: [anthropic]\nrelays: [a]\n", "2: relays: must be a mapping"),
    ("grants: [anthropic]\nrelays: {r: http://h}\n", "2: relays.r: must be a mapping"),
    ("grants: [anthropic]\nrelays: {a b: {url: http://h}}\n", "2: relays.<not shown>: a relay's"),
    ("grants: [anthropic]\nrelays: {'': {url: http://h}}\n", "2: relays.<not shown>: a relay's"),
    ("grants: [anthropic]\nrelays: {a/b: {url: http://h}}\n", "2: relays.a/b: a relay's name"),
    ("grants: [anthropic]\nrelays: {none: {url: http://h}}\n", "2: relays.none: "),
    ("grants: [anthropic]\nrelays: {r: {url: ftp://h}}\n", "2: relays.r.url: must begin with"),
    (relay_with("grnat: anthropic"), '4: relays.r.grnat: is an unknown key; did you mean "grant"?'),
    (relay_with("grant: openai"), "relays.r: grant: names a grant that is not declared"),
    (relay_with("grant: 5"), "4: relays.r.grant: must be text"),
    (relay_with("api: openai"), "relays.r: no declared grant can serve it; declare openai"),
    (relay_with("api: openai, grant: anthropic"), "relays.r: grant: cannot serve an API of"),
    (relay_with("api: gemini"), "4: relays.r.api: must be anthropic or openai"),
    (relay_with("allow: []"), "4: relays.r.allow: must not be empty"),
    (relay_with("allow: /v1"), "4: relays.r.allow: must be a list"),
    (relay_with("allow: [v1]"), "4: relays.r.allow[0]: must be a plain path that begins with /"),
    (relay_with("allow: [/a, /../b]"), "4: relays.r.allow[1]: must be a plain path"),
    (relay_with("allow: ['/a?b']"), "4: relays.r.allow[0]: must be a path without a query"),
    (relay_with("ca_file: /nowhere/ca.pem"), "4: relays.r.ca_file: must be a readable file of CA"),
    (relay_with("max_body: 0"), "4: relays.r.max_body: must be greater than 0"),
    (relay_with("max_body: 1.5"), "4: relays.r.max_body: must be a whole number"),
    (relay_with("max_body: true"), "4: relays.r.max_body: must be a whole number"),
    (relay_with("max_body: '5'"), "4: relays.r.max_body: must be a whole number"),
    # Listeners
    (SHORT + "listen: []\n", "4: listen: must not be empty"),
    (
        SHORT + "listen: 8484\n",
        '4: listen: must be a list, for example listen: ["127.0.0.1:8484"]',
    ),
    (SHORT + "admin: 9484\n", '4: admin: must be a list, for example admin: "127.0.0.1:9484"'),
    (SHORT + "listen: [8484]\n", '4: listen[0]: must be text like "127.0.0.1:8484"'),
    (SHORT + "listen: ['127.0.0.1']\n", "4: listen[0]: must be host:port"),
    (SHORT + "admin: ['127.0.0.1:x']\n", "4: admin[0]: must be host:port"),
    (SHORT + "admin: '127.0.0.1:8484'\n", "4: admin: must not be the same address as a listener"),
    (SHORT + "listen: ['0.0.0.0:8484']\n", "4: listen: a listener that is not loopback needs"),
    (SHORT + "listen: ['docker0:8484']\n", "4: listen: a listener that is not loopback needs"),
    # The relay itself
    (
        "grants: [anthropic]\nclaude:\n  base_url: http://localhost:8484\n",
        "3: claude.base_url: is the relay's own address; name what it should forward to",
    ),
    (
        relay_with("url: http://127.0.0.1:9484").replace("url: http://localhost:8787, ", ""),
        "4: relays.r.url: is the relay's own address",
    ),
    (SHORT + "listen: '127.0.0.1:8787'\n", "3: claude.base_url: is the relay's own address"),
    # Top-level keys that explain what is missing
    (SHORT.replace("grants", "grant"), "1: grants: is required: at least one"),
    (
        SHORT.replace("grants", "grant"),
        "1: grant: a top-level key is not the relay's; did you mean",
    ),
    (
        SHORT.replace("  base_url", "base_url"),
        "3: base_url: a top-level key is not the relay's; ind",
    ),
    # Clients
    (SHORT + "clients: {agent: a}\n", "4: clients: must be a list, for example clients: [{name:"),
    (SHORT + "clients: [agent]\n", "4: clients[0]: must be a mapping"),
    (SHORT + "clients: [{name: a}]\n", "4: clients[0].token: is required"),
    (SHORT + "clients: [{token: {env: A}}]\n", "4: clients[0].name: is required"),
    (SHORT + "clients: [{name: a b, token: {env: A}}]\n", "4: clients[0].name: must be letters"),
    (SHORT + "clients: [{name: a, token: {env: A}, tkn: 1}]\n", "4: clients[0].tkn: is an unknown"),
    (
        SHORT + "clients:\n  - {name: a, token: {env: A}}\n  - {name: a, token: {env: B}}\n",
        "6: clients[1].name: is declared twice",
    ),
    # Limits
    (SHORT + "timeouts: 5\n", "4: timeouts: must be a mapping"),
    (SHORT + "timeouts: {idel: 5}\n", '4: timeouts.idel: is an unknown key; did you mean "idle"?'),
    (SHORT + "timeouts: {idle: 0}\n", "4: timeouts.idle: must be greater than 0"),
    (SHORT + "timeouts: {idle: -1}\n", "4: timeouts.idle: must be greater than 0"),
    (SHORT + "timeouts: {idle: .nan}\n", "4: timeouts.idle: must be"),
    (SHORT + "timeouts: {idle: '5'}\n", "4: timeouts.idle: must be a number"),
    (SHORT + "timeouts: {idle: 5s}\n", "4: timeouts.idle: must be a number"),
    (SHORT + "timeouts: {idle: true}\n", "4: timeouts.idle: must be a number"),
    (SHORT + "drain: 30s\n", "4: drain: must be a number"),
    (SHORT + "drain: 1e999\n", "4: drain: must be a finite number"),
    (SHORT + "drain: -1e3\n", "4: drain: must not be negative"),
    (relay_with("max_body: 1e-3"), "4: relays.r.max_body: must be a whole number"),
    (SHORT + "drain: -1\n", "4: drain: "),
    # The file itself
    ("just text\n", "1: must be a mapping"),
    (SHORT + "grants: [claude]\n", '4: grants: "grants" is said twice; keep one'),
    (SHORT + "x: [\n", "is not valid YAML"),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_mistake_is_named_by_line_field_and_remedy(file: Path, text: str, expected: str) -> None:
    """Whoever reads it knows where to look and what to write."""
    assert any(expected in line for line in mistakes(file, text))


@pytest.mark.parametrize(
    "text",
    [
        "header: X-Key, format: 'no place'",
        "header: X-Key, format: '{} {}'",
        'header: X-Key, format: "{}\\n"',
        "header: X Key",
        "header: Host",
        "header: content-length",
        "header: Transfer-Encoding",
        "header: Connection",
        "header: X-Key, remove: [a b]",
        "header: X-Key, remove: text",
        "header: X-Key, add: {Host: a}",
        "header: X-Key, add: {a b: c}",
        'header: X-Key, add: {X: "a\\r\\nb"}',
        "header: X-Key, add: {X: \xe4}",
        "header: X-Key, add: [X]",
        "format: 'Key {}'",
    ],
)
def test_custom_grant_can_break_no_request(file: Path, text: str) -> None:
    """Headers that frame a request, and values that end a line, are refused."""
    grant = f"{{name: gateway, source: {{env: A}}, {text}}}"
    lines = mistakes(file, f"grants:\n  - {grant}\nrelays: {{r: {{url: http://h}}}}\n")
    assert any(line.startswith("2: grants[0]") for line in lines)


def test_custom_grant_needs_a_source_and_a_header(file: Path) -> None:
    """And is told from a misspelt built-in one."""
    for text in ("{name: g, header: X}", "{name: g, source: {env: A}}", "antropic"):
        (line, *_) = mistakes(file, SHORT.replace("[anthropic]", f"[{text}]"))
        assert line == (
            "1: grants[0]: is none of the built-in grants (anthropic, claude, openai); "
            "a custom one needs name, source and header"
        )


def test_all_mistakes_are_told_at_once(file: Path) -> None:
    """In the order of the file; none hides another."""
    text = """\
grants:
  - name: anthropic
    source: {env: not-a-name}
claude:
  base_url: localhost
relays:
  openai:
    url: http://h
    grant: missing
    allow: [v1]
listen: ["127.0.0.1"]
clients:
  - name: a b
    token: {env: A}
timeouts: {idle: 0, wirte: 5}
drain: soon
"""
    fields = [line.split(": ")[:2] for line in mistakes(file, text)]
    for expected in (
        ["3", "grants[0].source.env"],
        ["5", "claude.base_url"],
        ["7", "relays.openai"],
        ["10", "relays.openai.allow[0]"],
        ["11", "listen[0]"],
        ["13", "clients[0].name"],
        ["15", "timeouts.idle"],
        ["15", "timeouts.wirte"],
        ["16", "drain"],
    ):
        assert expected in fields
    assert [int(line) for line, _ in fields] == sorted(int(line) for line, _ in fields)


def test_shorthand_without_a_grant_says_what_is_missing(file: Path) -> None:
    """Both halves of it: the grant, and which one would serve."""
    assert mistakes(file, "claude:\n  base_url: http://localhost:8787\n") == [
        "1: grants: is required: at least one, for example grants: [anthropic]",
        "2: claude.base_url: needs a grant that can serve it: anthropic or claude",
    ]


def test_claude_may_be_null(file: Path) -> None:
    """A section that is there and empty is none."""
    text = "grants: [anthropic]\nclaude:\nrelays: {r: {url: http://h}}\ntimeouts:\nclients:\n"
    assert [relay.name for relay in read(file, text).relays] == ["r"]


# Secrets in the wrong place

MISPLACED = [
    "grants: [{}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: {}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: {}\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, source: {}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, source: [{}]}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, source: {{env: {}}}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, source: {{file: {}}}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, source: {{file: a, json: {}}}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, source: {{command: [{}]}}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, source: {{{}: x}}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, source: {{env: A, {}: x}}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, source: {{value: {}}}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, key: {}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, {}: x}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, header: {}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: g, source: {{env: A}}, header: X, format: {}}}]\nclaude: {{base_url: x}}\n",
    "grants: [{{anthropic: {}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [anthropic]\nclaude: {{base_url: {}}}\n",
    "grants: [anthropic]\nclaude: {{base_url: 'http://{}@h'}}\n",
    "grants: [anthropic]\nclaude: {{base_url: 'http://u:{}@h'}}\n",
    "grants: [anthropic]\nclaude: {{base_url: 'http://h?key={}'}}\n",
    "grants: [anthropic]\nclaude: {{base_url: http://h, key: {}}}\n",
    "grants: [anthropic]\nclaude: {{base_url: http://h, {}: x}}\n",
    "grants: [anthropic]\nclaude: {}\n",
    "grants: [anthropic]\nrelays: {}\n",
    "grants: [anthropic]\nrelays: {{r: {}}}\n",
    "grants: [anthropic]\nrelays: {{r: {{url: http://h, grant: {}}}}}\n",
    "grants: [anthropic]\nrelays: {{r: {{url: http://h, api: {}}}}}\n",
    "grants: [anthropic]\nrelays: {{r: {{url: http://h, key: {}}}}}\n",
    "grants: [anthropic]\nrelays: {{r: {{url: http://h, max_body: {}}}}}\n",
    "grants: [anthropic]\nrelays: {{r: {{url: http://h, allow: [{}]}}}}\n",
    "grants: [anthropic]\nrelays: {{r: {{url: http://h, ca_file: {}}}}}\n",
    SHORT + "clients: {}\n",
    SHORT + "clients: [{}]\n",
    SHORT + "clients: [{{name: agent, token: {}}}]\n",
    SHORT + "clients: [{{name: agent, token: {{env: {}}}}}]\n",
    SHORT + "clients: [{{name: agent, token: {{file: {}}}}}]\n",
    SHORT + "clients: [{{name: agent, token: {{file: a, json: {}}}}}]\n",
    SHORT + "clients: [{{name: agent, token: {{command: [{}]}}}}]\n",
    SHORT + "clients: [{{name: agent, token: {{value: {}}}}}]\n",
    SHORT + "clients: [{{name: {}, token: {{env: A}}}}]\n",
    SHORT + "clients: [{{agent: {}}}]\n",
    SHORT + "listen: [{}]\n",
    SHORT + "listen: ['{}:8484']\n",
    SHORT + "admin: {}\n",
    SHORT + "timeouts: {}\n",
    SHORT + "timeouts: {{idle: {}}}\n",
    SHORT + "timeouts: {{{}: 5}}\n",
    SHORT + "drain: {}\n",
    SHORT + "x: [{}\n",
    SHORT + "x: '{}\n",
    SHORT + "x: *{}\n",
    SHORT + "{}\n",
    "{}\n",
    "- {}\n",
]


@pytest.mark.parametrize("secret", [API_KEY, RELAY_TOKEN, HEX_KEY], ids=["key", "token", "hex"])
@pytest.mark.parametrize("template", MISPLACED)
def test_misplaced_secret_is_a_mistake_and_is_never_printed(
    file: Path, template: str, secret: str
) -> None:
    """Not in the error, not in its repr, not in what a traceback would show."""
    with pytest.raises(ConfigurationError) as caught:
        read(file, template.format(secret))
    error = caught.value
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert cause is None
    for part in (secret, secret[:20], secret[-20:]):
        assert part not in f"{error} {error!r} {error.explain()} {error.args!r}"


@pytest.mark.parametrize("name", ["my-relay-2024", "risk-model", "task-runner_2.eu-west-1"])
def test_name_that_looks_a_little_like_a_key_is_one(file: Path, name: str) -> None:
    """For relays, grants and clients alike."""
    text = (
        f"grants: [{{name: {name}, source: {{env: A}}, header: X-Key}}]\n"
        f"relays: {{{name}: {{url: http://h, grant: {name}}}}}\n"
        f"clients: [{{name: {name}, token: {{env: B}}}}]\n"
    )
    settings = read(file, text)
    (grant,), (relay,), (client,) = settings.grants, settings.relays, settings.clients
    assert {grant.name, relay.name, client.name} == {name}


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("{env: MY_SERVICE_2_API_KEY}", EnvSource(env="MY_SERVICE_2_API_KEY")),
        (f"{{file: {NIX_PATH}}}", FileSource(file=NIX_PATH)),
        (
            "{file: /x, json: claudeAiOauth.accessToken}",
            FileSource(file="/x", json_path="claudeAiOauth.accessToken"),
        ),
        (f"{{command: [{NIX_PATH}, -x]}}", CommandSource(command=(NIX_PATH, "-x"))),
        (
            f"{{command: [pass, show, {HEX_KEY}]}}",
            CommandSource(command=("pass", "show", HEX_KEY)),
        ),
    ],
)
def test_source_that_looks_a_little_like_a_key_is_one(
    file: Path, text: str, source: EnvSource | FileSource | CommandSource
) -> None:
    """Folders named by hashes, variables and paths with digits; arguments are never shown."""
    assert read(file, grant_with(f"source: {text}")).grants[0].sources == (source,)


@pytest.mark.parametrize(
    "template",
    [
        "grants: [anthropic]\nrelays: {{{}: {{url: http://h}}}}\n",
        SHORT + "clients: [{{name: {}, token: {{env: A}}}}]\n",
        "grants: [{{name: {}, source: {{env: A}}, header: X}}]\nrelays: {{r: {{url: http://h}}}}\n",
        "grants: [{{name: anthropic, source: {{env: {}}}}}]\nclaude: {{base_url: http://h}}\n",
    ],
    ids=["relay", "client", "grant", "variable"],
)
@pytest.mark.parametrize("secret", [API_KEY, RELAY_TOKEN, HEX_KEY], ids=["key", "token", "hex"])
def test_secret_is_no_name(file: Path, template: str, secret: str) -> None:
    """Names go into logs and metrics, so what looks like a key is none."""
    lines = mistakes(file, template.format(secret))
    assert secret not in str(lines)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (Grant, {"name": API_KEY}),
        (Grant, {"name": "g", "source": {"env": API_KEY}, "format": API_KEY, "other": API_KEY}),
        (Client, {"name": "c", "token": API_KEY}),
        (Claude, {"base_url": API_KEY}),
        (Relay, {"url": API_KEY, "max_body": API_KEY, "allow": [API_KEY]}),
        (Timeouts, {"idle": API_KEY}),
    ],
)
def test_schema_shows_no_input_by_itself(kind: type[Model], data: dict[str, object]) -> None:
    """Pydantic prints what it refuses unless it is told not to."""
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(data)
    assert API_KEY[:16] not in f"{caught.value} {caught.value!r}"


def test_secret_as_another_tools_key_is_no_mistake_and_not_shown(file: Path) -> None:
    """Neither a warning nor the description shows it."""
    settings = read(file, SHORT + f"{API_KEY}: 1\nother: {API_KEY}\n")
    shown = "\n".join(asyncio.run(describe(settings)))
    assert API_KEY not in shown + repr(settings)


def test_values_of_the_environment_stay_out_of_the_settings(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings say where a secret is, never what it is."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", API_KEY)
    monkeypatch.setenv("RELAY_TOKEN", RELAY_TOKEN)
    settings = read(file, SHORT, ANTHROPIC_API_KEY=API_KEY, RELAY_TOKEN=RELAY_TOKEN)
    shown = "\n".join([repr(settings), *asyncio.run(describe(settings))])
    assert API_KEY not in shown
    assert RELAY_TOKEN not in shown
