"""Codex as an agent has it: `codex exec` with the config.toml that `relay env` prints.

Its home and its working directory are folders of the test's, and what it tries to reach beside
the relay ends at a proxy that lets nobody through and keeps count.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.acceptance import environments
from tests.acceptance.container import ContainedRelay
from tests.acceptance.sdks.provider import Provider
from tests.acceptance.sdks.runs import LOCKS, told
from tests.harness.processes import run_to_end
from tests.harness.secrets import CREDENTIALS, TOKEN
from tests.harness.upstream import Upstream, running_upstream

MODEL: Final = "gpt-5.5"
FUSE_SECONDS: Final = 60.0
# The provider that is built in, at another address: the way that takes a WebSocket first.
BUILT_IN: Final = """\
openai_base_url = "{url}/v1"
check_for_update_on_startup = false

[analytics]
enabled = false

[features]
plugins = false
"""


@dataclass(frozen=True)
class Session:
    """What came out of Codex."""

    events: list[dict[str, Any]]
    complaints: str
    status: int
    seconds: float

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of a kind."""
        return [each for each in self.events if each["type"] == kind]

    def items(self, kind: str) -> list[dict[str, Any]]:
        """Return what was done, of a kind."""
        done = [each["item"] for each in self.of("item.completed")]
        return [item for item in done if item["type"] == kind]

    @property
    def failure(self) -> str:
        """What the user is told in the end; empty where all went well."""
        return "".join(each["error"]["message"] for each in self.of("turn.failed"))


@dataclass
class Codex:
    """Codex, installed, with a home and a project of its own."""

    folder: Path
    outside: Upstream
    """The proxy for everything that is not on this machine."""

    def __post_init__(self) -> None:
        self.program = installed_codex()
        self.home.mkdir(parents=True)
        self.project.mkdir()
        (self.project / "notes.txt").write_text("a note of the project's\n")

    @property
    def home(self) -> Path:
        """Where its settings are."""
        return self.folder / "home" / ".codex"

    @property
    def project(self) -> Path:
        """Where it works."""
        return self.folder / "project"

    def configure(self, config: str) -> None:
        """Write its config.toml."""
        (self.home / "config.toml").write_text(config)

    async def run(self, prompt: str, *overrides: str, token: str = TOKEN) -> Session:
        """Run one prompt without anybody to ask; overrides are settings for this time."""
        ended = await run_to_end(
            [str(self.program), *arguments(prompt, *(f"-c{each}" for each in overrides))],
            self._environment(token),
            folder=self.project,
            fuse_seconds=FUSE_SECONDS,
        )
        assert not any(secret in ended.out + ended.err for secret in (*CREDENTIALS, TOKEN))
        events = [json.loads(line) for line in ended.out.splitlines()]
        return Session(events, ended.err, ended.status, ended.seconds)

    def _environment(self, token: str) -> dict[str, str]:
        outside = f"http://127.0.0.1:{self.outside.port}"
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home.parent),
            "OPENAI_API_KEY": token,  # what the provider is told to take in its config.toml
            "CODEX_API_KEY": token,  # what the built-in one takes
            "HTTPS_PROXY": outside,
            "HTTP_PROXY": outside,
            "NO_PROXY": "127.0.0.1",
        }


def arguments(prompt: str, *options: str) -> list[str]:
    """Return how it is asked once, and says in JSON what comes.

    The machine is a container already: Codex's own sandbox wants rights that this has not.
    """
    without_sandbox = "--dangerously-bypass-approvals-and-sandbox"
    given = ["--model", MODEL, "--json", "--skip-git-repo-check", without_sandbox]
    return ["exec", *given, *options, prompt]


def installed_codex() -> Path:
    """Return the program, and note its version."""
    packages = environments.node_modules(LOCKS / "node")
    # The script in front of it only looks for it.
    (program,) = packages.glob("@openai/codex-linux-*/vendor/*/bin/codex")
    package = json.loads((packages / "@openai/codex/package.json").read_text())
    environments.versions["@openai/codex"] = package["version"]
    return program


@asynccontextmanager
async def pointed_codex(
    relay: ContainedRelay, provider: Provider, folder: Path
) -> AsyncIterator[Codex]:
    """Point Codex at the relay; at the end it is seen that it tried to reach nothing else."""
    provider.forget()
    async with running_upstream() as outside:
        outside.answer_with(b"HTTP/1.1 403 X\r\ncontent-length: 0\r\n\r\n")
        codex = Codex(folder, outside)
        codex.configure(await told(relay, "codex", "openai", "--format", "toml"))
        yield codex
        assert [request.start for request in outside.requests] == []
    assert provider.faults == []
