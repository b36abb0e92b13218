"""Files that may keep their reader waiting: looked at by a thread that nobody waits for."""

import os
import threading
from collections.abc import Iterator

import pytest

from relay.config import FileSource
from relay.credentials import file as file_module
from relay.credentials import looks
from relay.credentials.file import FileValue
from relay.credentials.looks import APART_SECONDS
from relay.credentials.reading import Reading, Result
from tests.harness.clock import SetClock
from tests.harness.expectations import wait_for
from tests.unit.credentials.values import FUSE_SECONDS, NEW, OLD, Secret, value_of


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


def eventually(value: FileValue, reading: Reading) -> None:
    """Wait for a reading that a thread is about to bring."""
    wait_for(lambda: value.reading == reading)


def test_first_reading_of_a_mounted_file_is_there_at_the_first_question(
    mount: Mount, secret: Secret
) -> None:
    """As with any file, where the mount is well."""
    assert value_of(secret).reading == Reading(OLD)


def test_file_on_a_dead_mount_says_so_and_is_read_once_that_answers(
    mount: Mount, secret: Secret, clock: SetClock, monkeypatch: pytest.MonkeyPatch
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
    mount: Mount, secret: Secret, clock: SetClock
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
    mount: Mount, secret: Secret, clock: SetClock, reads: list[FileSource]
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
    mount: Mount, secret: Secret, clock: SetClock, monkeypatch: pytest.MonkeyPatch
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
    secret: Secret, clock: SetClock, monkeypatch: pytest.MonkeyPatch
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
