"""The current value of a credential, through every change of its sources.

Time is the test's: the modules' clock is replaced, so that nothing here has to wait.
"""

import asyncio
import json
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.config import CommandSource, EnvSource, FileSource
from relay.credentials import command_value as command_module
from relay.credentials import credential as credential_module
from relay.credentials import file as file_module
from relay.credentials import looks, sources
from relay.credentials import reading as reading_module
from relay.credentials.command import Command
from relay.credentials.command_value import FAILED_SECONDS, CommandValue
from relay.credentials.credential import REFUSED_INTERVAL_SECONDS, Credential
from relay.credentials.file import HALF_WRITTEN_GRACE_SECONDS, FileValue
from relay.credentials.looks import APART_SECONDS
from relay.credentials.reading import Reading, Result

OLD = "sk-ant-api03-old-Jr7Wm2Kx9Qv4Tz1Lb6Nc8Hd3Gf5Ys"
NEW = "sk-ant-api03-new-Pq8Xn3Ly0Rw5Ua2Mc7Od9Ie4Hg6Zt"
FUSE_SECONDS = 5.0
NANOSECONDS = 1_000_000_000


@dataclass
class Clock:
    """A clock that moves when it is told to; both of the ones the modules use."""

    now: float = 1000.0

    def monotonic(self) -> float:
        """Return seconds."""
        return self.now

    def time(self) -> float:
        """Return seconds of the day's time."""
        return self.now

    def time_ns(self) -> int:
        """Return nanoseconds of the day's time."""
        return int(self.now * NANOSECONDS)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that the credentials look at."""
    clock = Clock()
    monkeypatch.setattr(credential_module, "time", clock)
    monkeypatch.setattr(command_module, "time", clock)
    monkeypatch.setattr(reading_module, "time", clock)
    monkeypatch.setattr(file_module, "time", clock)
    monkeypatch.setattr(looks, "time", clock)
    return clock


class Secret:
    """A file whose time stamps follow the test's clock."""

    def __init__(self, path: Path, clock: Clock) -> None:
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


@pytest.fixture
def secret(tmp_path: Path, clock: Clock) -> Secret:
    """A file that holds the old value, and was written a while ago."""
    secret = Secret(tmp_path / "key", clock)
    secret.write(f"{OLD}\n")
    clock.now += 10
    return secret


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[FileSource]:
    """Which files were read, not merely looked at."""
    seen: list[FileSource] = []

    def read_file(source: FileSource, fields: tuple[str, ...]) -> Reading:
        seen.append(source)
        return sources.read_file(source, fields)

    monkeypatch.setattr(file_module, "read_file", read_file)
    return seen


@pytest.fixture
def results() -> list[Result]:
    """What was told of further readings."""
    return []


def value_of(
    secret: Secret, json_path: str | None = None, results: list[Result] | None = None
) -> FileValue:
    """Return the value that follows the file."""
    told: list[Result] = [] if results is None else results
    return FileValue(FileSource(file=str(secret.path), json_path=json_path), told.append)


# Files


def test_file_is_read_once_while_it_does_not_change(
    secret: Secret, clock: Clock, reads: list[FileSource]
) -> None:
    """A call costs one look, not one reading."""
    value = value_of(secret)
    for _ in range(5):
        assert value.reading == Reading(OLD)
        clock.now += 100
    assert len(reads) == 1


def test_file_replaced_by_rename_is_followed(secret: Secret) -> None:
    """With the same size, too."""
    value = value_of(secret)
    assert value.reading == Reading(OLD)
    secret.replace(f"{NEW}\n")
    assert value.reading == Reading(NEW)


def test_file_replaced_by_one_of_the_same_size_and_time_is_followed(secret: Secret) -> None:
    """As when a backup is put back with its times: only the inode tells."""
    value = value_of(secret)
    assert value.reading == Reading(OLD)
    before = secret.path.stat()
    other = secret.path.with_name("backup")
    other.write_text(f"{NEW}\n")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(secret.path)
    assert secret.path.stat().st_size == before.st_size
    assert value.reading == Reading(NEW)


def test_file_rewritten_in_place_is_followed(secret: Secret) -> None:
    """With the same size and inode."""
    value = value_of(secret)
    assert value.reading == Reading(OLD)
    secret.write(f"{NEW}\n")
    assert value.reading == Reading(NEW)


def test_file_rewritten_within_a_tick_of_its_stamp_is_followed(
    secret: Secret, reads: list[FileSource]
) -> None:
    """Same size, same inode, same time: only the content tells."""
    secret.write(f"{OLD}\n")
    value = value_of(secret)
    assert value.reading == Reading(OLD)
    before = secret.path.stat()
    secret.write(f"{NEW}\n")
    after = secret.path.stat()
    assert (before.st_size, before.st_ino, before.st_mtime_ns) == (
        after.st_size,
        after.st_ino,
        after.st_mtime_ns,
    )
    assert value.reading == Reading(NEW)


def test_recently_written_file_is_trusted_after_a_while(
    secret: Secret, clock: Clock, reads: list[FileSource]
) -> None:
    """Looks alone suffice again once its time stamp has aged."""
    secret.write(f"{NEW}\n")
    value = value_of(secret)
    assert value.reading == Reading(NEW)
    clock.now += 1
    assert value.reading == Reading(NEW)
    assert len(reads) == 2
    assert value.reading == Reading(NEW)
    assert len(reads) == 2


def test_file_that_appears_later_is_found(tmp_path: Path, clock: Clock) -> None:
    """The relay starts without it, and serves once it is there."""
    secret = Secret(tmp_path / "later", clock)
    value = value_of(secret)
    assert value.reading == Reading(problem="is not there")
    secret.write(NEW)
    assert value.reading == Reading(NEW)


def test_removed_file_takes_its_value_along(secret: Secret) -> None:
    """A credential that was withdrawn is not used any longer."""
    value = value_of(secret)
    assert value.reading == Reading(OLD)
    secret.path.unlink()
    assert value.reading == Reading(problem="is not there")
    secret.write(NEW)
    assert value.reading == Reading(NEW)


@pytest.mark.parametrize("age", [0, 1, 3600])
@pytest.mark.parametrize("half", ["", "\n", "two\nlines"])
def test_half_written_file_keeps_its_last_value_for_a_moment(
    secret: Secret, clock: Clock, half: str, age: float
) -> None:
    """Between truncation and writing there is nothing in it, however old its value is."""
    value = value_of(secret)
    assert value.reading == Reading(OLD)
    clock.now += age
    secret.write(half)
    assert value.reading == Reading(OLD)
    clock.now += HALF_WRITTEN_GRACE_SECONDS / 2
    assert value.reading == Reading(OLD)
    secret.write(NEW)
    assert value.reading == Reading(NEW)


def test_half_written_json_keeps_its_last_value_for_a_moment(secret: Secret) -> None:
    """As a tool rewrites its credentials file."""
    secret.write(f'{{"token": "{OLD}"}}')
    value = value_of(secret, "token")
    assert value.reading == Reading(OLD)
    secret.write('{"token": "sk-ant')
    assert value.reading == Reading(OLD)
    secret.write(f'{{"token": "{NEW}"}}')
    assert value.reading == Reading(NEW)


def test_file_that_stays_empty_loses_its_value(secret: Secret, clock: Clock) -> None:
    """Emptied on purpose, it seems; and it may come back."""
    value = value_of(secret)
    assert value.reading == Reading(OLD)
    secret.write("")
    assert value.reading == Reading(OLD)
    clock.now += HALF_WRITTEN_GRACE_SECONDS + 0.1
    assert value.reading == Reading(problem="is empty")
    clock.now += 100
    assert value.reading == Reading(problem="is empty")
    secret.write(NEW)
    assert value.reading == Reading(NEW)


def test_file_seen_half_written_is_looked_at_again_and_again(secret: Secret, clock: Clock) -> None:
    """Even when its time stamp is no longer fresh: else its last value would stay for ever."""
    value = value_of(secret)
    assert value.reading == Reading(OLD)
    clock.now += 1000  # the last good reading may be long ago
    secret.write("")
    assert value.reading == Reading(OLD)
    clock.now += HALF_WRITTEN_GRACE_SECONDS / 2
    assert value.reading == Reading(OLD)
    clock.now += HALF_WRITTEN_GRACE_SECONDS
    assert value.reading == Reading(problem="is empty")


@pytest.mark.parametrize("error", [PermissionError, OSError])
def test_file_out_of_reach_keeps_its_value_for_a_moment(
    secret: Secret, clock: Clock, error: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of descriptors, or its mode not set yet; and it is tried again each time."""
    value = value_of(secret)
    assert value.reading == Reading(OLD)
    clock.now += 3600
    secret.write(NEW)
    clock.now += 1

    def refuse(*_: object) -> int:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("relay.credentials.sources.os.open", refuse)
        assert value.reading == Reading(OLD)
        clock.now += HALF_WRITTEN_GRACE_SECONDS + 0.1
        assert value.reading.problem.startswith("cannot be read")
    assert value.reading == Reading(NEW)


def test_file_that_never_had_a_value_says_so_at_once(tmp_path: Path, clock: Clock) -> None:
    """There is nothing to keep."""
    secret = Secret(tmp_path / "key", clock)
    secret.write("")
    assert value_of(secret).reading == Reading(problem="is empty")


def test_refreshed_file_is_read_even_if_it_looks_the_same(
    secret: Secret, reads: list[FileSource]
) -> None:
    """After a 401 nothing is taken for granted."""
    value = value_of(secret)
    assert value.reading == Reading(OLD)
    value.refresh()
    assert value.reading == Reading(OLD)
    assert len(reads) == 2


async def test_file_has_nothing_to_wait_for_or_to_end(secret: Secret) -> None:
    """It is read at the first question."""
    value = value_of(secret)
    await value.settle()
    value.close()
    assert value.reading == Reading(OLD)


# Files that may keep their reader waiting


class Mount:
    """A file system that somebody else serves, and that may be dead for a while."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looks = 0
        self.looks_here = 0
        """Those by the thread that everybody waits for."""
        self.alive = threading.Event()
        self.alive.set()
        self._stat = os.stat
        monkeypatch.setattr(file_module, "may_hang", lambda _: True)
        monkeypatch.setattr(looks, "FIRST_SECONDS", FUSE_SECONDS)
        monkeypatch.setattr(os, "stat", self)

    def __call__(self, path: str, **options: bool) -> os.stat_result:
        """Look at a file; the test's own is on the mount."""
        if str(path).endswith("/key"):
            self.looks += 1
            self.looks_here += threading.current_thread() is threading.main_thread()
            assert self.alive.wait(FUSE_SECONDS)
        return self._stat(path, **options)


@pytest.fixture
def mount(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mount]:
    """The mount that the key is on."""
    mount = Mount(monkeypatch)
    yield mount
    mount.alive.set()
    assert mount.looks_here == 0


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for what a thread is about to do."""
    deadline = time.monotonic() + FUSE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def eventually(value: FileValue, reading: Reading) -> None:
    """Wait for a reading that a thread is about to bring."""
    wait_for(lambda: value.reading == reading)


def test_first_reading_of_a_mounted_file_is_there_at_the_first_question(
    mount: Mount, secret: Secret
) -> None:
    """As with any file, where the mount is well."""
    assert value_of(secret).reading == Reading(OLD)


def test_file_on_a_dead_mount_says_so_and_is_read_once_that_answers(
    mount: Mount, secret: Secret, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a moment at the first question, and at once from then on: by one thread in all."""
    mount.alive.clear()
    monkeypatch.setattr(looks, "FIRST_SECONDS", 0.05)
    value = value_of(secret)
    for _ in range(100):
        assert value.reading == Reading(problem="does not answer")
        clock.now += APART_SECONDS
    assert mount.looks == 1
    mount.alive.set()
    eventually(value, Reading(OLD))


def test_dead_mount_keeps_nobody_waiting_and_the_last_value_serves(
    mount: Mount, secret: Secret, clock: Clock
) -> None:
    """For as long as it is dead; what changed meanwhile is followed after that."""
    value = value_of(secret)
    assert value.reading == Reading(OLD)
    mount.alive.clear()
    secret.replace(NEW)
    for _ in range(100):
        clock.now += APART_SECONDS
        assert value.reading == Reading(OLD)
    assert mount.looks == 2
    mount.alive.set()
    clock.now += APART_SECONDS
    eventually(value, Reading(NEW))


def test_mounted_file_is_looked_at_once_a_second(
    mount: Mount, secret: Secret, clock: Clock, reads: list[FileSource]
) -> None:
    """However many calls ask, and read when it changed."""
    value = value_of(secret)
    assert value.reading == Reading(OLD)
    for count in range(2, 6):
        clock.now += APART_SECONDS
        for _ in range(10):
            assert value.reading == Reading(OLD)
        wait_for(lambda: (value.reading, value._looks._running)[1] is None)
        assert mount.looks == count
    assert len(reads) == 1
    secret.replace(NEW)
    assert value.reading == Reading(OLD)
    clock.now += APART_SECONDS
    eventually(value, Reading(NEW))


def test_refused_value_of_a_mounted_file_is_read_again_at_once(
    mount: Mount, secret: Secret, reads: list[FileSource], results: list[Result]
) -> None:
    """Not after a second, and even if it looks the same."""
    value = value_of(secret, results=results)
    assert value.reading == Reading(OLD)
    value.refresh()
    wait_for(lambda: value.reading == Reading(OLD) and results == ["unchanged"])
    assert len(reads) == 2


def test_without_a_thread_nothing_is_learnt(
    mount: Mount, secret: Secret, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's limit of processes counts threads; it is tried again."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    value = value_of(secret)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert value.reading == Reading(problem="does not answer")
    clock.now += APART_SECONDS
    eventually(value, Reading(OLD))


def test_what_is_mounted_later_is_noticed(
    secret: Secret, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay may start before the mount is there."""
    secret.path.unlink()
    value = value_of(secret)
    assert value.reading == Reading(problem="is not there")
    assert not value._apart
    monkeypatch.setattr(file_module, "may_hang", lambda _: True)
    secret.write(OLD)
    assert value.reading == Reading(OLD)
    assert value._apart


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


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """What becomes of the commands' runs."""
    runs = Runs()
    monkeypatch.setattr(Command, "run", lambda _: runs())
    return runs


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


async def test_command_runs_when_it_is_first_asked_for(clock: Clock, runs: Runs) -> None:
    """In the background: no call waits in the reading itself."""
    value = command()
    assert value.reading == Reading(problem="has not finished yet")
    assert value.reading.value is None
    await finish(runs, value, Reading(OLD))
    assert value.reading == Reading(OLD)
    assert runs.count == 1


async def test_first_run_can_be_waited_for_by_many(clock: Clock, runs: Runs) -> None:
    """And is still one run."""
    value = command()
    waiting = [asyncio.ensure_future(value.settle()) for _ in range(3)]
    await finish(runs, value, Reading(OLD))
    await soon(asyncio.gather(*waiting))
    assert runs.count == 1
    assert value.reading == Reading(OLD)


async def test_waiting_call_that_leaves_does_not_end_the_run(clock: Clock, runs: Runs) -> None:
    """Others wait for it, too."""
    value = command()
    leaving, staying = (asyncio.ensure_future(value.settle()) for _ in range(2))
    result = await runs.next()
    leaving.cancel()
    await asyncio.wait([leaving], timeout=FUSE_SECONDS)
    result.set_result(Reading(OLD))
    await soon(staying)
    assert leaving.cancelled()
    assert value.reading == Reading(OLD)


async def test_value_of_a_command_holds_for_its_time_to_live(clock: Clock, runs: Runs) -> None:
    """After that the old one still serves until the new one is there."""
    value = command(ttl=60)
    value.refresh()
    await finish(runs, value, Reading(OLD))
    clock.now += 59.9
    assert value.reading == Reading(OLD)
    assert runs.count == 1
    clock.now += 0.2
    assert value.reading == Reading(OLD)
    await finish(runs, value, Reading(NEW))
    assert value.reading == Reading(NEW)
    assert runs.count == 2


async def test_failing_run_keeps_the_last_value(clock: Clock, runs: Runs) -> None:
    """And is tried again soon, not only after the time to live."""
    value = command(ttl=60)
    value.refresh()
    await finish(runs, value, Reading(OLD))
    clock.now += 61
    assert value.reading == Reading(OLD)
    await finish(runs, value, Reading(problem="ended with status 1"))
    assert value.reading == Reading(OLD)
    clock.now += FAILED_SECONDS + 0.1
    assert value.reading == Reading(OLD)
    await finish(runs, value, Reading(NEW))
    assert value.reading == Reading(NEW)


async def test_failing_first_run_says_why_and_is_not_hammered(clock: Clock, runs: Runs) -> None:
    """Every call asks, yet the command runs only every few seconds."""
    value = command()
    value.refresh()
    await finish(runs, value, Reading(problem="ended with status 1"))
    for _ in range(10):
        assert value.reading == Reading(problem="ended with status 1")
        await value.settle()
    assert runs.count == 1
    clock.now += FAILED_SECONDS + 0.1
    assert value.reading.value is None
    await finish(runs, value, Reading(NEW))
    assert value.reading == Reading(NEW)


async def test_refreshed_command_runs_at_once_and_only_once_at_a_time(
    clock: Clock, runs: Runs
) -> None:
    """Whatever its time to live."""
    value = command()
    value.refresh()
    await finish(runs, value, Reading(OLD))
    value.refresh()
    value.refresh()
    await finish(runs, value, Reading(NEW))
    assert runs.count == 2
    assert value.reading == Reading(NEW)


async def test_closed_command_is_ended(clock: Clock, runs: Runs) -> None:
    """Nothing runs on behind the relay's back."""
    command().close()
    value = command()
    value.refresh()
    result = await runs.next()
    value.close()
    run = value._run
    assert run is not None
    await asyncio.wait([run], timeout=FUSE_SECONDS)
    assert result.cancelled()


async def test_real_command_gives_a_value() -> None:
    """All the way down to a process."""
    source = CommandSource(command=("/bin/echo", OLD))
    credential = Credential("anthropic", (source,), {})
    async with asyncio.timeout(FUSE_SECONDS):
        await credential.settle()
    assert credential.value() == OLD.encode()
    credential.close()


# Credentials


def credential_of(*declared: EnvSource | FileSource, **environment: str) -> Credential:
    """Return a credential with these sources under these variables."""
    return Credential("anthropic", declared, environment)


async def test_first_source_that_has_a_value_counts(secret: Secret) -> None:
    """The order is the declaration's."""
    file = FileSource(file=str(secret.path))
    both = credential_of(EnvSource(env="KEY"), file, KEY=NEW)
    assert (both.value(), both.origin()) == (NEW.encode(), "$KEY")
    only_file = credential_of(EnvSource(env="KEY"), file)
    assert (only_file.value(), only_file.origin()) == (OLD.encode(), str(secret.path))
    await both.settle()
    both.refused()
    both.close()
    assert both.value() == NEW.encode()


def test_missing_credential_says_where_it_should_be(secret: Secret) -> None:
    """Each source with its reason."""
    secret.path.unlink()
    credential = credential_of(EnvSource(env="KEY"), FileSource(file=str(secret.path)))
    assert not credential.ready
    assert credential.value() is None
    assert credential.origin() == ""
    assert credential.explain() == f"$KEY is not set, {secret.path} is not there"
    secret.write(NEW)
    assert credential.value() == NEW.encode()
    assert credential.explain() == "$KEY is not set"


def test_of_several_places_for_a_file_the_first_is_named(tmp_path: Path) -> None:
    """Where it might be as well helps nobody; what is wrong elsewhere does."""
    first, second, empty = (FileSource(file=f"{tmp_path}/{name}") for name in "abc")
    (tmp_path / "c").touch()
    credential = credential_of(first, second, empty)
    assert credential.explain() == f"{tmp_path}/a is not there, {tmp_path}/c is empty"


def test_a_variable_that_is_kept_in_a_file_is_followed(tmp_path: Path) -> None:
    """It is named as the variable; a set one goes before it, and a file in secrets after it."""
    secret = tmp_path / "key"
    secret.write_text(OLD)
    declared = (EnvSource(env="KEY"), FileSource(file=str(secret)))
    kept = tmp_path / "KEY"
    credential = credential_of(*declared, RELAY_VARIABLES=str(tmp_path))
    assert credential.value() == OLD.encode()
    kept.write_text(f"{NEW}\n")
    assert credential.value() == NEW.encode()
    assert credential.origin() == "$KEY"
    kept.unlink()
    assert credential.value() == OLD.encode()
    kept.write_text(OLD)
    set_one = credential_of(*declared, RELAY_VARIABLES=str(tmp_path), KEY=NEW)
    assert set_one.value() == NEW.encode()


def test_a_variable_that_is_neither_set_nor_kept_is_not_set(tmp_path: Path) -> None:
    """As if there were no folder."""
    credential = credential_of(EnvSource(env="KEY"), RELAY_VARIABLES=str(tmp_path), KEY=" ")
    assert credential.value() is None
    assert credential.explain() == "$KEY is not set"


@pytest.mark.parametrize(
    ("declared", "remedy"),
    [
        ((EnvSource(env="KEY"),), "set $KEY and restart"),
        ((FileSource(file="/x/key"),), "write /x/key"),
        (
            (EnvSource(env="KEY"), FileSource(file="/x/key"), FileSource(file="/y/key")),
            "set $KEY and restart or write /x/key",
        ),
        (
            (FileSource(file="/run/secrets/key"),),
            "write /run/secrets/key (under compose: in the folder secrets)",
        ),
    ],
)
def test_missing_credential_says_how_to_give_it(
    declared: tuple[EnvSource | FileSource, ...], remedy: str
) -> None:
    """A variable needs a restart, a file does not."""
    assert credential_of(*declared).remedy() == remedy


def test_credential_does_not_show_its_value(secret: Secret) -> None:
    """In no repr and no explanation, of itself or of its parts."""
    file = FileSource(file=str(secret.path))
    credential = credential_of(EnvSource(env="KEY"), file, KEY=NEW)
    assert repr(credential) == "<Credential anthropic ready>"
    assert repr(credential_of(EnvSource(env="KEY"))) == "<Credential anthropic missing>"
    assert credential.value() == NEW.encode()
    parts = [repr(value) for value in credential._values] + [
        repr(vars(value)) for value in credential._values if hasattr(value, "__dict__")
    ]
    shown = " ".join([repr(credential), str(credential), credential.explain(), *parts])
    assert OLD not in shown
    assert NEW not in shown


def test_refused_credential_is_read_again_but_not_too_often(
    secret: Secret, clock: Clock, reads: list[FileSource]
) -> None:
    """A storm of 401s makes one reading every five seconds."""
    credential = credential_of(FileSource(file=str(secret.path)))
    assert credential.value() == OLD.encode()
    for expected in (2, 3):
        for _ in range(5):
            credential.refused()
            assert credential.value() == OLD.encode()
        assert len(reads) == expected
        clock.now += REFUSED_INTERVAL_SECONDS - 0.1
        credential.refused()
        assert credential.value() == OLD.encode()
        assert len(reads) == expected
        clock.now += 0.1


async def test_refused_command_runs_again_once(clock: Clock, runs: Runs) -> None:
    """One at a time, and the next call carries the new value."""
    credential = Credential("anthropic", (CommandSource(command=("key",)),), {})
    (value,) = credential._values
    assert isinstance(value, CommandValue)
    settling = asyncio.ensure_future(credential.settle())
    await finish(runs, value, Reading(OLD))
    await soon(settling)
    for _ in range(5):
        credential.refused()
    assert credential.value() == OLD.encode()
    await finish(runs, value, Reading(NEW))
    assert credential.value() == NEW.encode()
    assert runs.count == 2


def test_intervals_are_those_that_are_promised() -> None:
    """Five seconds between readings after a 401."""
    assert REFUSED_INTERVAL_SECONDS == 5


def test_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read once, when the credential is made."""
    monkeypatch.setenv("RELAY_TEST_KEY", OLD)
    credential = Credential("anthropic", (EnvSource(env="RELAY_TEST_KEY"),))
    monkeypatch.setenv("RELAY_TEST_KEY", NEW)
    assert credential.value() == OLD.encode()


# What is told of further readings


def test_first_reading_of_a_file_is_no_reload(secret: Secret, results: list[Result]) -> None:
    """However often it is looked at."""
    value = value_of(secret, results=results)
    for _ in range(3):
        assert value.reading == Reading(OLD)
    assert results == []


def test_each_change_of_a_file_is_told_once(
    secret: Secret, clock: Clock, results: list[Result]
) -> None:
    """Changed, written anew with what it held, gone, and there again."""
    value = value_of(secret, results=results)
    assert value.reading == Reading(OLD)
    steps: list[tuple[Callable[[], None], Result]] = [
        (lambda: secret.replace(NEW), "changed"),
        (lambda: secret.replace(f"{NEW}\n"), "unchanged"),
        (secret.path.unlink, "failed"),
        (lambda: secret.write(NEW), "changed"),
    ]
    for count, (step, result) in enumerate(steps, 1):
        clock.now += 10
        step()
        for _ in range(3):
            assert value.reading is not None
        assert (len(results), results[-1]) == (count, result)


def test_file_read_again_only_for_its_young_stamp_is_not_told_of(
    secret: Secret, clock: Clock, reads: list[FileSource], results: list[Result]
) -> None:
    """It might have changed, and has not; where it has, that is told."""
    secret.write(f"{OLD}\n")
    value = value_of(secret, results=results)
    for _ in range(3):
        assert value.reading == Reading(OLD)
    assert len(reads) == 3
    assert results == []
    secret.write(f"{NEW}\n")
    assert value.reading == Reading(NEW)
    assert results == ["changed"]


def test_refreshed_file_is_told_of_once(secret: Secret, results: list[Result]) -> None:
    """What was read after a 401, though it is the same."""
    value = value_of(secret, results=results)
    assert value.reading == Reading(OLD)
    value.refresh()
    value.refresh()
    for _ in range(3):
        assert value.reading == Reading(OLD)
    assert results == ["unchanged"]


def test_half_written_file_is_told_of_once(
    secret: Secret, clock: Clock, reads: list[FileSource], results: list[Result]
) -> None:
    """Though it is looked at on every call, and keeps its value for a moment."""
    value = value_of(secret, results=results)
    assert value.reading == Reading(OLD)
    secret.write("")
    for _ in range(5):
        assert value.reading == Reading(OLD)
    assert len(reads) == 6
    assert results == ["failed"]
    clock.now += HALF_WRITTEN_GRACE_SECONDS + 0.1
    assert value.reading == Reading(problem="is empty")
    assert results == ["failed"]
    secret.write(NEW)
    assert value.reading == Reading(NEW)
    assert results == ["failed", "changed"]


def test_absent_file_is_not_told_of_again_and_again(
    tmp_path: Path, clock: Clock, results: list[Result]
) -> None:
    """It is looked for on every call, and told of when it comes."""
    secret = Secret(tmp_path / "later", clock)
    value = value_of(secret, results=results)
    for _ in range(5):
        assert value.reading.value is None
    assert results == []
    secret.write(NEW)
    assert value.reading == Reading(NEW)
    assert results == ["changed"]


async def test_every_further_run_of_a_command_is_told_of(
    clock: Clock, runs: Runs, results: list[Result]
) -> None:
    """Each once, the first one not at all, however often the value is asked for."""
    value = command(ttl=60, results=results)
    readings = [Reading(OLD), Reading(OLD), Reading(problem="ended with status 1"), Reading(NEW)]
    expected: list[list[Result]] = [
        [],
        ["unchanged"],
        ["unchanged", "failed"],
        ["unchanged", "failed", "changed"],
    ]
    for reading, told in zip(readings, expected, strict=True):
        value.refresh()
        await finish(runs, value, reading)
        for _ in range(3):
            assert value.reading.value is not None
        assert results == told


async def test_command_that_is_ended_is_not_told_of(
    clock: Clock, runs: Runs, results: list[Result]
) -> None:
    """It has read nothing."""
    value = command(results=results)
    value.refresh()
    await finish(runs, value, Reading(OLD))
    value.refresh()
    await runs.next()
    value.close()
    run = value._run
    assert run is not None
    await asyncio.wait([run], timeout=FUSE_SECONDS)
    assert results == []


def test_readings_are_told_with_the_grants_name(secret: Secret) -> None:
    """A variable is never read again, and so never told of."""
    told: list[tuple[str, Result]] = []

    def on_read(name: str, result: Result) -> None:
        told.append((name, result))

    declared = (EnvSource(env="KEY"), FileSource(file=str(secret.path)))
    credential = Credential("claude", declared, {}, on_read)
    assert credential.value() == OLD.encode()
    secret.replace(NEW)
    assert credential.value() == NEW.encode()
    assert told == [("claude", "changed")]
    fixed = Credential("claude", declared[:1], {"KEY": OLD}, on_read)
    fixed.refused()
    assert fixed.value() == OLD.encode()
    assert told == [("claude", "changed")]


def test_storm_of_401s_is_one_reload(secret: Secret, clock: Clock, reads: list[FileSource]) -> None:
    """As many as there were readings."""
    told: list[Result] = []
    file = FileSource(file=str(secret.path))
    credential = Credential("claude", (file,), {}, lambda _, result: told.append(result))
    assert credential.value() == OLD.encode()
    for _ in range(20):
        credential.refused()
        assert credential.value() == OLD.encode()
    assert len(reads) == 2
    assert told == ["unchanged"]


# Several headers


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(
    ("text", "fields", "values"),
    [
        (OLD, ("", ""), (OLD, OLD)),
        (json.dumps({"token": OLD, "account": "a-1"}), ("token", "account"), (OLD, "a-1")),
        (json.dumps({"token": OLD}), ("token", "account"), None),
        (OLD, ("token", "account"), None),
    ],
)
def test_a_variable_fills_several_headers(
    tmp_path: Path, text: str, fields: tuple[str, ...], values: tuple[str, ...] | None, kept: bool
) -> None:
    """All of them or none: what names fields is never sent whole."""
    (tmp_path / "CORP").write_text(text)
    environment = {"RELAY_VARIABLES": str(tmp_path)} if kept else {"CORP": text}
    credential = Credential("corp", (EnvSource(env="CORP"),), environment, fields=fields)
    wanted = None if values is None else tuple(each.encode() for each in values)
    assert credential.values() == wanted
    assert (credential.explain() == "") == (values is not None)
    assert OLD not in credential.explain()
