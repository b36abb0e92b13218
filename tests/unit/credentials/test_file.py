"""The value in a file, through every change of it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.config import FileSource
from relay.credentials.file import HALF_WRITTEN_GRACE_SECONDS
from relay.credentials.reading import Reading, Result
from tests.harness.clock import SetClock
from tests.unit.credentials.values import NEW, OLD, Secret, value_of


def test_file_is_read_once_while_it_does_not_change(
    secret: Secret, clock: SetClock, reads: list[FileSource]
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
    secret: Secret, clock: SetClock, reads: list[FileSource]
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


def test_file_that_appears_later_is_found(tmp_path: Path, clock: SetClock) -> None:
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
    secret: Secret, clock: SetClock, half: str, age: float
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


def test_file_that_stays_empty_loses_its_value(secret: Secret, clock: SetClock) -> None:
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


def test_file_seen_half_written_is_looked_at_again_and_again(
    secret: Secret, clock: SetClock
) -> None:
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
    secret: Secret, clock: SetClock, error: type[OSError], monkeypatch: pytest.MonkeyPatch
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


def test_file_that_never_had_a_value_says_so_at_once(tmp_path: Path, clock: SetClock) -> None:
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


# What is told of further readings


def test_first_reading_of_a_file_is_no_reload(secret: Secret, results: list[Result]) -> None:
    """However often it is looked at."""
    value = value_of(secret, results=results)
    for _ in range(3):
        assert value.reading == Reading(OLD)
    assert results == []


def test_each_change_of_a_file_is_told_once(
    secret: Secret, clock: SetClock, results: list[Result]
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
    secret: Secret, clock: SetClock, reads: list[FileSource], results: list[Result]
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
    secret: Secret, clock: SetClock, reads: list[FileSource], results: list[Result]
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
    tmp_path: Path, clock: SetClock, results: list[Result]
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
