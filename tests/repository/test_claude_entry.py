"""What the sandbox does before Claude Code starts: whose it is, what it settles, what it says.

The script of examples/claude runs as in its container, with a program in Claude Code's place
that says what it was given.
"""

from __future__ import annotations

import asyncio
import json
import os
import pty
import runpy
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness import ROOT
from tests.harness.configuration import configuration
from tests.harness.processes import run_to_end
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.secrets import KEY, TOKEN
from tests.harness.upstream import Upstream

ENTRY = ROOT / "examples" / "claude" / "entry.py"
CLAUDE = f"""#!{sys.executable} -S
import json, os, sys
print(json.dumps({{"arguments": sys.argv[1:], "environment": dict(os.environ)}}))
"""
MODELS = b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"data":[]}'
REFUSAL = (
    b"HTTP/1.1 503 \r\ncontent-type: application/json\r\ncontent-length: 71\r\n\r\n"
    b'{"type":"error","error":{"type":"overloaded_error","message":"later"}} '
)


@dataclass
class Sandbox:
    """The folders of a container, and its start."""

    project: Path
    homes: Path
    environment: dict[str, str]

    async def start(self, *arguments: str, **changes: str) -> tuple[int, dict[str, Any], str]:
        """Return the exit status, what Claude Code was given, and what the user was told."""
        command = [sys.executable, "-I", str(ENTRY), *arguments]
        ended = await run_to_end(command, self.environment | changes, folder=self.project)
        is_json = ended.out.startswith("{")
        given = json.loads(ended.out) if is_json else {"printed": ended.out}
        return ended.status, given, ended.err

    @property
    def token_file(self) -> Path:
        """What the relay shares with its agents."""
        return Path(self.environment["ANTHROPIC_AUTH_TOKEN_FILE"])

    @property
    def settings(self) -> Path:
        """Claude Code's own settings."""
        return self.homes / str(os.getuid()) / ".claude.json"


@pytest.fixture
def sandbox(tmp_path: Path, relay: LocalRelay) -> Sandbox:
    """A sandbox whose relay is there."""
    folders = {name: tmp_path / name for name in ("project", "homes", "bin")}
    for folder in folders.values():
        folder.mkdir()
    program = folders["bin"] / "claude"
    program.write_text(CLAUDE)
    program.chmod(0o755)
    (tmp_path / "relay_token").write_text(TOKEN + "\n")
    return Sandbox(
        folders["project"],
        folders["homes"],
        {
            "PATH": f"{folders['bin']}:{os.environ['PATH']}",
            "AGENT_HOMES": str(folders["homes"]),
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{relay.port}/relay/anthropic",
            "ANTHROPIC_AUTH_TOKEN_FILE": str(tmp_path / "relay_token"),
            # A proxy that a Docker client is configured for must not stand in the way.
            "http_proxy": "http://127.0.0.1:1",
        },
    )


async def test_claude_code_gets_its_arguments_the_token_and_a_home(
    sandbox: Sandbox, upstream: Upstream
) -> None:
    """And nothing but the token: the key is in none of it."""
    upstream.answer_with(MODELS)
    status, given, told = await sandbox.start("-p", "two words", "--continue")
    assert (status, told) == (0, "")
    assert given["arguments"] == ["-p", "two words", "--continue"]
    assert given["environment"]["ANTHROPIC_AUTH_TOKEN"] == TOKEN
    assert given["environment"].get("IS_SANDBOX") == (None if os.getuid() else "1")
    assert given["environment"]["HOME"] == str(sandbox.homes / str(os.getuid()))
    assert KEY not in str(given)


async def test_one_line_stands_before_claude_code_on_a_terminal(
    sandbox: Sandbox, upstream: Upstream
) -> None:
    """It says what to open; a script, which has no terminal, is told nothing."""
    upstream.answer_with(MODELS)
    outer, inner = pty.openpty()
    sandbox.environment["RELAY_PAGE"] = "http://localhost:9484/"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(ENTRY)),
        cwd=sandbox.project,
        env=sandbox.environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=inner,
    )
    assert await process.wait() == 0
    os.close(inner)
    told = os.read(outer, 1000).decode().splitlines()
    os.close(outer)
    assert told == [
        "relay: no key is in here; http://localhost:9484/ shows each call, and what it costs"
    ]
    assert (await sandbox.start())[2] == ""


async def test_byte_order_mark_is_no_part_of_the_token(
    sandbox: Sandbox, upstream: Upstream
) -> None:
    """Nor of Claude Code's settings: editors write one, and nobody sees it."""
    upstream.answer_with(MODELS)
    sandbox.token_file.write_text(f"{TOKEN}\r\n", encoding="utf-8-sig")
    sandbox.settings.parent.mkdir(mode=0o700)
    sandbox.settings.write_text('{"theme": "light"}', encoding="utf-8-sig")
    status, given, told = await sandbox.start()
    assert (status, told) == (0, "")
    assert given["environment"]["ANTHROPIC_AUTH_TOKEN"] == TOKEN
    assert json.loads(sandbox.settings.read_text())["theme"] == "light"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["explain this"],
        ["git status"],
        ["--dangerously-skip-permissions", "true"],
        ["mcp", "list"],
        ["no-such-program", "true"],
    ],
)
async def test_arguments_and_prompts_are_claude_codes(
    sandbox: Sandbox, upstream: Upstream, arguments: list[str]
) -> None:
    """Its own commands too; a prompt of several words is one argument, whatever it begins with."""
    upstream.answer_with(MODELS)
    _, given, _ = await sandbox.start(*arguments)
    assert given["arguments"] == arguments


async def test_a_program_is_run_as_it_is(sandbox: Sandbox, upstream: Upstream) -> None:
    """By its name or by its path, with its own exit status; nothing is asked of the relay."""
    (sandbox.project / "check").write_text("#!/bin/sh\necho checked $1\nexit 7\n")
    (sandbox.project / "check").chmod(0o755)
    status, given, _ = await sandbox.start("./check", "it")
    assert (status, given["printed"]) == (7, "checked it\n")
    status, given, _ = await sandbox.start("printf", "%s", "x")
    assert (status, given["printed"]) == (0, "x")
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("uid", "environment", "said"),
    [(0, {}, "1"), (1000, {}, None), (0, {"IS_SANDBOX": "0"}, None)],
)
def test_root_is_said_to_be_in_a_sandbox(
    uid: int, environment: dict[str, str], said: str | None
) -> None:
    """Claude Code lets it skip permissions then, as it lets others; what the user says stays."""
    variables_of = runpy.run_path(str(ENTRY))["variables_of"]
    assert variables_of(uid, environment).get("IS_SANDBOX") == said


@pytest.mark.parametrize("arguments", [["claude", "doctor"], ["doctor"]])
async def test_the_programs_own_name_may_be_said_or_left_out(
    sandbox: Sandbox, upstream: Upstream, arguments: list[str]
) -> None:
    """``run claude doctor`` and ``run agent claude doctor`` come to the same."""
    upstream.answer_with(MODELS)
    _, given, _ = await sandbox.start(*arguments)
    assert given["arguments"] == ["doctor"]


async def test_a_shell_is_a_shell(sandbox: Sandbox) -> None:
    """It is there also when nothing could be called."""
    status, given, _ = await sandbox.start("sh", "-c", "echo $HOME", ANTHROPIC_BASE_URL="http://-")
    assert (status, given["printed"].strip()) == (0, str(sandbox.homes / str(os.getuid())))


async def test_the_first_questions_are_settled_and_the_users_answers_kept(
    sandbox: Sandbox, upstream: Upstream
) -> None:
    """Theme, introduction, trust in this folder; what is there already stays as it is."""
    upstream.answer_with(MODELS)
    await sandbox.start()
    settled = json.loads(sandbox.settings.read_text())
    assert settled["hasCompletedOnboarding"] is True
    assert settled["projects"][str(sandbox.project)]["hasTrustDialogAccepted"] is True

    own = {"theme": "light", "projects": {str(sandbox.project): {"history": ["x"]}}, "other": 1}
    sandbox.settings.write_text(json.dumps(own))
    await sandbox.start()
    kept = json.loads(sandbox.settings.read_text())
    assert (kept["theme"], kept["other"]) == ("light", 1)
    assert kept["projects"][str(sandbox.project)] == {
        "history": ["x"],
        "hasTrustDialogAccepted": True,
    }


@pytest.mark.parametrize("text", ["", "{", "[]"])
async def test_settings_that_cannot_be_read_are_made_anew(
    sandbox: Sandbox, upstream: Upstream, text: str
) -> None:
    """A container that was killed while it wrote must not keep the next from starting."""
    upstream.answer_with(MODELS)
    await sandbox.start()
    sandbox.settings.write_text(text)
    status, _, told = await sandbox.start()
    assert (status, told) == (0, "")
    assert json.loads(sandbox.settings.read_text())["theme"] == "dark"


async def test_without_a_credential_the_user_hears_what_to_give(
    sandbox: Sandbox, relay: LocalRelay, upstream: Upstream
) -> None:
    """At once, and Claude Code is not started."""
    (relay.folder / "key").unlink()
    await relay.log.says("no value")
    status, given, told = await sandbox.start()
    assert (status, given) == (1, {"printed": ""})
    assert "ANTHROPIC_API_KEY=sk-ant-..." in told
    assert "secrets/anthropic_api_key" in told


async def test_without_headroom_the_user_hears_how_to_start_it(
    sandbox: Sandbox, upstream: Upstream
) -> None:
    """Claude Code would try for minutes."""
    await upstream.stop_listening()
    status, _, told = await sandbox.start()
    assert status == 1
    assert "--profile headroom" in told


async def test_a_token_of_another_time_is_named(sandbox: Sandbox) -> None:
    """The relay's token was made anew, and the container's environment was not."""
    variables = {"ANTHROPIC_AUTH_TOKEN_FILE": "/nowhere", "ANTHROPIC_AUTH_TOKEN": "of-yesterday"}
    status, _, told = await sandbox.start(**variables)
    assert status == 1
    assert "does not know this container's token" in told


async def test_no_relay_is_said_with_its_address(sandbox: Sandbox, tmp_path: Path) -> None:
    """Nothing answers there, as behind a firewall that refuses."""
    (tmp_path / "other").mkdir()
    async with running_relay(tmp_path / "other", configuration(1)) as other:
        address = f"http://127.0.0.1:{other.port}/relay/anthropic"
    status, _, told = await sandbox.start(ANTHROPIC_BASE_URL=address)
    assert status == 1
    assert address in told


async def test_an_error_of_the_apis_own_is_for_claude_code(
    sandbox: Sandbox, upstream: Upstream
) -> None:
    """It may pass, and Claude Code knows better what to say of it."""
    upstream.answer_with(REFUSAL)
    status, given, told = await sandbox.start("-p", "x")
    assert (status, told) == (0, "")
    assert given["arguments"] == ["-p", "x"]


@pytest.mark.parametrize(
    ("file", "service"),
    [
        ("compose.yaml", "claude"),
        ("compose.yaml", "claude-internet"),
        ("examples/llm-proxy/compose.yaml", "agent"),
        ("examples/llm-proxy/compose.internet.yaml", "agent"),
    ],
)
def test_the_projects_folder_may_have_any_name(file: str, service: str) -> None:
    """Only so written Compose does not join the two paths with a colon, which may be in them."""
    described = yaml.safe_load((ROOT / file).read_text())["services"][service]
    (folder,) = (each for each in described["volumes"] if not isinstance(each, str))
    assert folder["type"] == "bind"
    assert folder["bind"] == {"create_host_path": False}


COMPOSE = "# The relay\n\nname: agent-relay\n"


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"compose.yaml": COMPOSE, "secrets/anthropic_api_key": KEY}, "secrets/anthropic_api_key"),
        ({"compose.yaml": COMPOSE, ".env": f"A=1\nANTHROPIC_API_KEY={KEY}\n"}, ".env"),
        ({"compose.yaml": COMPOSE, ".env": f"CLAUDE_CODE_OAUTH_TOKEN = {KEY}"}, ".env"),
        ({"compose.yaml": COMPOSE, "secrets/.gitkeep": "", ".env": "ANTHROPIC_API_KEY="}, None),
        ({"compose.yaml": COMPOSE}, None),
        ({"compose.yaml": "name: another\n", ".env": f"ANTHROPIC_API_KEY={KEY}"}, None),
        ({".env": f"ANTHROPIC_API_KEY={KEY}"}, None),
    ],
)
async def test_the_relays_own_folder_is_no_project(
    sandbox: Sandbox, upstream: Upstream, files: Mapping[str, str], named: str | None
) -> None:
    """Where the credential lies in it; the keys of a project of one's own are one's own affair."""
    upstream.answer_with(MODELS)
    for name, text in files.items():
        (sandbox.project / name).parent.mkdir(exist_ok=True)
        (sandbox.project / name).write_text(text)
    status, _, told = await sandbox.start()
    assert status == (0 if named is None else 1)
    assert (named or "") in told
