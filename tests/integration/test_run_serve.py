"""``relay run --serve``: the relay and its agent in one process, for as long as the agent runs."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from tests.harness import FUSE_SECONDS, ROOT
from tests.harness.configuration import configuration, write_configuration
from tests.harness.pages import Handler, handling
from tests.harness.secrets import CREDENTIALS, KEY, OTHER_TOKEN
from tests.integration.test_run import Run

pytestmark = pytest.mark.asyncio_loop

CALLING = f"""\
#!{sys.executable}
import json, os, urllib.request
url = os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages"
headers = {{"Authorization": "Bearer " + os.environ["ANTHROPIC_AUTH_TOKEN"]}}
asked = urllib.request.Request(url, b"{{}}", headers)
with urllib.request.urlopen(asked) as answer:
    print(json.dumps([json.load(answer), dict(os.environ)]))
"""


class Api(Handler):
    """An API that notes with which key it is called."""

    keys: ClassVar[list[str | None]] = []

    def respond(self) -> None:
        """Answer."""
        self.body()
        self.keys.append(self.headers["x-api-key"])
        super().respond()


@contextmanager
def api() -> Iterator[int]:
    """Run an API; yield its port."""
    Api.keys.clear()
    with handling(Api) as port:
        yield port


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A folder with an agent that makes a call."""
    run = Run(tmp_path)
    run.program("claude", CALLING)
    return run


async def test_the_agents_calls_go_through_a_relay_of_its_own(run: Run) -> None:
    """On another port than the file's, with a token of this run; what it does not guard is said."""
    clients = [{"name": "mine", "token": {"env": "MY_TOKEN"}}]
    run.environment = {"MY_TOKEN": OTHER_TOKEN, "ANTHROPIC_API_KEY": KEY}
    with api() as port, socket.create_server(("127.0.0.1", 0)) as taken:
        listen = [f"127.0.0.1:{taken.getsockname()[1]}"]
        write_configuration(run.folder, configuration(port, listen=listen, clients=clients))
        ended = await run("--serve", "--", "claude")
    assert ended.status == 0, ended.err
    answer, environment = json.loads(ended.out)
    assert (answer, Api.keys) == ({}, [KEY])
    assert environment["ANTHROPIC_BASE_URL"].startswith("http://127.0.0.1:")
    assert listen[0] not in environment["ANTHROPIC_BASE_URL"]
    assert not any(secret in str(environment) for secret in (*CREDENTIALS, OTHER_TOKEN))
    first, second = ended.err.splitlines()
    assert first.startswith("relay: this measures and limits, it does not guard: ")
    assert "compose" in first
    log = run.folder / "home/.local/state/relay/run.log"
    assert second.startswith("relay: page http://127.0.0.1:")
    assert second.endswith(f"/, log {log}")
    assert "/relay/anthropic/v1/messages" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


async def test_nothing_is_started_where_hops_could_not_come_back(run: Run) -> None:
    """Returns are where the hops have them, and nowhere else."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        hops = [{"name": "hop", "url": "http://127.0.0.1:1"}]
        returns = f"127.0.0.1:{taken.getsockname()[1]}"
        config = configuration(1, claude={"hops": hops}, returns=returns)
        write_configuration(run.folder, config)
        assert (
            f"cannot listen on {returns} for returns"
            in (await run("--serve", "--", "claude")).refusal
        )


async def test_nothing_is_started_without_a_credential(run: Run) -> None:
    """As without --serve."""
    write_configuration(run.folder, configuration(1))
    (run.folder / "key").unlink()
    refusal = (await run("--serve", "--", "claude")).refusal
    assert "credential anthropic has no value" in refusal


async def test_the_agents_status_is_the_commands(run: Run) -> None:
    """Also of one that is not there."""
    write_configuration(run.folder, configuration(1))
    named = ("--serve", "--for", "claude", "--")
    run.program("ended", "#!/bin/sh\nkill -15 $$\n")
    assert (await run(*named, "ended")).status == 128 + 15
    assert (await run(*named, "nowhere")).status == 127


def test_the_process_is_undumpable() -> None:
    """So that no other of the same user reads its memory and environment."""
    script = (
        "import ctypes; from relay.commands.run_serve import _become_undumpable;"
        "prctl = ctypes.CDLL(None).prctl; before = prctl(3, 0, 0, 0, 0);"
        "_become_undumpable(); print(before, prctl(3, 0, 0, 0, 0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=FUSE_SECONDS,
        check=True,
    )
    assert done.stdout == "1 0\n"
