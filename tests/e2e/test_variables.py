"""Where the stack's settings and credentials come from: one place of its own, whatever is around.

The commands are the README's, in a folder that an agent may have written in, and in terminals that
have a key or have none.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from relay.cli import main
from tests.e2e.installation import Installation, let_in
from tests.e2e.stack import AGENT_IMAGE, PROJECT, Stack

KEY: Final = "sk-ant-api03-e2eFirstTerminal000000000000000000000000AA"
OTHER: Final = "sk-ant-api03-e2eOtherTerminal000000000000000000000000AA"
LOGIN: Final = "sk-ant-oat01-e2eLoginOfTheHost0000000000000000000000AA"
HOSTILE: Final = """\
services:
  relay: {image: hostile}
  claude: {image: hostile}
"""
# What a project's folder could say to have the credential sent elsewhere.
HOSTILE_VARIABLES: Final = (
    *("RELAY_IMAGE", "RELAY_CONFIG_DIR", "RELAY_SECRETS_DIR", "RELAY_LISTEN", "RELAY_ADMIN_PORT"),
    *("RELAY_UID", "RELAY_PORT", "RELAY_GATEWAY", "RELAY_NETWORK", "RELAY_TOKEN_VOLUME"),
    *("HEADROOM_UPSTREAM", "DEMO_API_PORT", "CLAUDE_CREDENTIALS_DIR", "CLAUDE_PACKAGES"),
    *("ANTHROPIC_API_KEY", "COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES"),
    *("COMPOSE_ENV_FILES", "COMPOSE_PROJECT_DIRECTORY", "PWD", "HOME"),
)


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installation]:
    """The stand-in is up, the relay is not; the sandbox has Python in Claude Code's place."""
    let_in(tmp_path)
    stack = Stack("relay-e2e-variables", tmp_path, ["demo"])
    stack.docker("build", "relay", "demo-api")
    for image, name in (
        ("agent-relay-under-test", "relay-e2e-variables"),
        ("agent-relay-under-test-demo-headroom", "relay-e2e-variables-demo-headroom"),
        (AGENT_IMAGE, "relay-e2e-variables-claude"),
    ):
        subprocess.run(["docker", "tag", image, name], check=True)
    installed = Installation(stack, "relay-e2e-variables")
    installed.bring(PROJECT)
    installed.write_agent_yaml("grants: [anthropic]")
    installed.write_settings()
    try:
        installed.compose("--profile", "demo", "up", "-d", "demo-api")
        stack.wait_for_line("demo-api", "listening")
        yield installed
    finally:
        everything = ("--profile", "demo", "--profile", "headroom", "--profile", "claude")
        installed.compose(*everything, "down", "--volumes")


def test_a_projects_folder_says_nothing(installed: Installation) -> None:
    """Neither its .env, nor a compose file there: the README's command takes its own."""
    lines = "".join(f"{name}=/hostile\n" for name in HOSTILE_VARIABLES)
    (installed.project / ".env").write_text(lines)
    for name in ("compose.yaml", "compose.override.yaml", "docker-compose.yml"):
        (installed.project / name).write_text(HOSTILE)
    shown = installed.compose("--profile", "*", "config")
    assert "hostile" not in shown
    assert installed.run(ANTHROPIC_API_KEY=KEY)["x-api-key"] == KEY
    assert "hostile" not in json.dumps(installed.relay())


def test_a_terminal_without_the_key_takes_nothing_away(installed: Installation) -> None:
    """Nor does one with another key restart the relay: the next call has it, and keeps it."""
    assert installed.run(ANTHROPIC_API_KEY=KEY)["x-api-key"] == KEY
    before = installed.relay()
    assert installed.run()["x-api-key"] == KEY
    assert installed.run(ANTHROPIC_API_KEY=OTHER)["x-api-key"] == OTHER
    assert installed.run(ANTHROPIC_API_KEY="")["x-api-key"] == OTHER
    installed.compose_in(installed.folder, "up", "-d")
    after = installed.relay()
    assert after["Id"] == before["Id"]
    assert after["State"]["StartedAt"] == before["State"]["StartedAt"]
    assert KEY not in json.dumps(after)
    installed.compose("down")
    assert installed.run()["x-api-key"] == OTHER


def test_a_file_takes_the_place_of_what_a_shell_left(installed: Installation) -> None:
    """A variable that is set goes before the file, one that was set before does not."""
    assert installed.run(ANTHROPIC_API_KEY=KEY)["x-api-key"] == KEY
    installed.write_secret(OTHER)
    assert installed.run(ANTHROPIC_API_KEY=KEY)["x-api-key"] == KEY
    assert installed.run()["x-api-key"] == OTHER
    (installed.folder / "secrets/anthropic_api_key").unlink()
    installed.write_settings(ANTHROPIC_API_KEY=KEY)
    assert installed.run()["x-api-key"] == KEY


def test_a_key_outlives_a_change_of_the_relays_user(installed: Installation) -> None:
    """As whoever the relay runs next, it reads what is kept, and may replace it."""
    assert installed.run(ANTHROPIC_API_KEY=KEY)["x-api-key"] == KEY
    installed.write_settings(RELAY_UID="23456", RELAY_GID="23456")
    assert installed.run()["x-api-key"] == KEY
    assert installed.run(ANTHROPIC_API_KEY=OTHER)["x-api-key"] == OTHER


def test_an_agent_yaml_that_names_the_variable_serves(installed: Installation) -> None:
    """As it did when the variable was the relay's own."""
    installed.write_agent_yaml("grants: [{name: anthropic, source: {env: ANTHROPIC_API_KEY}}]")
    assert installed.run(ANTHROPIC_API_KEY=KEY)["x-api-key"] == KEY
    assert installed.run()["x-api-key"] == KEY
    said = installed.compose("exec", "-T", "relay", "relay", "check")
    assert "is there, from $ANTHROPIC_API_KEY" in said


def test_the_login_is_there_whatever_names_the_file(
    installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set up by relay init; started in the relay's folder, called from a project's."""
    home = installed.stack.folder / "home"
    login = home / ".claude/.credentials.json"
    login.parent.mkdir(parents=True)
    login.write_text(json.dumps({"claudeAiOauth": {"accessToken": LOGIN}}))
    login.chmod(0o600)
    if os.getuid() == 0:
        os.chown(login, installed.stack.uid, installed.stack.uid)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(installed.folder)
    upstream = f"http://localhost:{installed.stack.headroom_port}"
    init = ["init", "--yes", "--force", "--credential", "subscription", "--upstream", upstream]
    init += ["--no-chain", "--port", str(installed.stack.relay_port)]  # the API answers there
    assert main(init) == 0
    written = (installed.folder / ".env").read_text()
    assert f"CLAUDE_CREDENTIALS_DIR={login.parent}\n" in written
    assert "COMPOSE_FILE" not in written
    if os.getuid() == 0:  # the login is root's then, and so would be the relay
        installed.write_settings(CLAUDE_CREDENTIALS_DIR=str(login.parent))
    monkeypatch.delenv("HOME")
    installed.compose_in(installed.folder, "up", "-d", "relay")
    before = installed.relay()["Id"]
    assert installed.run()["authorization"] == f"Bearer {LOGIN}"
    assert installed.relay()["Id"] == before
