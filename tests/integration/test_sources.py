"""Commands that print a secret, run for real: what they print, and that none is left behind."""

import asyncio
import os
import select
from pathlib import Path

import pytest

from relay.config import CommandSource
from relay.credentials.sources import (
    Reading,
    run_command,
)

SECRET = "sk-ant-api03-Jr7Wm2Kx9Qv4Tz1Lb6Nc8Hd3Gf5Ys-pA0eUo"
FUSE_SECONDS = 20.0


def shell(script: str, *arguments: str) -> CommandSource:
    """Return a source that runs a shell script."""
    return CommandSource(command=("/bin/sh", "-c", script, "sh", *arguments))


async def test_command_prints_a_value() -> None:
    """Stripped, as everywhere."""
    assert await run_command(shell('echo " $1 "; echo noise >&2', SECRET)) == Reading(SECRET)


async def test_command_is_run_without_a_shell(tmp_path: Path) -> None:
    """Its arguments are what they are."""
    source = CommandSource(command=("/bin/echo", "$HOME;", "`id`"))
    assert await run_command(source) == Reading("$HOME; `id`")


async def test_command_reads_nothing() -> None:
    """One that asks a question gets an end of file at once."""
    async with asyncio.timeout(FUSE_SECONDS):
        assert (await run_command(shell("cat; echo done"))).value == "done"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("exit 3", "ended with status 3"),
        ('echo "$1"; exit 1', "ended with status 1"),
        ("kill -9 $$", "ended with status -9"),
        ("true", "printed no usable value"),
        ("echo", "printed no usable value"),
        ('echo "$1"; echo "$1"', "printed no usable value"),
        ("printf '\\377'", "printed no usable value"),
    ],
)
async def test_command_without_a_usable_value_says_why(
    script: str, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its output is never shown, whatever it printed."""
    caplog.set_level(0)
    reading = await run_command(shell(f'echo "error: $1" >&2; {script}', SECRET))
    assert reading == Reading(problem=problem)
    assert SECRET not in caplog.text


@pytest.mark.parametrize("command", ["/nowhere/at-all", "/", "/etc/passwd"])
async def test_command_that_cannot_be_started_says_so(command: str) -> None:
    """Missing, a directory, not executable."""
    reading = await run_command(CommandSource(command=(command,)))
    assert reading == Reading(problem="cannot be started")


class Witness:
    """A pipe that ends once no process holds its other side any more."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "witness")
        os.mkfifo(self.path)
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    async def read(self) -> bytes:
        """Wait for what is written next; nothing if all writers are gone."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self._read)

    def _read(self) -> bytes:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        assert poll.poll(FUSE_SECONDS * 1000)
        return os.read(self._descriptor, 100)

    def close(self) -> None:
        """Close our side."""
        os.close(self._descriptor)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    """A pipe that the test's commands hold open."""
    return Witness(tmp_path)


# Holds the pipe in a process of its own, and outlives the shell if nobody ends it.
HOLD_PIPE = '(echo started; exec sleep 100) >"$1" 2>&1 &'


async def test_command_cancelled_while_it_starts_is_ended(witness: Witness) -> None:
    """Even then nothing is left behind."""
    run = asyncio.ensure_future(run_command(shell(f"{HOLD_PIPE} wait", witness.path)))
    await asyncio.sleep(0)
    run.cancel()
    await asyncio.wait([run], timeout=FUSE_SECONDS)
    assert run.cancelled()
    # Held open here: without a writer there would be nothing to read, not even an end.
    with open(witness.path, "wb"):  # noqa: ASYNC230, PTH123  # returns at once: we read it
        pass
    while await witness.read():
        pass
    witness.close()


@pytest.mark.parametrize("word", ["a\x00b", "\ud800"])
async def test_command_that_no_system_can_start_says_so(word: str) -> None:
    """However it came to be asked for."""
    source = CommandSource.model_construct(command=(word,), ttl=300)
    assert await run_command(source) == Reading(problem="cannot be started")


async def test_hanging_command_is_ended(witness: Witness) -> None:
    """After the limit, and with whatever it started."""
    async with asyncio.timeout(FUSE_SECONDS):
        reading = await run_command(shell(f"{HOLD_PIPE} exec sleep 100", witness.path), 0.2)
    assert reading == Reading(problem="took longer than 0.2 s")
    if await witness.read():
        assert await witness.read() == b""
    witness.close()


async def test_cancelled_command_is_ended_with_what_it_started(witness: Witness) -> None:
    """A relay that stops leaves nothing behind."""
    run = asyncio.ensure_future(run_command(shell(f"{HOLD_PIPE} wait", witness.path)))
    assert await witness.read() == b"started\n"
    run.cancel()
    await asyncio.wait([run], timeout=FUSE_SECONDS)
    assert run.cancelled()
    assert await witness.read() == b""
    witness.close()
