"""What tests of credentials begin with.

Time is the test's: the modules' clock is replaced, so that nothing here has to wait.
"""

import asyncio
import os
from collections.abc import Awaitable
from pathlib import Path

from relay.config import CommandSource, FileSource
from relay.credentials.command_value import CommandValue
from relay.credentials.credential import Credential
from relay.credentials.file import FileValue
from relay.credentials.reading import Reading, Result
from tests.harness.clock import SetClock

OLD = "sk-ant-api03-old-Jr7Wm2Kx9Qv4Tz1Lb6Nc8Hd3Gf5Ys"
NEW = "sk-ant-api03-new-Pq8Xn3Ly0Rw5Ua2Mc7Od9Ie4Hg6Zt"
FUSE_SECONDS = 5.0
NANOSECONDS = 1_000_000_000


class Secret:
    """A file whose time stamps follow the test's clock."""

    def __init__(self, path: Path, clock: SetClock) -> None:
        self.path = path
        self._clock = clock

    def write(self, text: str) -> None:
        """Rewrite the file in place."""
        self.path.write_text(text)
        self._stamp(self.path)

    def replace(self, text: str) -> None:
        """Put another file in its place, as careful writers do."""
        other = self.path.with_name("other")
        other.write_text(text)
        self._stamp(other)
        other.replace(self.path)

    def _stamp(self, path: Path) -> None:
        os.utime(path, ns=(0, self._clock.time_ns()))


def value_of(
    secret: Secret, json_path: str | None = None, results: list[Result] | None = None
) -> FileValue:
    """Return the value that follows the file."""
    told: list[Result] = [] if results is None else results
    return FileValue(FileSource(file=str(secret.path), json_path=json_path), told.append)


# Commands


class Runs:
    """Stands in for running a command: each run waits for its result to be set."""

    def __init__(self) -> None:
        self.count = 0
        self._started: asyncio.Queue[asyncio.Future[Reading]] = asyncio.Queue()

    async def __call__(self) -> Reading:
        """Run once."""
        result: asyncio.Future[Reading] = asyncio.get_running_loop().create_future()
        self.count += 1
        self._started.put_nowait(result)
        return await result

    async def next(self) -> asyncio.Future[Reading]:
        """Wait for the next run to start; return what its result is set on."""
        async with asyncio.timeout(FUSE_SECONDS):
            return await self._started.get()


async def soon(work: Awaitable[object]) -> None:
    """Wait for what must not take long."""
    await asyncio.wait_for(work, FUSE_SECONDS)


def command(ttl: float = 300, results: list[Result] | None = None) -> CommandValue:
    """Return the value of a command."""
    told: list[Result] = [] if results is None else results
    return CommandValue(CommandSource(command=("key",), ttl=ttl), told.append)


async def finish(runs: Runs, value: CommandValue, reading: Reading) -> None:
    """End the run in progress like this, and wait until that was noticed."""
    (await runs.next()).set_result(reading)
    run = value._run
    assert run is not None
    await soon(run)


def of_command(
    source: CommandSource, fields: tuple[str, ...] = ("",)
) -> tuple[Credential, CommandValue]:
    """Return a credential of a command alone, and its value."""
    credential = Credential("corp", (source,), {}, fields=fields)
    (value,) = credential._values
    assert isinstance(value, CommandValue)
    return credential, value
