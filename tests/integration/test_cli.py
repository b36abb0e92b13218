"""The command line: what is printed where, and the exit statuses 0, 1 and 2."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from relay import DOCS, __version__
from relay.cli import COMMANDS, FAILED, OK, UNUSABLE, main
from tests.harness.pages import serving_pages

API_KEY = "sk-ant-api03-Jr7Wm2Kx9Qv4Tz1Lb6Nc8Hd3Gf5Ys-pA0eUo"
TOKEN = "relay-Zk3Nw8Qx5Tb1Lm7Vc4Rj9Hd2Gf6Ys0Pa_Eu-oIiUuYt"
FUSE_SECONDS = 30.0
ROOT = Path(__file__).parents[2]
SHORT = """\
grants: [anthropic]
claude:
  base_url: http://localhost:8787
"""
Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start in an empty folder, with no secrets of the host's."""
    monkeypatch.setenv("RELAY_SECRETS", str(tmp_path / "secrets"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The short form, where the relay looks for it."""
    file = tmp_path / "agent.yaml"
    file.write_text(SHORT)
    return file


# relay


def test_version_is_printed(capsys: Output) -> None:
    """With status 0."""
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == OK
    assert capsys.readouterr().out == f"relay {__version__}\n"
    assert main(["version"]) == OK
    assert capsys.readouterr().out == f"relay {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["help"]])
def test_relay_alone_is_the_help(arguments: list[str], capsys: Output) -> None:
    """With every command in it, and status 0."""
    assert main(arguments) == OK
    out, err = capsys.readouterr()
    assert err == ""
    assert set(COMMANDS) <= set(re.findall(r"^    (\w+) ", out, re.MULTILINE))


def test_help_of_a_command_is_its_help(capsys: Output) -> None:
    """Word for word."""
    with pytest.raises(SystemExit):
        main(["env", "--help"])
    shown = capsys.readouterr().out
    assert main(["help", "env"]) == OK
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    "arguments", [["nope"], ["check", "--nope"], ["init", "--config", "x"], ["env", "extra"]]
)
def test_command_line_that_cannot_be_used_has_status_2(
    arguments: list[str], capsys: Output
) -> None:
    """And says how it would be right."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == UNUSABLE
    assert "usage: relay" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["servee"], "there is no 'servee'; did you mean serve?"),
        (["help", "usag"], "there is no 'usag'; did you mean usage?"),
        (["env", "--fromat", "shell"], "unrecognized arguments: --fromat; did you mean --format?"),
        (["doctor", "--reprot"], "unrecognized arguments: --reprot; did you mean --report?"),
        (["env", "codxe"], "there is no 'codxe'; did you mean codex?"),
        (["usage", "dayly"], "there is no 'dayly'; did you mean daily?"),
    ],
)
def test_what_was_probably_meant_is_named(arguments: list[str], hint: str, capsys: Output) -> None:
    """Of commands, options and what is chosen from."""
    with pytest.raises(SystemExit):
        main(arguments)
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["help"], *([name, "--help"] for name in COMMANDS)])
def test_help_names_the_docs_in_one_piece(arguments: list[str], capsys: Output) -> None:
    """An address that is cut is none; and but for the whole, examples stand before it."""
    with contextlib.suppress(SystemExit):
        main(arguments)
    out = capsys.readouterr().out
    assert re.search(rf"docs: {re.escape(DOCS)}(/commands\.md#relay-[a-z]+)?\n$", out)
    assert ("examples:\n  relay " in out) == (len(arguments) > 1)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: Output) -> None:
    """With status 0."""
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == OK
    assert f"usage: relay {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["check", "env", "token", "health", "serve"])
def test_aiohttp_is_not_imported_without_need(command: str, file: Path) -> None:
    """It costs 25 MB, which the health check would take every five seconds."""
    if command == "serve":
        file.write_text("")  # it ends where it has read the configuration
    check = (
        "import sys; from relay.cli import main; main(sys.argv[1:]);"
        "sys.exit('aiohttp' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RELAY_ADMIN": "127.0.0.1:1"}
    done = subprocess.run([sys.executable, "-c", check, command], env=environment, check=False)
    assert done.returncode == 0


def test_aiohttp_is_not_imported_before_the_relay_listens() -> None:
    """It takes longer to import than the rest of a start."""
    check = "import sys, relay.app; sys.exit('aiohttp' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", check], env=environment, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("command", ["serve", "check", "env", "doctor"])
def test_mistaken_configuration_has_status_2(command: str, file: Path, capsys: Output) -> None:
    """Each mistake on a line of its own, all of them, and their number."""
    file.write_text(f"grants: [{API_KEY}]\nclaude: {{base_url: localhost}}\n")
    assert main([command]) == UNUSABLE
    out, err = capsys.readouterr()
    assert out == ("false relay env failed=\n" if command == "env" else "")
    assert API_KEY not in err
    lines = err.splitlines()
    assert lines[0].startswith("relay: agent.yaml:1: grants[0].name: must be")
    assert lines[1].startswith("relay: agent.yaml:2: claude.base_url: ")
    assert lines[-1] == f"relay: {len(lines) - 1} mistakes in the configuration"


def test_single_mistake_is_counted_as_one(file: Path, capsys: Output) -> None:
    """In the singular."""
    file.write_text("")
    assert main(["check"]) == UNUSABLE
    assert capsys.readouterr().err.endswith("relay: 1 mistake in the configuration\n")


@pytest.mark.parametrize("arguments", [["check"], ["check", "--config", "missing.yaml"]])
def test_missing_configuration_has_status_2(arguments: list[str], capsys: Output) -> None:
    """Named or not; in one line, which says what writes one."""
    assert main(arguments) == UNUSABLE
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(
        r"relay: (not found: .*|missing.yaml cannot be .*: no such file.*); relay init writes one",
        line,
    )


def test_configuration_may_be_named_by_option_or_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """The option comes first."""
    named, other = tmp_path / "named.yaml", tmp_path / "other.yaml"
    named.write_text(SHORT.replace("8787", "1111"))
    other.write_text(SHORT.replace("8787", "2222"))
    monkeypatch.setenv("RELAY_CONFIG", str(other))
    assert main(["check"]) == OK
    assert "localhost:2222" in capsys.readouterr().out
    assert main(["check", "--config", str(named)]) == OK
    assert "localhost:1111" in capsys.readouterr().out


# relay check


def test_check_shows_what_would_be_served_without_secrets(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """A missing credential is no mistake: it may come."""
    assert main(["check"]) == OK
    out, err = capsys.readouterr()
    assert err == ""
    assert "relay     /relay/anthropic forwards to http://localhost:8787" in out
    assert "is MISSING: $ANTHROPIC_API_KEY is not set" in out
    monkeypatch.setenv("ANTHROPIC_API_KEY", API_KEY)
    monkeypatch.setenv("RELAY_TOKEN", TOKEN)
    assert main(["check"]) == OK
    out, err = capsys.readouterr()
    assert "is there, from $ANTHROPIC_API_KEY" in out
    assert "client    agent: token is there, from $RELAY_TOKEN" in out
    assert API_KEY not in out + err
    assert TOKEN not in out + err


def test_check_takes_the_file_by_itself(file: Path, tmp_path: Path, capsys: Output) -> None:
    """As other tools that check a file do."""
    other = tmp_path / "other.yaml"
    other.write_text(file.read_text().replace("8787", "9999"))
    assert main(["check", str(other)]) == OK
    assert "forwards to http://localhost:9999" in capsys.readouterr().out
    assert main(["check", "absent.yaml"]) == UNUSABLE
    assert "absent.yaml" in capsys.readouterr().err


# relay env


def test_env_prints_what_an_agent_needs(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """The relay's address and the token: all that the agent ever gets."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", API_KEY)
    monkeypatch.setenv("RELAY_TOKEN", TOKEN)
    assert main(["env"]) == OK
    comment, *lines = capsys.readouterr().out.splitlines()
    assert comment.startswith("# WebFetch ")
    assert lines == [
        "ANTHROPIC_BASE_URL=http://127.0.0.1:8484/relay/anthropic",
        f"ANTHROPIC_AUTH_TOKEN={TOKEN}",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",
        "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL=1",
        "CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING=1",
        "CLAUDE_CODE_PROPAGATE_TRACEPARENT=1",
        "ENABLE_TOOL_SEARCH=true",
        "NO_PROXY=127.0.0.1",
        "no_proxy=127.0.0.1",
    ]
    assert main(["env", "--host", "10.84.84.1", "--client", "agent"]) == OK
    out = capsys.readouterr().out
    assert "ANTHROPIC_BASE_URL=http://10.84.84.1:8484/relay/anthropic\n" in out
    assert API_KEY not in out


def test_env_without_a_token_has_status_1(file: Path, capsys: Output) -> None:
    """It is no mistake in the configuration, yet nothing can be printed."""
    file.write_text(SHORT + "clients: [{name: agent, token: {env: RELAY_TEST_TOKEN}}]\n")
    assert main(["env"]) == FAILED
    out, err = capsys.readouterr()
    assert out == "false relay env failed=\n"
    assert err == (
        "relay: client agent has no token yet: $RELAY_TEST_TOKEN is not set; "
        "relay token makes one\n"
    )


@pytest.mark.parametrize("shell", ["shell", "fish"])
@pytest.mark.parametrize(
    "arguments", [[], ["codx"], ["--nope"], ["--client", "nobody"], ["--config", "absent.yaml"]]
)
def test_env_that_fails_is_a_command_that_fails(
    shell: str, arguments: list[str], file: Path, capsys: Output
) -> None:
    """Else `eval "$(relay env ...)" && claude` would start it against the real API."""
    if not arguments:
        file.write_text("grants: 7")
    for form in ([f"--format={shell}"], ["--format", shell]):
        with contextlib.suppress(SystemExit):
            assert main(["env", *form, *arguments]) in (FAILED, UNUSABLE)
        assert capsys.readouterr().out == "false\n"


def test_help_of_env_is_no_failure(capsys: Output) -> None:
    """It is what was asked for."""
    with pytest.raises(SystemExit):
        main(["env", "--help"])
    assert "relay env failed" not in capsys.readouterr().out


def test_notes_of_shells_are_on_standard_error(file: Path, capsys: Output) -> None:
    """In an eval without quotes a comment would swallow what stands behind it."""
    assert main(["env", "--format", "shell"]) == OK
    out, err = capsys.readouterr()
    assert "#" not in out
    assert err.startswith("relay: WebFetch asks api.anthropic.com")


def test_env_of_one_agents_own_file_needs_no_agents_name(file: Path, capsys: Output) -> None:
    """Only Claude Code reads settings.json, and only Codex config.toml."""
    assert main(["env", "--format", "settings"]) == OK
    page = json.loads(capsys.readouterr().out)
    assert page["skipWebFetchPreflight"] is True
    assert page["env"]["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:8484/relay/anthropic"
    assert main(["env", "codex", "--format", "settings"]) == UNUSABLE
    out, err = capsys.readouterr()
    assert err == "relay: settings is the file of claude-code alone\n"
    with pytest.raises(json.JSONDecodeError):
        json.loads(out)


def test_env_says_which_of_several_relays_it_is_for(file: Path, capsys: Output) -> None:
    """Aside from what it prints; the other is had by its name."""
    url = "http://localhost:8787"
    file.write_text(f"grants: [anthropic]\nrelays: {{a: {{url: {url}}}, b: {{url: {url}}}}}\n")
    assert main(["env"]) == OK
    out, err = capsys.readouterr()
    assert "/relay/a\n" in out
    assert err == "relay: this is for the relay a; --relay chooses another: b\n"
    assert main(["env", "--relay", "b"]) == OK
    out, err = capsys.readouterr()
    assert "/relay/b\n" in out
    assert err == ""


# relay token


def test_token_is_printed(capsys: Output) -> None:
    """Alone on its line, another one each time."""
    assert (main(["token"]), main(["token"])) == (OK, OK)
    first, second = capsys.readouterr().out.splitlines()
    assert first != second
    assert re.fullmatch(r"relay-[A-Za-z0-9_-]{43}", first)


def test_token_is_written_once(tmp_path: Path, capsys: Output) -> None:
    """As on every start of the stack; and it is not printed then."""
    file = tmp_path / "relay_token"
    assert main(["token", "--to", str(file)]) == OK
    token = file.read_text()
    assert main(["token", "--to", str(file)]) == OK
    assert file.read_text() == token
    out, err = capsys.readouterr()
    assert out == f"{file}: a fresh token\n{file}: there is a token already\n"
    assert token.strip() not in out + err


def test_a_client_goes_where_agent_yaml_says(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or into the folder that is named; where there is not one, that is said."""
    file, folder = tmp_path / "agent.yaml", tmp_path / "clients"
    folder.mkdir()
    monkeypatch.setenv("RELAY_CONFIG", str(file))
    file.write_text(SHORT)
    assert main(["token", "--client", "job"]) == UNUSABLE
    assert "names no folder of clients; say --folder DIR" in capsys.readouterr().err
    file.write_text(SHORT + "clients: [{name: sandbox, folder: clients}]\n")
    assert main(["token", "--client", "job", "--for", "8h"]) == OK
    assert capsys.readouterr().out == f"{folder}/job\n"
    assert main(["token", "--client", "job", "--folder", str(tmp_path)]) == OK
    assert capsys.readouterr().out == f"{tmp_path}/job\n"
    assert main(["token", "--for", "8h"]) == UNUSABLE
    assert "--for and --folder go with --client" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0h", "8x", "-1h", "h", "1.5h"])
def test_a_time_that_is_none_is_refused(capsys: Output, text: str) -> None:
    """Of a token that would never have been good."""
    with pytest.raises(SystemExit) as caught:
        main(["token", "--client", "job", f"--for={text}"])
    assert caught.value.code == UNUSABLE
    assert "must be a time such as" in capsys.readouterr().err


def test_token_that_cannot_be_written_has_status_1(tmp_path: Path, capsys: Output) -> None:
    """With the reason."""
    assert main(["token", "--to", str(tmp_path / "nowhere/token")]) == FAILED
    assert "no such file or directory" in capsys.readouterr().err


# relay health


PAGES = {"/healthz": (200, b"alive\n"), "/readyz": (503, b"not ready\n")}


def test_health_tells_alive_from_ready(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    """By two pages, and without a configuration."""
    with serving_pages(PAGES.__getitem__) as port:
        monkeypatch.setenv("RELAY_ADMIN", f"127.0.0.1:{port}")
        assert main(["health"]) == OK
        assert capsys.readouterr().out == "alive\n"
        assert main(["health", "--ready"]) == FAILED
        assert capsys.readouterr().out == "not ready\n"


@pytest.mark.parametrize("text", [SHORT, "admin", "grants: [oops]\n"])
def test_health_reads_the_address_from_any_file_that_has_one(
    file: Path, text: str, capsys: Output
) -> None:
    """Whether the rest of it is valid or not."""
    with serving_pages(PAGES.__getitem__) as port:
        file.write_text(f"admin: '127.0.0.1:{port}'\n" + ("" if text == "admin" else text))
        assert main(["health", "--config", str(file)]) == OK
        assert capsys.readouterr().out == "alive\n"


def test_health_without_a_relay_has_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """With the address that was asked."""
    with socket.socket() as handle:
        handle.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{handle.getsockname()[1]}"
        monkeypatch.setenv("RELAY_ADMIN", address)
        assert main(["health"]) == FAILED
    assert capsys.readouterr().err == f"relay: no relay answers at {address}\n"


@pytest.mark.parametrize("admin", ["nonsense", "nowhere0:9484"])
def test_health_of_an_address_that_is_none_has_status_1(
    admin: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """And says why."""
    monkeypatch.setenv("RELAY_ADMIN", admin)
    assert main(["health"]) == FAILED
    assert capsys.readouterr().err.startswith("relay: ")


# relay serve, as a process


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start ``python -m relay``."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "relay", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_runs_until_it_is_told_to_stop(number: signal.Signals, file: Path) -> None:
    """With status 0, and a log in JSON where nobody reads along."""
    environment = {"RELAY_LISTEN": "127.0.0.1:0", "RELAY_ADMIN": "127.0.0.1:0"}
    with start("serve", **environment, ANTHROPIC_API_KEY=API_KEY) as process:
        fuse = threading.Timer(FUSE_SECONDS, process.kill)
        fuse.start()
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(json.loads(line))
            if "forwards to" in lines[-1]["message"]:
                process.send_signal(number)
        fuse.cancel()
        assert process.wait() == OK
    messages = [line["message"] for line in lines]
    assert any(message.startswith("admin pages on 127.0.0.1:") for message in messages)
    assert any(message.startswith("relays on 127.0.0.1:") for message in messages)
    assert messages[-1] == "stopped"
    assert API_KEY not in str(lines)


@pytest.mark.parametrize(
    ("variable", "purpose"), [("RELAY_LISTEN", "relays"), ("RELAY_ADMIN", "admin pages")]
)
def test_serve_on_a_taken_port_has_status_1(file: Path, variable: str, purpose: str) -> None:
    """And says which, what for and what to do on a line, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        free = {"RELAY_LISTEN": "127.0.0.1:0", "RELAY_ADMIN": "127.0.0.1:0"}
        with start("serve", **(free | {variable: taken})) as process:
            _, err = process.communicate(timeout=FUSE_SECONDS)
    assert process.returncode == FAILED
    said = f"relay: cannot listen on {taken} for {purpose}: address already in use; end what has it"
    # The log has a thread of its own, whose last lines may come behind it.
    assert any(line.startswith(said) for line in err.splitlines())
    assert f"${variable} to another address" in err
    assert "Traceback" not in err


def test_reader_that_has_had_enough_is_no_fault(file: Path) -> None:
    """``relay check | head -1`` ends in silence."""
    with start("check") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == FAILED
