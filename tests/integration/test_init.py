"""``relay init`` without a terminal: what it finds, writes, leaves alone and says."""

import asyncio
import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import pytest

from relay import DOCS
from relay.cli import FAILED, OK, UNUSABLE, main
from relay.commands.arguments import CREDENTIALS
from relay.commands.client import BlockingClient
from relay.commands.init import detect
from relay.config import load
from tests.harness import no_headroom
from tests.harness.messages import OK as ANSWER
from tests.harness.messages import request
from tests.harness.pages import serving_pages
from tests.harness.relay import relay_process
from tests.harness.secrets import KEY, OAUTH, OPENAI_KEY
from tests.harness.upstream import Upstream

Output = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]
HEADROOM = {"service": "headroom-proxy", "version": "0.42.0", "alive": True}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and a home without a login."""
    folder, home = tmp_path / "project", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def _no_headroom_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BlockingClient, "ask", no_headroom.ask)


@pytest.fixture
def compose(folder: Path) -> Path:
    """The same beside a compose.yaml."""
    (folder / "compose.yaml").touch()
    return folder


def log_in(home: Path, token: str = OAUTH) -> Path:
    """Log Claude Code in."""
    file = home / ".credentials.json"
    home.mkdir(exist_ok=True)
    file.write_text(json.dumps({"claudeAiOauth": {"accessToken": token, "refreshToken": "x"}}))
    file.chmod(0o600)
    return file


def mode_of(path: Path) -> int:
    """Return a file's permissions."""
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def answering(page: object, status: int = 200) -> Iterator[str]:
    """Answer every GET with a page, and return the address."""
    body = json.dumps(page).encode()
    with serving_pages(lambda path: (status if path == "/livez" else 404, body)) as port:
        yield f"http://127.0.0.1:{port}"


def test_command_line_and_finder_name_the_same_credentials() -> None:
    """The command line holds its own list, for nothing is imported to print help."""
    assert get_args(detect.Credential) == CREDENTIALS


# On this host


def test_host_gets_a_configuration_and_a_token(folder: Path, capsys: Output) -> None:
    """What it wrote is what relay check takes; the token is the user's alone."""
    assert main(["init", "--yes"]) == OK
    out, err = capsys.readouterr()
    assert err == ""
    assert "wrote     agent.yaml\nwrote     relay_token\n" in out
    assert (
        "serves    /relay/anthropic forwards to https://api.anthropic.com, API anthropic\n" in out
    )
    setting = "ANTHROPIC_TARGET_API_URL=http://127.0.0.1:8485/anthropic/headroom"
    assert f"next      # in Headroom: {setting}\n          relay serve\n" in out
    assert f"relay run --config {folder / 'agent.yaml'} -- claude\n" in out
    assert main(["check"]) == OK
    assert "token is there, from " in capsys.readouterr().out
    assert sorted(each.name for each in folder.iterdir()) == ["agent.yaml", "relay_token"]
    assert (mode_of(folder / "agent.yaml"), mode_of(folder / "relay_token")) == (0o644, 0o600)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "/relay_token\n/secrets\n"),
        ("*.pyc", "*.pyc\n/relay_token\n/secrets\n"),
        ("relay_token\n/secrets/*\n", None),
        ("*\n", None),
    ],
)
def test_no_secret_is_written_where_it_would_be_committed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, before: str | None, after: str | None
) -> None:
    """In a project under git, .gitignore keeps them out; what it says already stays."""
    (folder.parent / ".git").mkdir()
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    file = folder / ".gitignore"
    if before is not None:
        file.write_text(before)
    assert main(["init", "--yes", "--for", "host", "--store"]) == OK
    assert file.read_text() == (before if after is None else after)
    assert (folder / "relay_token").exists()
    assert (folder / "secrets/anthropic_api_key").exists()


def test_no_secret_is_written_where_gitignore_cannot_be(folder: Path, capsys: Output) -> None:
    """Then there is nothing at all."""
    (folder / ".git").mkdir()
    (folder / ".gitignore").mkdir()
    assert main(["init", "--yes", "--for", "host"]) == FAILED
    assert ".gitignore cannot be read" in capsys.readouterr().err
    assert not (folder / "relay_token").exists()


async def test_relay_serves_by_what_was_written(folder: Path, upstream: Upstream) -> None:
    """As a process, with the token that was written and none without."""
    upstream.answer_with(ANSWER)
    url = f"http://127.0.0.1:{upstream.port}"
    arguments = ["init", "--yes", "--credential", "anthropic", "--upstream", url]
    assert await asyncio.to_thread(main, arguments) == OK
    text = (folder / "agent.yaml").read_text()
    token = (folder / "relay_token").read_text().strip()
    ports = {"RELAY_LISTEN": "127.0.0.1:0", "RELAY_ADMIN": "127.0.0.1:0"}
    async with relay_process(folder, text, ports | {"ANTHROPIC_API_KEY": KEY}) as relay:
        assert (await relay.ask(request(token=token))).status == 200
        assert (await relay.ask(request(token=None))).status == 401
    probe, call = upstream.requests
    assert (probe.target, probe.values("x-api-key")) == (b"/livez", [])
    assert call.values("x-api-key") == [KEY.encode()]


def test_store_without_a_value_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """And what to do; then it is kept, and nothing is said."""
    note = "note      --store found nothing to keep: set it, and run this again with --force\n"
    assert main(["init", "--yes", "--store"]) == OK
    assert note in capsys.readouterr().out
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    assert main(["init", "--yes", "--store", "--force"]) == OK
    assert note not in capsys.readouterr().out
    assert (folder / "secrets/anthropic_api_key").read_text().strip() == KEY


def test_host_may_serve_agents_in_containers(folder: Path, capsys: Output) -> None:
    """On Docker's bridge, whether or not it is there yet."""
    assert main(["init", "--yes", "--bridge", "--port", "9000", "--admin-port", "9001"]) == OK
    settings = load(folder / "agent.yaml")
    assert [str(each) for each in settings.listen] == ["127.0.0.1:9000", "docker0:9000"]
    assert [str(each) for each in settings.admin] == ["127.0.0.1:9001"]
    command = f"relay env --config {folder / 'agent.yaml'} --host host.docker.internal > agent.env"
    assert command in capsys.readouterr().out


def test_credential_may_be_kept_in_a_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """Only where that is asked for; and it is never printed."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    assert main(["init", "--yes"]) == OK
    assert not (folder / "secrets").exists()
    assert "$ANTHROPIC_API_KEY must be set wherever relay serve runs" in capsys.readouterr().out
    assert main(["init", "--yes", "--store", "--force"]) == OK
    out, err = capsys.readouterr()
    file = folder / "secrets/anthropic_api_key"
    assert (file.read_text(), mode_of(file)) == (f"{KEY}\n", 0o600)
    assert KEY not in out + err
    assert KEY not in (folder / "agent.yaml").read_text()
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    assert main(["check"]) == OK
    assert f"is there, from {file}" in capsys.readouterr().out


# Beside compose.yaml


def test_compose_gets_a_folder_of_its_own_and_a_dotenv(compose: Path, capsys: Output) -> None:
    """The stack makes the token; the relay runs as the user, but not as root."""
    assert main(["init", "--yes"]) == OK
    out = capsys.readouterr().out
    ids = f"RELAY_UID={os.getuid()}\nRELAY_GID={os.getgid()}\n" if os.getuid() else ""
    assert (compose / ".env").read_text() == f"RELAY_CONFIG_DIR=./config\n{ids}"
    assert load(compose / "config/agent.yaml").relays[0].name == "anthropic"
    ledger = load(compose / "config/agent.yaml").ledger
    assert ledger is not None
    assert ledger.path == "/var/lib/relay/ledger.db"  # where compose.yaml has a volume
    assert "warning" not in out
    assert mode_of(compose / ".env") == 0o600
    assert "wrote     config/agent.yaml\nwrote     .env\n" in out
    assert "next      docker compose --profile headroom up -d\n" in out
    assert "relay env --host 10.84.84.1 > agent.env\n" in out


@pytest.mark.parametrize(
    ("text", "is_noted"),
    [(None, True), ("services: {web: {image: x}}\n", True), ("${RELAY_CONFIG_DIR}", False)],
)
def test_for_compose_elsewhere_than_in_the_relays_folder(
    folder: Path, capsys: Output, text: str | None, is_noted: bool
) -> None:
    """It says so: nothing there would read what is written."""
    if text is not None:
        (folder / "compose.yaml").write_text(text)
    assert main(["init", "--yes", "--for", "compose"]) == OK
    assert ("note      this is not the relay's folder" in capsys.readouterr().out) == is_noted


def test_files_name_pages_by_their_address(folder: Path) -> None:
    """Whoever installed it by pip has no folder docs."""
    assert main(["init", "--yes"]) == OK
    assert f"{DOCS}/configuration.md" in (folder / "agent.yaml").read_text()


def test_compose_gets_ports_and_the_bridge(
    compose: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """With the gateway that .env has; a second time nothing changes, whatever is left out."""
    (compose / ".env").write_text("RELAY_GATEWAY=10.84.94.1\nOTHER='x y'")
    arguments = ["init", "--yes", "--bridge", "--port", "24100", "--admin-port", "24101"]
    assert main(arguments) == OK
    env = (compose / ".env").read_text()
    assert env.startswith("RELAY_GATEWAY=10.84.94.1\nOTHER='x y'\nRELAY_CONFIG_DIR=./config\n")
    assert "RELAY_PORT=24100\nRELAY_ADMIN_PORT=24101\n" in env
    assert "RELAY_LISTEN=127.0.0.1:24100,10.84.94.1:24100,docker0:24100\n" in env
    capsys.readouterr()
    assert main(["init", "--yes"]) == OK
    assert (compose / ".env").read_text() == env
    assert "kept      config/agent.yaml\nkept      .env\n" in capsys.readouterr().out
    assert main(["init", "--yes", "--no-bridge"]) == OK
    assert "RELAY_LISTEN" not in (compose / ".env").read_text()
    assert "--host 10.84.94.1 > agent.env" in capsys.readouterr().out


def test_dotenv_keeps_what_it_has_and_its_mode(compose: Path, capsys: Output) -> None:
    """A credential in it counts as one that is there, and stays nobody else's."""
    (compose / ".env").write_text(f"# mine\nexport ANTHROPIC_API_KEY={KEY}\n")
    (compose / ".env").chmod(0o640)
    assert main(["init", "--yes"]) == OK
    out = capsys.readouterr().out
    assert "found     anthropic: .env\n" in out
    assert KEY not in out
    text = (compose / ".env").read_text()
    assert text.startswith(f"# mine\nexport ANTHROPIC_API_KEY={KEY}\nRELAY_CONFIG_DIR=./config\n")
    assert mode_of(compose / ".env") == 0o640


def test_dotenv_may_begin_with_a_byte_order_mark(compose: Path, capsys: Output) -> None:
    """What stands behind it is a variable like any other, to Compose too."""
    (compose / ".env").write_text(f"ANTHROPIC_API_KEY={KEY}\n", encoding="utf-8-sig")
    assert main(["init", "--yes"]) == OK
    assert "found     anthropic: .env\n" in capsys.readouterr().out
    text = (compose / ".env").read_text()
    assert text.startswith(f"ANTHROPIC_API_KEY={KEY}\nRELAY_CONFIG_DIR=./config\n")


def test_dotenv_that_is_a_link_stays_one(compose: Path) -> None:
    """Somebody keeps it elsewhere."""
    elsewhere = compose.parent / "shared.env"
    elsewhere.write_text("A=b\n")
    (compose / ".env").symlink_to(elsewhere)
    assert main(["init", "--yes"]) == OK
    assert (compose / ".env").is_symlink()
    assert elsewhere.read_text().startswith("A=b\nRELAY_CONFIG_DIR=./config\n")


def test_nothing_is_replaced_without_force(compose: Path, capsys: Output) -> None:
    """Neither a configuration nor a variable; and where one is in the way, nothing is written."""
    (compose / "config").mkdir()
    (compose / "config/agent.yaml").write_text("grants: [openai]\n")
    assert main(["init", "--yes"]) == FAILED
    said = "config/agent.yaml is there, and says something else; --force replaces it"
    assert capsys.readouterr().err == f"relay: {said}\n"
    assert not (compose / ".env").exists()
    (compose / "config/agent.yaml").unlink()
    (compose / ".env").write_text("RELAY_CONFIG_DIR=./mine\n")
    assert main(["init", "--yes"]) == FAILED
    said = ".env says something else of RELAY_CONFIG_DIR; --force replaces it"
    assert capsys.readouterr().err == f"relay: {said}\n"
    assert not (compose / "config/agent.yaml").exists()
    assert main(["init", "--yes", "--force"]) == OK
    assert "RELAY_CONFIG_DIR=./config\n" in (compose / ".env").read_text()
    assert "mine" not in (compose / ".env").read_text()


def test_force_keeps_tokens_and_credentials(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents that have the token are not locked out, and a key is not lost."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    assert main(["init", "--yes", "--store"]) == OK
    token = (folder / "relay_token").read_text()
    (folder / "secrets/anthropic_api_key").write_text("sk-ant-api03-another-one-that-was-there")
    assert main(["init", "--yes", "--store", "--force"]) == OK
    assert (folder / "relay_token").read_text() == token
    assert "another-one" in (folder / "secrets/anthropic_api_key").read_text()


# Which credential, which upstream


@pytest.mark.parametrize(
    ("there", "grants"),
    [
        ((), ["anthropic"]),
        (("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"), ["anthropic"]),
        (("CLAUDE_CODE_OAUTH_TOKEN", "login"), ["claude"]),
        (("login", "OPENAI_API_KEY"), ["claude", "openai"]),
        (("OPENAI_API_KEY",), ["openai"]),
    ],
)
def test_credential_that_is_there_is_proposed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], grants: list[str]
) -> None:
    """An API key before a subscription, and OpenAI's besides."""
    for name in there:
        if name == "login":
            log_in(folder.parent / "home/.claude")
        else:
            monkeypatch.setenv(name, OPENAI_KEY if name.startswith("OPENAI") else KEY)
    assert main(["init", "--yes"]) == OK
    assert sorted(grant.name for grant in load(folder / "agent.yaml").grants) == grants


def test_login_is_used_where_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """By ~ in the usual place, and where Claude Code was told to keep it."""
    login = log_in(folder.parent / "home/.claude")
    assert main(["init", "--yes"]) == OK
    assert (
        '{file: "~/.claude/.credentials.json", json: claudeAiOauth.accessToken}'
        in (folder / "agent.yaml").read_text()
    )
    out = capsys.readouterr().out
    assert f"found     subscription: {login}\n" in out
    assert "for your own subscription on your own machine: https://www.anthropic.com/" in out
    assert main(["check"]) == OK
    assert f"claude, is there, from {login} (claudeAiOauth.accessToken)" in capsys.readouterr().out
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(folder.parent / "named"))
    log_in(folder.parent / "named")
    assert main(["init", "--yes", "--force"]) == OK
    assert str(folder.parent / "named/.credentials.json") in (folder / "agent.yaml").read_text()


def test_login_is_mounted_by_compose(compose: Path, capsys: Output) -> None:
    """By a variable, and by no further file; a later choice of a key takes it away again."""
    home = compose.parent / "home/.claude"
    log_in(home)
    assert main(["init", "--yes"]) == OK
    env = (compose / ".env").read_text()
    assert f"RELAY_UID={os.getuid()}\n" in env
    assert "COMPOSE_FILE" not in env
    assert f"CLAUDE_CREDENTIALS_DIR={home}\n" in env
    assert main(["init", "--yes", "--force", "--credential", "anthropic"]) == OK
    assert "CLAUDE_CREDENTIALS_DIR" not in (compose / ".env").read_text()


def test_login_that_is_still_to_come_is_mounted_from_the_usual_folder(compose: Path) -> None:
    """Of whoever starts the stack, as Compose reads it."""
    assert main(["init", "--yes", "--credential", "subscription"]) == OK
    assert "CLAUDE_CREDENTIALS_DIR=${HOME}/.claude\n" in (compose / ".env").read_text()


def test_an_earlier_dotenv_names_no_compose_file_any_more(compose: Path) -> None:
    """With -f Compose ignored it, and so started the relay without the login."""
    earlier = "examples/claude-subscription/compose.yaml"
    assert (ROOT / earlier).is_file()  # it is named until relay init runs again
    home = compose.parent / "home/.claude"
    log_in(home)
    (compose / ".env").write_text(
        f"RELAY_CONFIG_DIR=./config\nCOMPOSE_FILE=compose.yaml:{earlier}\n"
    )
    assert main(["init", "--yes"]) == OK
    env = (compose / ".env").read_text()
    assert "COMPOSE_FILE" not in env
    assert f"CLAUDE_CREDENTIALS_DIR={home}\n" in env
    (compose / ".env").write_text(f"{env}COMPOSE_FILE=compose.yaml:mine.yaml\n")
    assert main(["init", "--yes"]) == OK
    assert "COMPOSE_FILE=compose.yaml:mine.yaml\n" in (compose / ".env").read_text()


def test_each_api_goes_to_its_own_where_there_is_no_headroom(folder: Path) -> None:
    """One address does for both where it is Headroom's."""
    both = ["--credential", "anthropic", "--credential", "openai"]
    assert main(["init", "--yes", *both, "--upstream", "https://api.anthropic.com"]) == OK
    urls = {relay.name: str(relay.upstream) for relay in load(folder / "agent.yaml").relays}
    assert urls == {"anthropic": "https://api.anthropic.com", "openai": "https://api.openai.com"}
    assert main(["init", "--yes", "--force", *both]) == OK
    urls = {relay.name: str(relay.upstream) for relay in load(folder / "agent.yaml").relays}
    assert urls == {"anthropic": "https://api.anthropic.com", "openai": "https://api.openai.com"}
    hops = {str(hop.upstream) for relay in load(folder / "agent.yaml").relays for hop in relay.hops}
    assert hops == {"http://localhost:8787"}


@pytest.mark.parametrize(
    ("page", "status", "line"),
    [
        (HEADROOM, 200, "found     Headroom 0.42.0 at "),
        (HEADROOM | {"version": "<b>"}, 200, "found     Headroom unknown at "),
        ({"service": "another", "version": "0.42.0"}, 200, "missing   no Headroom answers at "),
        (["headroom-proxy"], 200, "missing   no Headroom answers at "),
    ],
)
def test_headroom_is_told_from_what_else_may_answer(
    page: object, status: int, line: str, capsys: Output
) -> None:
    """By what its own page says of itself."""
    with answering(page, status) as url:
        assert main(["init", "--yes", "--upstream", url]) == OK
    assert f"{line}{url}" in capsys.readouterr().out


def test_headroom_that_answers_becomes_a_hop(folder: Path, capsys: Output) -> None:
    """It never sees the credential; what is to be set in it is in the file, and comes next."""
    both = ["--credential", "anthropic", "--credential", "openai"]
    with answering(HEADROOM) as url:
        assert main(["init", "--yes", *both, "--upstream", url]) == OK
        relays = {relay.name: relay for relay in load(folder / "agent.yaml").relays}
    assert {name: str(each.upstream) for name, each in relays.items()} == detect.APIS
    for relay in relays.values():
        (hop,) = relay.hops
        assert (hop.name, str(hop.upstream), hop.headers) == ("headroom", url, ())
    out = capsys.readouterr().out
    assert "serves    /relay/anthropic forwards to https://api.anthropic.com, API anth" in out
    for api, variable in (("anthropic", "ANTHROPIC"), ("openai", "OPENAI")):
        setting = f"{variable}_TARGET_API_URL=http://127.0.0.1:8485/{api}/headroom"
        assert f"# in Headroom: {setting}\n" in out
        assert f"# in Headroom: {setting}\n" in (folder / "agent.yaml").read_text()
    assert main(["check"]) == OK
    assert f"              {setting}\n" in capsys.readouterr().out


def test_return_address_has_the_port_that_compose_gives_it(compose: Path, capsys: Output) -> None:
    """A Headroom on the host comes back by loopback there too."""
    (compose / ".env").write_text("RELAY_RETURN_PORT=9485\n")
    with answering(HEADROOM) as url:
        assert main(["init", "--yes", "--upstream", url]) == OK
    assert "# in Headroom: ANTHROPIC_TARGET_API_URL=http://127.0.0.1:9485/" in (
        capsys.readouterr().out
    )
    assert f"url: {url}\n" in (compose / "config/agent.yaml").read_text()


def test_headroom_of_the_stack_becomes_a_hop(compose: Path, capsys: Output) -> None:
    """With what it wants to be called with; compose.yaml has told it where to send on."""
    assert main(["init", "--yes"]) == OK
    (hop,) = load(compose / "config/agent.yaml").relays[0].hops
    (example,) = load(ROOT / "examples/llm-proxy/agent.yaml").relays[0].hops
    assert hop == example
    out = capsys.readouterr().out
    assert "note      Headroom: compose.yaml's own, which never sees the credential\n" in out
    assert "_TARGET_API_URL" not in out


def test_headroom_may_have_the_credential_where_that_is_said(folder: Path, compose: Path) -> None:
    """For one that cannot be told where to send on."""
    with answering(HEADROOM) as url:
        arguments = ["init", "--yes", "--for", "host", "--no-chain", "--upstream", url]
        assert main(arguments) == OK
        (relay,) = load(folder / "agent.yaml").relays
    assert (str(relay.upstream), relay.hops) == (url, ())
    assert main(["init", "--yes", "--no-chain"]) == OK
    (relay,) = load(compose / "config/agent.yaml").relays
    assert (str(relay.upstream), relay.hops) == ("http://localhost:8787", ())


def test_ports_that_are_taken_are_noted(capsys: Output) -> None:
    """By another relay perhaps, which is no mistake."""
    with answering({}) as url:
        port = url.rpartition(":")[2]
        assert main(["init", "--yes", "--port", port]) == OK
    assert f"something listens at 127.0.0.1:{port} already" in capsys.readouterr().out


# What cannot be


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--upstream", "localhost:8787"], "the address must begin with http:// or https://"),
        (["--credential", "anthropic", "--credential", "claude"], "choose one of anthropic"),
        (["--chain", "--upstream", "https://api.anthropic.com/"], "--chain wants an LLM proxy's"),
    ],
)
def test_flag_that_cannot_be_used_has_status_2(
    folder: Path, arguments: list[str], said: str, capsys: Output
) -> None:
    """And nothing is written."""
    assert main(["init", "--yes", *arguments]) == UNUSABLE
    assert capsys.readouterr().err.startswith(f"relay: {said}")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1"])
def test_port_that_is_none_has_status_2(port: str, capsys: Output) -> None:
    """As any command line that cannot be used."""
    with pytest.raises(SystemExit) as caught:
        main(["init", f"--port={port}"])
    assert caught.value.code == UNUSABLE
    assert "must be a port, from 1 to 65535" in capsys.readouterr().err


def test_half_a_file_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    """Where the disk is full, nothing is left behind, and what was there is as it was."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (folder / "agent.yaml").write_text("grants: [openai]\n")
    monkeypatch.setattr(os, "fsync", full)
    assert main(["init", "--yes", "--force"]) == FAILED
    said = "agent.yaml cannot be written: no space left on device"
    assert capsys.readouterr().err == f"relay: {said}\n"
    assert [each.name for each in folder.iterdir()] == ["agent.yaml"]
    assert (folder / "agent.yaml").read_text() == "grants: [openai]\n"


def test_folder_that_cannot_be_written_has_status_1(folder: Path, capsys: Output) -> None:
    """Named, with the reason; no half of a file stays behind."""
    (folder / "config").touch()
    (folder / "compose.yaml").touch()
    assert main(["init", "--yes"]) == FAILED
    assert capsys.readouterr().err == "relay: config/agent.yaml cannot be read: not a directory\n"
    (folder / "config").unlink()
    (folder / "config").mkdir()
    (folder / "config/agent.yaml").mkdir()
    assert main(["init", "--yes"]) == FAILED
    assert capsys.readouterr().err == "relay: config/agent.yaml cannot be read: is a directory\n"
    assert sorted(each.name for each in (folder / "config").iterdir()) == ["agent.yaml"]


def test_configuration_that_its_environment_spoils_has_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """It would not serve: what relay check says is said here."""
    monkeypatch.setenv("RELAY_ADMIN", "nonsense:x")
    assert main(["init", "--yes"]) == UNUSABLE
    assert "$RELAY_ADMIN" in capsys.readouterr().err


def test_warnings_of_what_was_written_are_shown(capsys: Output) -> None:
    """As relay check shows them: with file, line and place."""
    url = "https://api.anthropic.com/v1"
    assert main(["init", "--yes", "--credential", "anthropic", "--upstream", url]) == OK
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert main(["check"]) == OK
    checked = capsys.readouterr().out.splitlines()
    assert len(shown) == 1
    assert ": ends with what agents send too: " in shown[0]
    assert shown[0] in checked


def test_no_terminal_no_question_and_nothing_written(folder: Path) -> None:
    """Without --yes nobody has said that what is proposed is wanted."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "relay", "init"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == UNUSABLE
    assert done.stderr == (
        "relay: nothing was written: there is no terminal to ask on; --yes takes what is proposed\n"
    )
    assert list(folder.iterdir()) == []
