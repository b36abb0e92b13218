"""`docker compose --profile headroom run --rm claude` in a project's folder, as users do it.

All of it is real but the API at the end of the line.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.acceptance.api import Api, says, uses
from tests.acceptance.container import docker
from tests.acceptance.sandbox import Sandbox
from tests.e2e.stack import Stack, eventually, resting_stack
from tests.e2e.test_hardening import SEARCH
from tests.harness.secrets import KEY

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONFIG = """\
grants: [anthropic]
claude:
  base_url: {api}
  hops:
    - name: headroom
      url: http://headroom:8787
      headers: {X-Headroom-Proxy-Token: {file: /run/hop/headroom_proxy_token}}
"""
SERVICES = ("claude", "claude-internet")
OWNER = 12321

# Connects to each port on the gateway's address, and fetches a package's file.
REACH = """
import os, socket, subprocess, sys
host, *ports = sys.argv[1:]
for port in ports:
    with socket.socket() as probe:
        probe.settimeout(5)
        print(port, probe.connect_ex((host, int(port))) == 0)
fetch = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-cache-dir"]
fetch += ["--retries", "0", "--timeout", "5", "-d", "/tmp/fetched", "typing-extensions"]
print("internet", subprocess.run(fetch, capture_output=True).returncode == 0)
"""
WHO = "id -u; id -g; grep -h -e ^Cap -e ^NoNew /proc/self/status; touch /x 2>&1; true"


@pytest.fixture(scope="module")
def stack(shared_api: Api) -> Iterator[Stack]:
    """A stack of which nothing runs yet, with Headroom on the way to the imitation of the API."""
    profiles = ("headroom", *SERVICES)
    config = CONFIG.replace("{api}", shared_api.url)
    with resting_stack("relay-sandbox", config=config, profiles=profiles) as stack:
        stack.docker("build", "--quiet", "relay", "headroom", "claude")
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def sandbox(stack: Stack, api: Api, tmp_path: Path) -> AsyncIterator[Sandbox]:
    """A user who is none of those that the images know, in a folder that is theirs."""
    folder = tmp_path / "my project: one"
    folder.mkdir()
    if os.getuid() == 0:
        os.chown(folder, OWNER, OWNER)
    yield Sandbox(stack, folder)


async def test_a_new_user_is_led_to_the_first_answer(sandbox: Sandbox, api: Api) -> None:
    """Without a key, and without Headroom, it is said what to do; then Claude Code works."""
    run = await sandbox.run("claude", "-p", "Write a note.", profile="", key=None)
    assert (run.status, run.out) == (1, "")
    assert "ANTHROPIC_API_KEY=sk-ant-..." in run.err

    run = await sandbox.run("claude", "-p", "Write a note.", profile="")
    assert (run.status, run.out) == (1, "")
    assert "--profile headroom" in run.err

    note = sandbox.folder / "note.txt"
    api.plan(uses("Write", {"file_path": str(note), "content": "from afar"}), says("Written."))
    flags = ("--permission-mode", "acceptEdits")
    run = await sandbox.run("claude", "-p", "Write a note.", *flags, key=None)  # it is kept
    assert (run.status, run.out.strip()) == (0, "Written."), run.err
    assert note.read_text() == "from afar"
    assert note.stat().st_uid == sandbox.folder.stat().st_uid
    assert [call.values("x-api-key") for call in api.messages] == [[KEY]] * 2
    assert "client=claude-code" in sandbox.stack.logs("headroom")
    counted = 'relay_requests_total{operation="messages",outcome="ok"} == 2'
    await asyncio.to_thread(
        eventually, lambda: sandbox.stack.query(counted) or None, "the calls in Prometheus"
    )


async def test_nothing_is_asked_where_that_is_wanted(sandbox: Sandbox, api: Api) -> None:
    """In a folder of whoever runs the tests, root too, which Claude Code refuses elsewhere."""
    if os.getuid() == 0:
        os.chown(sandbox.folder, 0, 0)
    note = sandbox.folder / "note.txt"
    api.plan(uses("Bash", {"command": f"echo done > '{note}'"}), says("Done."))
    run = await sandbox.run("claude", "--dangerously-skip-permissions", "-p", "Do it.")
    assert (run.status, run.out.strip()) == (0, "Done."), run.err
    assert note.read_text() == "done\n"


async def test_a_program_is_no_prompt(sandbox: Sandbox, api: Api) -> None:
    """It is run as it is, and nothing is billed."""
    run = await sandbox.run("claude", "git", "--version")
    assert run.out.startswith("git version ")
    assert api.messages == []


async def test_no_question_stands_before_the_first_prompt(sandbox: Sandbox, api: Api) -> None:
    """In a terminal: neither theme, nor trust, nor the key, but one line of the relay's."""
    api.plan(says("Ahoy."))
    async with sandbox.terminal("claude") as terminal:
        await terminal.shows("❯")
        first, _, _ = terminal.shown.partition(b"\r\n")
        assert first.startswith(b"relay: no key is in here; http://localhost:")
        terminal.press("Hello?")
        await terminal.shows("Hello?")
        terminal.press("\r")
        await terminal.shows("Ahoy.")
    assert len(api.messages) == 1


@pytest.mark.parametrize("service", SERVICES)
async def test_the_sandbox_is_the_users_and_has_no_rights(sandbox: Sandbox, service: str) -> None:
    """Whose folder it is, without any capability, under a root that is read-only."""
    run = await sandbox.run(service, "bash", "-c", WHO)
    uid, gid, *rest = run.out.splitlines()
    status = dict(line.split(":\t") for line in rest if ":\t" in line)
    owner = sandbox.folder.stat()
    assert (int(uid), int(gid)) == (owner.st_uid, owner.st_gid)
    assert {name: int(value, 16) for name, value in status.items()} == {
        **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0),
        "NoNewPrivs": 1,
    }
    assert "Read-only file system" in run.out


@pytest.mark.parametrize("service", SERVICES)
async def test_what_the_sandbox_reaches(sandbox: Sandbox, service: str) -> None:
    """The relay; not Headroom, Prometheus, or the admin pages; the internet in one of the two."""
    stack = sandbox.stack
    closed = [8787, stack.admin_port, stack.prometheus_port]
    ports = [str(port) for port in (stack.relay_port, *closed)]
    run = await sandbox.run(
        service, "bash", "-c", f"python -c '{REACH}' {stack.gateway} {' '.join(ports)}"
    )
    assert run.out.split() == [
        *(ports[0], "True"),
        *(word for port in ports[1:] for word in (port, "False")),
        *("internet", str(service == "claude-internet")),
    ]


@pytest.mark.parametrize("service", SERVICES)
async def test_no_key_is_anywhere_in_the_sandbox(sandbox: Sandbox, service: str) -> None:
    """Not in what Docker knows of it, not in a file, not in a process; the worthless token is."""
    token = sandbox.stack.docker("exec", "-T", "relay", "cat", "/run/relay/relay_token").strip()
    async with sandbox.standing(service) as name:
        assert KEY not in await docker("inspect", name)
        assert "/run/relay/relay_token" in await found_in(name, token)
        assert await found_in(name, KEY) == []


async def found_in(name: str, value: str) -> list[str]:
    """Return the files of a container that hold a value: as root, and as the owner, sees them."""
    found: list[str] = []
    for user in ("0", str(OWNER)):
        command = ["docker", "exec", "-i", "--user", user, name, "python", "-c", SEARCH]
        done = await asyncio.to_thread(
            subprocess.run, command, input=value, capture_output=True, text=True, check=True
        )
        found += done.stdout.split()
    return found
