"""agent.yaml from end to end: where it is, what it comes to, and what the environment adds."""

from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from relay.config import (
    ClientSettings,
    CommandSource,
    ConfigurationError,
    EnvSource,
    FileSource,
    GrantSettings,
    ListenAddress,
    RelaySettings,
    Timeouts,
    UpstreamAddress,
    find_file,
    load,
)
from tests.unit.config.documents import (
    API_KEY,
    RELAY_TOKEN,
    SHORT,
    grant_with,
    mistakes,
    read,
    relay_with,
)

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
    ("api", "variable", "sent"),
    [
        ("anthropic", "ANTHROPIC_API_KEY", GrantSettings("anthropic", (), b"x-api-key")),
        (
            "anthropic",
            "CLAUDE_CODE_OAUTH_TOKEN",
            GrantSettings(
                "claude",
                (),
                b"Authorization",
                b"Bearer ",
                add=((b"anthropic-beta", b"oauth-2025-04-20"),),
            ),
        ),
        ("openai", "OPENAI_API_KEY", GrantSettings("openai", (), b"Authorization", b"Bearer ")),
    ],
)
def test_built_in_grants_are_as_documented(
    file: Path, api: str, variable: str, sent: GrantSettings
) -> None:
    """API, default sources, header, format and addition."""
    text = f"grants: [{sent.name}]\nrelays: {{r: {{url: http://h}}}}\n"
    (relay,) = read(file, text, RELAY_SECRETS="").relays
    secret = FileSource(file=f"/run/secrets/{variable.lower()}")
    assert relay.grant == replace(sent, sources=(EnvSource(env=variable), secret))
    assert relay.api == api


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
    with pytest.raises(ConfigurationError, match="no such file or directory; relay init"):
        load(file, {})
    with pytest.raises(ConfigurationError, match="cannot be read: is a directory"):
        load(tmp_path, {})
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
        load(file, {})
