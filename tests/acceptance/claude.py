"""Claude Code as an agent has it: by the Agent SDK, with nothing set but what is said here.

Its home is a folder of the test's, and what it tries to reach beside the relay ends at a proxy
that lets nobody through and keeps count.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from tests.acceptance import environments
from tests.harness.secrets import CREDENTIALS, TOKEN
from tests.harness.upstream import Upstream

LOCK: Final = environments.LOCKS / "claude.txt"
PROGRAM: Final = Path(__file__).with_name("clients") / "claude_agent.py"
FUSE_SECONDS: Final = 60.0
LINE_BYTES: Final = 16 * 1024 * 1024
MODEL: Final = "claude-sonnet-4-5"
_AS_RELAY_ENV_SAYS: Final = {"ANTHROPIC_AUTH_TOKEN": TOKEN}
TOOLS: Final = ("Write", "Read", "Bash", "mcp__own__weather")

Message = dict[str, Any]
Way = Literal["client", "query"]


@dataclass
class Session:
    """What came out of Claude Code."""

    messages: list[Message] = field(default_factory=list)
    complaints: str = ""
    seconds: float = 0.0

    def of(self, kind: str, **members: object) -> list[Message]:
        """Return the messages of a kind that have these members."""
        found = [each for each in self.messages if each["kind"] == kind]
        return [each for each in found if members.items() <= each.items()]

    @property
    def results(self) -> list[str]:
        """What the user is shown at the end of each prompt."""
        return [str(each["result"]) for each in self.of("ResultMessage")]

    @property
    def failed(self) -> bool:
        """Whether the last prompt ended as an error."""
        return bool(self.of("ResultMessage")[-1]["is_error"])

    @property
    def retries(self) -> list[Message]:
        """What was said about calls that are to be made again."""
        return [each["data"] for each in self.of("SystemMessage", subtype="api_retry")]

    @property
    def deltas(self) -> list[str]:
        """The pieces of text, as they came."""
        events = [each["event"] for each in self.of("StreamEvent")]
        deltas = [each["delta"] for each in events if each["type"] == "content_block_delta"]
        return [delta["text"] for delta in deltas if delta["type"] == "text_delta"]


@dataclass
class Claude:
    """Claude Code, installed, with a home and a project of its own."""

    python: Path
    folder: Path
    outside: Upstream
    """The proxy for everything that is not on this machine."""
    settings: dict[str, object] = field(default_factory=dict)
    model: str = MODEL
    tools: Sequence[str] = TOOLS
    """Those that it may use without asking."""

    def __post_init__(self) -> None:
        self.project.mkdir(parents=True)
        self.home.mkdir()

    @property
    def project(self) -> Path:
        """The folder that it works in."""
        return self.folder / "project"

    @property
    def home(self) -> Path:
        """Where it keeps its own files."""
        return self.folder / "home"

    async def run(
        self,
        base_url: str,
        *prompts: str,
        way: Way = "client",
        environment: Mapping[str, str] = _AS_RELAY_ENV_SAYS,
        heard: Callable[[Message], None] = lambda _: None,
    ) -> Session:
        """Have it answer prompts; each message is `heard` as soon as it comes."""
        (self.home / "settings.json").write_text(json.dumps(self.settings))
        order = {"way": way, "prompts": prompts, "options": self._options}
        session = Session()
        began = time.monotonic()
        async with self._started(self._environment(base_url) | dict(environment)) as process:
            try:
                async with asyncio.timeout(FUSE_SECONDS):
                    await _converse(process, order, session, heard)
            except TimeoutError:
                last = session.messages[-3:]
                raise AssertionError(f"not done in {FUSE_SECONDS:g} s; it said {last}") from None
        session.seconds = time.monotonic() - began
        assert not [each for each in CREDENTIALS if each in repr(session)]
        return session

    @asynccontextmanager
    async def _started(
        self, environment: Mapping[str, str]
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(
            *(str(self.python), str(PROGRAM)),
            cwd=self.project,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            # Claude Code too, which the SDK has started: it would go on for minutes.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    @property
    def _options(self) -> dict[str, object]:
        return {
            "model": self.model,
            "allowed_tools": self.tools,
            "permission_mode": "acceptEdits",
            "include_partial_messages": True,
            "cwd": str(self.project),
            "setting_sources": ["user"],
        }

    def _environment(self, base_url: str) -> dict[str, str]:
        outside = f"http://127.0.0.1:{self.outside.port}"
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "CLAUDE_CONFIG_DIR": str(self.home),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "HTTP_PROXY": outside,
            "HTTPS_PROXY": outside,
            "NO_PROXY": "127.0.0.1",
            "ANTHROPIC_BASE_URL": base_url,
        }


async def _converse(
    process: asyncio.subprocess.Process,
    order: Mapping[str, object],
    session: Session,
    heard: Callable[[Message], None],
) -> None:
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdin.write(json.dumps(order).encode())
    process.stdin.close()
    complaining = asyncio.create_task(process.stderr.read())
    async for line in process.stdout:
        session.messages.append(json.loads(line))
        heard(session.messages[-1])
    session.complaints = (await complaining).decode()


def installed_claude() -> Path:
    """Return a Python that has the Agent SDK, and note which Claude Code came with it."""
    python = environments.python_with(LOCK)
    asked = [str(bundled_claude(python)), "--version"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=FUSE_SECONDS, check=True)
    environments.versions["Claude Code"] = said.stdout.split()[0]
    return python


def bundled_claude(python: Path) -> Path:
    """Return the Claude Code that came with the Agent SDK."""
    (program,) = python.parents[1].glob("lib/*/site-packages/claude_agent_sdk/_bundled/claude")
    return program
