"""opencode as an agent has it: `opencode run` with the variables that `relay env` prints.

Its home and its working directory are folders of the test's, and what it tries to reach beside the
relay ends at a proxy that lets nobody through and keeps count.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.acceptance import environments
from tests.acceptance.sdks.runs import LOCKS
from tests.harness.processes import run_to_end
from tests.harness.secrets import CREDENTIALS, TOKEN
from tests.harness.upstream import Upstream, running_upstream

FUSE_SECONDS: Final = 150.0
"""It takes seconds of CPU time to start."""
CALLS: Final = 2
"""For a first prompt: one for the answer, and one for the session's title."""

REGISTRY: Final = {"npm_config_registry": "http://plugins.test"}
"""Where it is told to look for packages: at a name that nobody has."""
PLUGINS: Final = b"GET http://plugins.test/@opencode-ai%2fplugin HTTP/1.1"
"""It asks there for its package of plugins, and works without."""


@dataclass(frozen=True)
class Session:
    """What came out of opencode."""

    events: list[dict[str, Any]]
    complaints: str
    status: int
    seconds: float

    @property
    def answer(self) -> str:
        """What the model said, as far as the user is shown it."""
        return "".join(each["part"]["text"] for each in self.events if each["type"] == "text")

    @property
    def failure(self) -> str:
        """What the user is told in the end; empty where all went well."""
        errors = [each["error"] for each in self.events if each["type"] == "error"]
        return "".join(each["data"]["message"] for each in errors)


@dataclass
class Opencode:
    """opencode, installed, with a home and a project of its own."""

    folder: Path
    outside: Upstream
    """The proxy for everything that is not on this machine."""

    def __post_init__(self) -> None:
        self.program = installed_opencode()
        self.project.mkdir(parents=True)

    @property
    def project(self) -> Path:
        """Where it works."""
        return self.folder / "project"

    async def run(self, told: Mapping[str, str], model: str, prompt: str) -> Session:
        """Run one prompt with the variables that it is told."""
        ended = await run_to_end(
            [str(self.program), *arguments(model, prompt)],
            self._environment() | dict(told),
            folder=self.project,
            fuse_seconds=FUSE_SECONDS,
        )
        assert not any(secret in ended.out + ended.err for secret in (*CREDENTIALS, TOKEN))
        events = [json.loads(line) for line in ended.out.splitlines()]
        return Session(events, ended.err, ended.status, ended.seconds)

    def _environment(self) -> dict[str, str]:
        outside = f"http://127.0.0.1:{self.outside.port}"
        return REGISTRY | {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "HTTP_PROXY": outside,
            "HTTPS_PROXY": outside,
        }


def arguments(model: str, prompt: str) -> list[str]:
    """Return how it is asked once, and says in JSON what comes."""
    return ["run", "--model", model, "--format", "json", prompt]


def installed_opencode() -> Path:
    """Return the program, and note its version; it is locked for x86-64 alone."""
    (package,) = environments.node_modules(LOCKS / "node").glob("opencode-linux-*")
    version = json.loads((package / "package.json").read_text())["version"]
    environments.versions["opencode"] = version
    return package / "bin" / "opencode"


@asynccontextmanager
async def running_opencode(folder: Path) -> AsyncIterator[Opencode]:
    """Have opencode at hand; at the end it is seen that it tried to reach nothing else."""
    async with running_upstream() as outside:
        outside.answer_with(b"HTTP/1.1 403 X\r\ncontent-length: 0\r\n\r\n")
        yield Opencode(folder, outside)
        assert {request.start for request in outside.requests} <= {PLUGINS}
