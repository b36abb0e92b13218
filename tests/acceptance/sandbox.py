"""Claude Code's sandbox as a user starts it: compose.yaml's own, from a folder somewhere else."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.acceptance.container import docker
from tests.e2e.stack import PROJECT, Stack
from tests.harness.processes import Ended, run_to_end
from tests.harness.secrets import KEY

RUN_SECONDS: Final = 120.0
_ROWS_AND_COLUMNS: Final = (30, 100)


@dataclass
class Sandbox:
    """A user in a project's folder."""

    stack: Stack
    folder: Path

    def command(self, service: str, *arguments: str, profile: str = "headroom") -> list[str]:
        """Return what the user types; and where this stack's ports and names are."""
        given = ["docker", "compose", "-f", str(PROJECT / "compose.yaml"), "--progress", "quiet"]
        given += ["--env-file", str(self.stack.folder / "stack.env")]
        given += ["--profile", profile] if profile else []
        return [*given, "run", "--rm", service, *arguments]

    def environment(self, key: str | None = KEY) -> dict[str, str]:
        """Return what the user's shell has: where it is, and the key."""
        given = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PWD": str(self.folder)}
        return given | ({} if key is None else {"ANTHROPIC_API_KEY": key})

    async def run(
        self, service: str, *arguments: str, profile: str = "headroom", key: str | None = KEY
    ) -> Ended:
        """Start it without a terminal, and wait for its end."""
        command = self.command(service, *arguments, profile=profile)
        return await run_to_end(
            command, self.environment(key), fuse_seconds=RUN_SECONDS, folder=self.folder
        )

    @asynccontextmanager
    async def standing(self, service: str) -> AsyncIterator[str]:
        """Yield the name of a sandbox that stands open, with a program in it that waits."""
        name = f"{self.stack.name}-{service}-open"
        command = _named(self.command(service, "bash", "-c", "sleep infinity"), name, "--detach")
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self.folder, env=self.environment(), stdout=asyncio.subprocess.DEVNULL
        )
        assert await process.wait() == 0
        try:
            yield name
        finally:
            await docker("rm", "--force", name)

    @asynccontextmanager
    async def terminal(self, service: str) -> AsyncIterator[Terminal]:
        """Yield a terminal in which it was started."""
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", *_ROWS_AND_COLUMNS, 0, 0))
        name = f"{self.stack.name}-{service}-terminal"
        process = await asyncio.create_subprocess_exec(
            *_named(self.command(service), name),
            cwd=self.folder,
            env=self.environment() | {"TERM": "xterm-256color"},
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
        )
        os.close(its)
        terminal = Terminal(ours)
        try:
            yield terminal
        finally:
            await docker("rm", "--force", name)
            await process.wait()
            terminal.close()


def _named(command: list[str], name: str, *options: str) -> list[str]:
    place = command.index("--rm")
    return [*command[:place], "--name", name, *options, *command[place + 1 :]]


@dataclass
class Terminal:
    """What is on a user's screen, and the user's keys."""

    handle: int
    shown: bytes = b""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        asyncio.get_running_loop().add_reader(self.handle, self._read)

    def _read(self) -> None:
        try:
            self.shown += os.read(self.handle, 65536)
        except OSError:  # the other side is gone
            asyncio.get_running_loop().remove_reader(self.handle)
        self._changed.set()

    async def shows(self, text: str) -> None:
        """Wait until it has been on the screen."""
        try:
            async with asyncio.timeout(RUN_SECONDS):
                while text.encode() not in self.shown:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(self.shown.decode(errors="replace")) from None

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.handle, keys.encode())

    def close(self) -> None:
        """Close the window."""
        asyncio.get_running_loop().remove_reader(self.handle)
        os.close(self.handle)
