"""Commands that print a secret: run once, and ended with all that they started."""

import asyncio
import fcntl
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay import threads
from relay.config import CommandSource
from relay.credentials.command import COMMAND_LIMIT_SECONDS, Command
from relay.credentials.reading import Reading

SECRET = "sk-ant-api03-Jr7Wm2Kx9Qv4Tz1Lb6Nc8Hd3Gf5Ys-pA0eUo"
FUSE_SECONDS = 20.0


def shell(script: str, *arguments: str) -> CommandSource:
    """Return a source that runs a shell script."""
    return CommandSource(command=("/bin/sh", "-c", script, "sh", *arguments))


async def run_command(
    source: CommandSource, limit_seconds: float = COMMAND_LIMIT_SECONDS
) -> Reading:
    """Run a command once."""
    return await Command(source, limit_seconds).run()


async def test_command_prints_a_value() -> None:
    """Stripped, as everywhere."""
    assert await run_command(shell('echo " $1 "; echo noise >&2', SECRET)) == Reading(SECRET)


async def test_byte_order_mark_that_a_command_prints_is_no_part_of_its_value(
    tmp_path: Path,
) -> None:
    """As with ``cat`` of a file that has one."""
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n", encoding="utf-8-sig")
    assert await run_command(CommandSource(command=("/bin/cat", str(file)))) == Reading(SECRET)


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


# A program on a dead mount


class HungProgram:
    """A program whose start hangs while somebody holds a lease on it (fcntl(2), F_SETLEASE)."""

    def __init__(self, folder: Path, script: str) -> None:
        path = folder / "program"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        self.source = CommandSource(command=(str(path), str(folder)))
        self._descriptor = os.open(path, os.O_RDONLY)
        fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)

    def release(self) -> None:
        """Let it start."""
        if self._descriptor >= 0:
            fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            os.close(self._descriptor)
            self._descriptor = -1


@pytest.fixture
def program(tmp_path: Path) -> Iterator[HungProgram]:
    """A program that says how often it was run, once it can be."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # which tells the holder to let go
    program = HungProgram(tmp_path, f'echo run >>"$1/runs"; echo {SECRET}')
    yield program
    program.release()
    signal.signal(signal.SIGIO, before)


async def test_program_on_a_dead_mount_keeps_nobody_else_waiting(program: HungProgram) -> None:
    """Neither the event loop nor any thread, while it is started."""
    command = Command(program.source, 0.3)
    running = asyncio.ensure_future(command.run())
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(FUSE_SECONDS):
        for _ in range(20):
            assert await loop.run_in_executor(None, os.getpid) == os.getpid()
        assert await running == Reading(problem="took longer than 0.3 s")
        program.release()
        assert await command.run() == Reading(SECRET)


async def test_start_that_hangs_is_not_made_again(program: HungProgram, tmp_path: Path) -> None:
    """The next run takes what it has begun: nothing piles up."""
    command = Command(program.source, 0.05)
    starts = 0
    start = command._start_now

    def count() -> subprocess.Popen[bytes]:
        nonlocal starts
        starts += 1
        return start()

    command._start_now = count  # type: ignore[method-assign]  # counted on its way
    for _ in range(5):
        assert await command.run() == Reading(problem="took longer than 0.05 s")
    assert starts == 1
    program.release()
    command._limit_seconds = FUSE_SECONDS
    assert await command.run() == Reading(SECRET)
    assert await command.run() == Reading(SECRET)
    assert starts == 2
    assert (tmp_path / "runs").read_text() == "run\nrun\n"


class Starts:
    """What was started, and when the event loop has been told of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.started = threading.Event()
        self.delivered = threading.Event()
        start, start_thread = Command._start_now, threads.start

        def note(command: Command) -> subprocess.Popen[bytes]:
            self.processes.append(start(command))
            self.started.set()
            return self.processes[-1]

        def note_end(body: Callable[[], object]) -> threading.Thread:
            def whole() -> None:
                body()
                self.delivered.set()

            return start_thread(whole)

        monkeypatch.setattr(Command, "_start_now", note)
        monkeypatch.setattr(threads, "start", note_end)

    async def end_of_first(self) -> int:
        """Return how the first of them ended, once it has."""
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, self.started.wait, FUSE_SECONDS)
        return await loop.run_in_executor(None, self.processes[0].wait, FUSE_SECONDS)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Starts:
    """What the test's commands start."""
    return Starts(monkeypatch)


@pytest.mark.parametrize("late", [False, True])
async def test_start_that_hangs_is_ended_when_it_comes(
    tmp_path: Path, witness: Witness, starts: Starts, late: bool
) -> None:
    """A relay that stops leaves nothing behind, whether or not the run was given up before."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    program = HungProgram(tmp_path, 'exec sleep 100 >"$1/witness"')
    command = Command(program.source, 0.05 if late else FUSE_SECONDS)
    running = asyncio.ensure_future(command.run())
    await asyncio.sleep(0)
    if late:
        assert await running == Reading(problem="took longer than 0.05 s")
        command.close()
    running.cancel()
    await asyncio.wait([running], timeout=FUSE_SECONDS)
    assert running.cancelled() is not late
    program.release()
    assert await starts.end_of_first() == -signal.SIGKILL
    signal.signal(signal.SIGIO, before)
    witness.close()


async def test_start_that_is_cancelled_in_the_instant_it_comes_is_ended(starts: Starts) -> None:
    """Whoever waits for it has gone by then, though nobody knows it yet."""
    running = asyncio.ensure_future(
        Command(CommandSource(command=("/bin/sleep", "100")), FUSE_SECONDS).run()
    )
    await asyncio.sleep(0)
    assert starts.delivered.wait(FUSE_SECONDS)  # the event loop stands still meanwhile
    running.cancel()
    await asyncio.wait([running], timeout=FUSE_SECONDS)
    assert running.cancelled()
    assert await starts.end_of_first() == -signal.SIGKILL


async def test_process_that_does_not_die_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What waits for a dead mount is not even killed before that answers."""
    monkeypatch.setattr(os, "killpg", lambda *_: None)
    started: list[subprocess.Popen[bytes]] = []
    start = Command._start_now

    def note(command: Command) -> subprocess.Popen[bytes]:
        started.append(start(command))
        return started[-1]

    monkeypatch.setattr(Command, "_start_now", note)
    async with asyncio.timeout(FUSE_SECONDS):
        reading = await run_command(CommandSource(command=("/bin/sleep", "100")), 0.1)
    assert reading == Reading(problem="took longer than 0.1 s")
    (process,) = started
    assert process.returncode is None
    process.kill()
    process.wait()
