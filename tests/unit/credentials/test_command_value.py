"""A command's value that ends: renewed ahead, and kept while renewing fails.

Time is the test's, and so is what becomes of each run.
"""

import asyncio

import pytest

from relay.config import CommandSource
from relay.credentials.command_value import (
    CommandValue,
    seconds_until_renewal,
    seconds_until_retry,
)
from relay.credentials.credential import Credential
from relay.credentials.reading import Reading
from tests.unit.credentials.test_credential import (
    NEW,
    OLD,
    Clock,
    Runs,
    clock,
    finish,
    runs,
    soon,
)

__all__ = ["clock", "runs"]
SOURCE = CommandSource(command=("/bin/key",))
FAILED = Reading(problem="ended with status 1")


@pytest.mark.parametrize(
    ("life", "least", "most"),
    [
        (60, 48, 49.2),
        (1200, 960, 984),
        (3600, 3300, 3330),
        (28_800, 28_500, 28_530),
        (2, 1.6, 1.64),
    ],
)
def test_renewal_is_five_minutes_or_a_fifth_of_its_life_ahead(
    life: float, least: float, most: float
) -> None:
    """Of an issuer's many clients not all at once."""
    waits = [seconds_until_renewal(life) for _ in range(200)]
    assert least <= min(waits) < max(waits) <= most


@pytest.mark.parametrize(
    ("failures", "life", "wait"),
    [
        *((1, 3600, 1), (2, 3600, 2), (3, 3600, 4), (6, 3600, 32), (7, 3600, 60), (99, 3600, 60)),
        *((7, 60, 30), (7, 1.5, 1), (7, 0, 60), (7, -5, 60), (2, -5, 2)),
    ],
)
def test_retries_come_after_a_second_and_up_to_a_minute(
    failures: int, life: float, wait: float
) -> None:
    """And before the end there is always one more."""
    assert seconds_until_retry(failures, life) == wait


async def test_value_that_ends_is_renewed_though_nobody_calls(clock: Clock, runs: Runs) -> None:
    """By a timer, whatever its time to live; the old value serves meanwhile."""
    value = CommandValue(CommandSource(command=("key",), ttl=0.01), lambda _: None)
    value.refresh()
    await finish(runs, value, Reading(OLD, expires_at=clock.now + 0.5))
    renewal = await runs.next()
    assert value.reading.value == OLD
    renewal.set_result(Reading(NEW, expires_at=clock.now + 3600))
    assert value._run is not None
    await soon(value._run)
    clock.now += 3200
    assert value.reading.value == NEW
    assert runs.count == 2
    timer = value._timer
    value.close()
    assert timer is not None
    assert timer.cancelled()


async def test_host_that_slept_renews_at_the_first_question(clock: Clock, runs: Runs) -> None:
    """The monotonic clock, and with it the timer, stood still."""
    credential = Credential("corp", (SOURCE,), {})
    settling = asyncio.ensure_future(credential.settle())
    (await runs.next()).set_result(Reading(OLD, expires_at=clock.now + 60))
    await soon(settling)
    assert credential.value() == OLD.encode()
    asleep = clock.now
    clock.now += 7200
    clock.monotonic = lambda: asleep  # type: ignore[method-assign]  # it stood still
    assert credential.value() is None
    settling = asyncio.ensure_future(credential.settle())
    (await runs.next()).set_result(Reading(NEW, expires_at=clock.now + 60))
    await soon(settling)
    assert credential.value() == NEW.encode()
    credential.close()


async def test_old_value_serves_until_it_ends_while_renewing_fails(
    clock: Clock, runs: Runs
) -> None:
    """With back-off; what is said tells since when, and why. After the end there is none."""
    credential = Credential("corp", (SOURCE,), {})
    (value,) = credential._values
    assert isinstance(value, CommandValue)
    value.refresh()
    await finish(runs, value, Reading(OLD, expires_at=clock.now + 60))
    clock.now += 50
    waits = []
    while clock.now < 1060:
        assert credential.value() == OLD.encode()
        await finish(runs, value, FAILED)
        assert credential.value() == OLD.encode()
        assert credential.renewal == (
            "the command key ended with status 1, since 1970-01-01 00:17:30 UTC"
        )
        waits.append(value._due - clock.now)
        clock.now = value._due
    assert waits == [1, 2, 3.5, 1.75, 1, 1]
    assert credential.value() is None
    assert credential.explain() == (
        "the command key ended at 1970-01-01 00:17:40 UTC, and ended with status 1, "
        "since 1970-01-01 00:17:30 UTC"
    )
    assert credential.renewal == ""
    await finish(runs, value, FAILED)
    await soon(credential.settle())
    assert credential.value() is None
    assert value._due - clock.now == 60
    clock.now += 60
    assert credential.value() is None
    await finish(runs, value, Reading(NEW, expires_at=clock.now + 60))
    assert credential.value() == NEW.encode()
    assert credential.renewal == credential.explain() == ""
    credential.close()


async def test_value_without_an_end_has_its_failing_renewal_said(clock: Clock, runs: Runs) -> None:
    """It serves on, as it always did."""
    credential = Credential("corp", (SOURCE,), {})
    (value,) = credential._values
    assert isinstance(value, CommandValue)
    value.refresh()
    await finish(runs, value, Reading(OLD))
    clock.now += 301
    assert credential.value() == OLD.encode()
    await finish(runs, value, FAILED)
    assert credential.value() == OLD.encode()
    assert credential.renewal.startswith("the command key ended with status 1, since ")


async def test_issuer_that_still_gives_the_same_is_asked_again(clock: Clock, runs: Runs) -> None:
    """It renews later than we would; that is no failure."""
    value = CommandValue(SOURCE, lambda _: None)
    value.refresh()
    end = clock.now + 3600
    await finish(runs, value, Reading(OLD, expires_at=end))
    clock.now = end - 200
    waits = []
    for _ in range(7):
        assert value.reading.value == OLD
        await finish(runs, value, Reading(OLD, expires_at=end))
        assert value.renewal == ""
        waits.append(value._due - clock.now)
        clock.now = value._due
    assert waits == [1, 2, 4, 8, 16, 32, 60]
    value.close()


async def test_value_that_is_over_when_it_is_printed_is_none(clock: Clock, runs: Runs) -> None:
    """As of a cache that nobody renews."""
    credential = Credential("corp", (SOURCE,), {})
    (value,) = credential._values
    assert isinstance(value, CommandValue)
    value.refresh()
    await finish(runs, value, Reading(OLD, expires_at=clock.now))
    assert credential.value() is None
    assert credential.explain() == (
        "the command key printed a value that ended at 1970-01-01 00:16:40 UTC"
    )
    credential.close()


async def test_one_run_at_a_time(clock: Clock, runs: Runs) -> None:
    """Whoever wants it: timer, calls, a 401."""
    value = CommandValue(SOURCE, lambda _: None)
    value.refresh()
    await finish(runs, value, Reading(OLD, expires_at=clock.now + 60))
    clock.now += 55
    for _ in range(10):
        assert value.reading.value == OLD
        value.refresh()
    await finish(runs, value, Reading(NEW, expires_at=clock.now + 60))
    assert runs.count == 2
    value.close()


async def test_further_values_change_with_the_value(clock: Clock, runs: Runs) -> None:
    """All of one reading, and another account's is another value."""
    credential = Credential("corp", (SOURCE,), {}, fields=("", "account"))
    (value,) = credential._values
    assert isinstance(value, CommandValue)
    value.refresh()
    await finish(runs, value, Reading(OLD, further=("one",)))
    assert credential.values() == (OLD.encode(), b"one")
    version = credential.version
    value.refresh()
    await finish(runs, value, Reading(OLD, further=("two",)))
    assert credential.values() == (OLD.encode(), b"two")
    assert credential.version == version + 1


async def test_nothing_is_run_once_it_is_closed(clock: Clock, runs: Runs) -> None:
    """A configuration that a reload has left is asked once more, for what its last call said."""
    value = CommandValue(SOURCE, lambda _: None)
    value.refresh()
    await finish(runs, value, Reading(OLD, expires_at=clock.now + 60))
    value.refresh()  # has not come to its end
    await runs.next()
    clock.now += 55
    value.close()
    assert value.reading.value == OLD
    value.refresh()
    clock.now += 60
    await value.settle()
    assert value._run is not None
    assert value._run.cancelling()
    assert runs.count == 2
