"""``relay init`` as one runs it before anything is installed, and the stack that it sets up."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from relay.config import GRANT_VARIABLES
from tests.e2e.stack import FUSE_SECONDS, PROJECT, Stack

KEY = "sk-ant-api03-e2eInitKey0000000000000000000000000000000000AA"
LOGIN = "sk-ant-oat01-e2eFirstLogin000000000000000000000000000AA"
RENEWED = "sk-ant-oat01-e2eRenewedLogin0000000000000000000000000AA"
CLAUDE_SUBSCRIPTION = "examples/claude-subscription"
EARLIER_FILES = f"compose.yaml:{CLAUDE_SUBSCRIPTION}/compose.yaml"


def write_login(stack: Stack, token: str) -> None:
    """Write the login as Claude Code does: by rename, for its user alone."""
    folder = stack.folder / ".claude"
    folder.mkdir(exist_ok=True)
    temporary = folder / ".credentials.json.tmp"
    temporary.touch(0o600)
    temporary.write_text(json.dumps({"claudeAiOauth": {"accessToken": token}}))
    if os.getuid() == 0:
        os.chown(folder, stack.uid, stack.uid)
        os.chown(temporary, stack.uid, stack.uid)
    temporary.replace(folder / ".credentials.json")


@pytest.fixture
def bare_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A stack that is not up yet, and has nothing of whoever runs the tests."""
    for name in (*GRANT_VARIABLES.values(), "COMPOSE_FILE"):
        monkeypatch.delenv(name, raising=False)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # the container's user must get in
    stack = Stack("relay-e2e-setup", tmp_path, ["demo"])
    stack.secrets.mkdir()
    yield stack
    stack.compose.services = None
    stack.compose.stop()


@contextmanager
def up(stack: Stack, **variables: str) -> Iterator[None]:
    """Bring relay and stand-in up with further variables."""
    stack.variables |= variables
    stack._env_file()  # written anew, in the same place
    stack.compose.services = ["relay", "demo-api"]
    stack.compose.start()
    stack.wait_for_line("relay", "relays on 127.0.0.1")
    stack.wait_for_line("demo-api", "listening")
    yield


def call(stack: Stack) -> dict[str, str]:
    """Make a call through the relay, and return the headers that arrived."""
    token = stack.docker("exec", "-T", "relay", "cat", "/run/relay/relay_token").strip()
    stack.forget_records()
    request = urllib.request.Request(  # always http
        f"http://127.0.0.1:{stack.relay_port}/relay/anthropic/v1/messages",
        data=b'{"model": "claude-haiku-4-5", "max_tokens": 1, "messages": []}',
        headers={"x-api-key": token, "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=FUSE_SECONDS) as response:  # noqa: S310  # as above
        assert response.status == 200
    (record,) = stack.records("done", 1)
    headers = record["headers"]
    assert isinstance(headers, list)
    return {name.lower(): value for name, value in headers}


@pytest.mark.parametrize("earlier", [{}, {"COMPOSE_FILE": EARLIER_FILES}], ids=["now", "earlier"])
def test_container_with_the_login_follows_it(bare_stack: Stack, earlier: dict[str, str]) -> None:
    """By one variable, with a .env of an earlier version too; replaced by rename, mode 0600."""
    text = (PROJECT / CLAUDE_SUBSCRIPTION / "agent.yaml").read_text().partition("  hops:\n")[0]
    bare_stack.write_config(f"{text}  base_url: {{headroom}}\n")
    write_login(bare_stack, LOGIN)
    login = str(bare_stack.folder / ".claude")
    with up(bare_stack, CLAUDE_CREDENTIALS_DIR=login, **earlier):
        assert call(bare_stack)["authorization"] == f"Bearer {LOGIN}"
        write_login(bare_stack, RENEWED)
        assert call(bare_stack)["authorization"] == f"Bearer {RENEWED}"


def test_example_mounts_the_home_folders_login_unless_told_otherwise(tmp_path: Path) -> None:
    """As Compose itself resolves an earlier .env, with the rest of the service as it was."""
    command = ["docker", "compose", "-f", "compose.yaml"]
    command += ["-f", f"{CLAUDE_SUBSCRIPTION}/compose.yaml", "config", "--format", "json"]
    given = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        command, cwd=PROJECT, env=given, capture_output=True, text=True, check=True
    )
    service = json.loads(done.stdout)["services"]["relay"]
    assert service["environment"]["HOME"] == "/run/home"
    assert service["environment"]["RELAY_SECRETS"]
    mounts = {each["target"]: each for each in service["volumes"]}
    assert {"/etc/relay", "/run/secrets", "/run/home/.claude"} < set(mounts)
    assert mounts["/run/home/.claude"]["source"] == str(tmp_path / ".claude")
    assert mounts["/run/home/.claude"]["read_only"] is True


def test_folder_without_a_login_is_not_made(bare_stack: Stack) -> None:
    """Docker would make it as root's, and Claude Code could not log in."""
    missing = bare_stack.folder / "missing"
    bare_stack.variables["CLAUDE_CREDENTIALS_DIR"] = str(missing)
    bare_stack._env_file()
    with pytest.raises(AssertionError, match="bind source path does not exist"):
        bare_stack.docker("up", "--no-deps", "-d", "relay")
    assert not missing.exists()


def test_init_in_a_container_sets_the_stack_up(bare_stack: Stack, tmp_path: Path) -> None:
    """As the README has it: the user's folder, the user's ids, and no Python on the host."""
    project = tmp_path / "relay"
    project.mkdir()
    shutil.copy(PROJECT / "compose.yaml", project)
    if os.getuid() == 0:
        os.chown(project, bare_stack.uid, bare_stack.uid)
    bare_stack.docker("build", "relay")
    upstream = f"http://localhost:{bare_stack.headroom_port}"
    command = ["docker", "run", "--rm", "--network", "host"]
    command += ["-v", f"{project}:/work", "-w", "/work", "-e", "ANTHROPIC_API_KEY"]
    command += ["-u", f"{bare_stack.uid}:{bare_stack.uid}", "agent-relay-under-test"]
    command += ["init", "--yes", "--store", "--upstream", upstream]
    done = subprocess.run(
        command,
        env=os.environ | {"ANTHROPIC_API_KEY": KEY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "found     anthropic: $ANTHROPIC_API_KEY\n" in done.stdout
    assert "found     docker0 at " in done.stdout
    assert KEY not in done.stdout + done.stderr
    status = (project / "secrets/anthropic_api_key").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (bare_stack.uid, 0o600)
    written = dict(line.split("=") for line in (project / ".env").read_text().splitlines())
    assert written["RELAY_UID"] == str(bare_stack.uid)
    # The stack's own folders and ids, as .env beside compose.yaml would have them.
    folders = {
        "RELAY_CONFIG_DIR": str(project / written["RELAY_CONFIG_DIR"]),
        "RELAY_SECRETS_DIR": str(project / "secrets"),
    }
    with up(bare_stack, **folders):
        assert call(bare_stack)["x-api-key"] == KEY
