"""An upgrade from an earlier version, and the way back: by its own files, images and volumes.

What is upgraded from is a commit of this repository's history, with what its ``relay init`` writes
and its ``compose.yaml`` keeps. Its code runs on the libraries of the image under test.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.installation import Installation, let_in
from tests.e2e.pod import docker
from tests.e2e.stack import PROJECT, Agent, Stack, eventually, get
from tests.e2e.test_streaming import MESSAGES, STREAM, standin
from tests.harness.ports import free_ports

KEY: Final = "sk-ant-api03-e2eOfTheVersionBefore0000000000000000000AA"
EARLIER: Final = "d1cdaf8cd71f1f5247afaa83950acfefeb72618e"
"""The last commit without hops, ledger and limits; compose.yaml gave the relay its variables."""
IMAGE: Final = "relay-e2e-upgrade"
UNDER_TEST: Final = "agent-relay-under-test"
DOCKERFILE: Final = f"""\
FROM {UNDER_TEST}
USER 0:0
RUN rm -r /opt/relay/relay
COPY relay /opt/relay/relay
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/relay/relay
USER 10001:10001
"""
CHAIN: Final = """\
grants: [anthropic]
claude:
  base_url: http://localhost:{api}
  hops:
    - {{name: headroom, url: "http://localhost:{hop}"}}
ledger: {{path: /var/lib/relay/ledger.db}}
"""
# Longer than Compose takes until it stops the relay, and shorter than `drain`.
LONG: Final = {"events": 40, "gap": 0.5}


def earlier_tree(folder: Path) -> Path:
    """Unpack the earlier version."""
    archive = subprocess.run(
        ["git", "archive", EARLIER], cwd=PROJECT, capture_output=True, check=False
    )
    if archive.returncode:
        pytest.fail(
            f"commit {EARLIER[:7]}, the version before, is not here: the whole history is needed, "
            f"as by `git fetch --unshallow` (git says: {archive.stderr.decode().strip()})"
        )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


@contextmanager
def followed(container: str) -> Iterator[list[str]]:
    """Yield a list that has, at the end, what a container that is going to end has said."""
    said: list[str] = []
    command = ["docker", "logs", "--follow", container]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        yield said
        said += process.stdout


@contextmanager
def standing_in(port: int, *arguments: str) -> Iterator[None]:
    """Run a stand-in on this host's loopback."""
    command = [sys.executable, "-m", "tests.headroom", "--port", str(port), *arguments]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "listening" in process.stdout.readline()
            yield
        finally:
            process.kill()


class Upgrade(Installation):
    """A user's relay of the earlier version, the API, and a Headroom that sends on to the relay."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack, IMAGE)
        self.hop_port, self.api_port = free_ports(1)[0], stack.headroom_port
        self.earlier = earlier_tree(stack.folder / "earlier")
        (self.earlier / "Dockerfile").write_text(DOCKERFILE)
        (self.earlier / ".dockerignore").unlink(missing_ok=True)
        stack.docker("build", "--quiet", "relay")
        docker("build", "--quiet", "--tag", f"{IMAGE}-earlier", str(self.earlier))

    def initialise(self) -> None:
        """Have the earlier version write its configuration, and add what a test's stack needs."""
        self.bring(self.earlier)
        arguments = ["init", "--yes", "--for", "compose", "--no-store", "--no-bridge"]
        arguments += ["--upstream", f"http://localhost:{self.api_port}"]
        subprocess.run(
            [sys.executable, "-m", "relay", *arguments],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(self.earlier)},
            capture_output=True,
            check=True,
        )
        written = (self.folder / ".env").read_text()
        assert "RELAY_CONFIG_DIR=./config" in written
        rest = {**self.settings, "ANTHROPIC_API_KEY": KEY}
        added = (f"{k}={v}" for k, v in rest.items() if f"{k}=" not in written)
        (self.folder / ".env").write_text("\n".join([written, *added, ""]))

    @property
    def agent_yaml(self) -> Path:
        """The configuration, which the upgrade leaves as it is."""
        return self.folder / "config/agent.yaml"

    def start(self, tree: Path, image: str) -> None:
        """Bring a version's files and its image, and do as docs/upgrading.md says."""
        self.bring(tree)
        docker("tag", image, IMAGE)
        self.compose("up", "--detach", "relay")

    def upgrade(self) -> None:
        """Start the version under test."""
        self.start(PROJECT, UNDER_TEST)
        self.until_ready()

    def until_ready(self) -> None:
        """Wait until the relay has all that it needs."""
        ready = f"{self.stack.admin_url}/readyz"
        eventually(lambda: get(ready).status == 200 or None, "a relay that is ready")

    def reload(self) -> None:
        """Have the relay read agent.yaml."""
        self.compose("kill", "--signal", "HUP", "relay")
        self.stack.wait_for_line("relay", "reloaded /etc/relay")

    def keys_at(self, port: int) -> list[object]:
        """Return which key each request brought to a stand-in, and have it forget them."""
        page = f"http://127.0.0.1:{port}/standin/requests"
        found = get(page).json()
        get(page, method="DELETE")
        assert isinstance(found, list)
        headers = [dict(each["headers"]) for each in found if each["method"] == "POST"]
        return [each.get("x-api-key") for each in headers]

    def calls_in_ledger(self) -> int:
        """Return how many calls ``relay usage`` tells of."""
        said = self.compose("exec", "-T", "relay", "relay", "usage", "monthly", "--json")
        return int(json.loads(said)["total"]["calls"])


@pytest.fixture
def upgrade(tmp_path: Path) -> Iterator[Upgrade]:
    """The earlier version is set up, and nothing of it runs."""
    let_in(tmp_path)
    stack = Stack(IMAGE, tmp_path, [])
    upgrade = Upgrade(stack)
    upgrade.initialise()
    back = f"http://127.0.0.1:{stack.return_port}/anthropic/headroom"
    try:
        with (
            standing_in(upgrade.api_port, "--mode", "slow"),
            standing_in(upgrade.hop_port, "--upstream", back),
        ):
            yield upgrade
    finally:
        upgrade.bring(PROJECT)
        upgrade.compose("down", "--volumes")
        docker("rmi", "--force", IMAGE, f"{IMAGE}-earlier")


def test_upgrade_and_the_way_back(upgrade: Upgrade) -> None:
    """Token, key and settings serve unchanged; no call is lost, no row; each refusal says why."""
    upgrade.start(upgrade.earlier, f"{IMAGE}-earlier")
    upgrade.until_ready()
    before = upgrade.agent_yaml.read_text()
    with Agent(upgrade.stack) as agent:
        assert agent.call(MESSAGES).status == 200
        upgrade.keys_at(upgrade.api_port)

        # Upgrade, with a call in flight: nothing but the files and the image is another's.
        call = agent.begin(MESSAGES, body=STREAM, headers=standin("slow", **LONG))
        upgrade.stack.records("answering", 1)
        with followed(upgrade.relay()["Id"]) as said_before:
            upgrade.upgrade()
        assert "stopping: 1 calls in flight have 30 s to finish" in "".join(said_before)
        report = call.report()
        assert report.error is None
        assert report.text.count("event: message_stop") == 1
        assert agent.call(MESSAGES).status == 200
        assert upgrade.keys_at(upgrade.api_port) == [KEY, KEY]
        assert upgrade.stack.ready().json()["problems"] == []  # type: ignore[index]  # as it says

        # What the new version has.
        chain = CHAIN.format(api=upgrade.api_port, hop=upgrade.hop_port)
        upgrade.agent_yaml.write_text(chain)
        upgrade.reload()
        assert agent.call(MESSAGES).status == 200
        assert upgrade.keys_at(upgrade.api_port) == [KEY]
        assert KEY not in upgrade.keys_at(upgrade.hop_port)
        eventually(lambda: upgrade.calls_in_ledger() == 1 or None, "the call in the ledger")

        # The way back: it names what it does not know, and serves by what it knows.
        upgrade.start(upgrade.earlier, f"{IMAGE}-earlier")
        said = upgrade.stack.wait_for_line("relay", "claude.hops")
        assert "/etc/relay/agent.yaml:4: claude.hops: is an unknown key" in said
        upgrade.agent_yaml.write_text(before)
        upgrade.until_ready()
        assert agent.call(MESSAGES).status == 200
        assert upgrade.keys_at(upgrade.api_port) == [KEY]

        # And forth again: the ledger goes on where it was.
        upgrade.agent_yaml.write_text(chain)
        upgrade.upgrade()
        assert agent.call(MESSAGES).status == 200
        eventually(lambda: upgrade.calls_in_ledger() == 2 or None, "both calls in the ledger")
