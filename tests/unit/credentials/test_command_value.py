"""The value of a command: who waits for it, how long it holds, and how it is renewed.

Time is the test's, and so is what becomes of each run.
"""

import asyncio

import pytest

from relay.config import CommandSource
from relay.credentials.command_value import (
    FAILED_SECONDS,
    CommandValue,
    seconds_until_renewal,
    seconds_until_retry,
)
from relay.credentials.credential import Credential
from relay.credentials.reading import Reading, Result
from tests.harness.clock import SetClock
from tests.unit.credentials.values import (
    FUSE_SECONDS,
    NEW,
    OLD,
    Runs,
    command,
    finish,
    of_command,
    soon,
)

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


async def test_value_that_ends_is_renewed_though_nobody_calls(clock: SetClock, runs: Runs) -> None:
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


async def test_host_that_slept_renews_at_the_first_question(clock: SetClock, runs: Runs) -> None:
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
    clock: SetClock, runs: Runs
) -> None:
    """With back-off; what is said tells since when, and why. After the end there is none."""
    credential, value = of_command(SOURCE)
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


async def test_value_without_an_end_has_its_failing_renewal_said(
    clock: SetClock, runs: Runs
) -> None:
    """It serves on, as it always did."""
    credential, value = of_command(SOURCE)
    value.refresh()
    await finish(runs, value, Reading(OLD))
    clock.now += 301
    assert credential.value() == OLD.encode()
    await finish(runs, value, FAILED)
    assert credential.value() == OLD.encode()
    assert credential.renewal.startswith("the command key ended with status 1, since ")


async def test_issuer_that_still_gives_the_same_is_asked_again(clock: SetClock, runs: Runs) -> None:
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


async def test_value_that_is_over_when_it_is_printed_is_none(clock: SetClock, runs: Runs) -> None:
    """As of a cache that nobody renews."""
    credential, value = of_command(SOURCE)
    value.refresh()
    await finish(runs, value, Reading(OLD, expires_at=clock.now))
    assert credential.value() is None
    assert credential.explain() == (
        "the command key printed a value that ended at 1970-01-01 00:16:40 UTC"
    )
    credential.close()


async def test_one_run_at_a_time(clock: SetClock, runs: Runs) -> None:
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


async def test_further_values_change_with_the_value(clock: SetClock, runs: Runs) -> None:
    """All of one reading, and another account's is another value."""
    credential, value = of_command(SOURCE, fields=("", "account"))
    value.refresh()
    await finish(runs, value, Reading(OLD, further=("one",)))
    assert credential.values() == (OLD.encode(), b"one")
    version = credential.version
    value.refresh()
    await finish(runs, value, Reading(OLD, further=("two",)))
    assert credential.values() == (OLD.encode(), b"two")
    assert credential.version == version + 1


async def test_nothing_is_run_once_it_is_closed(clock: SetClock, runs: Runs) -> None:
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


async def test_command_runs_when_it_is_first_asked_for(clock: SetClock, runs: Runs) -> None:
    """In the background: no call waits in the reading itself."""
    value = command()
    assert value.reading == Reading(problem="has not finished yet")
    assert value.reading.value is None
    await finish(runs, value, Reading(OLD))
    assert value.reading == Reading(OLD)
    assert runs.count == 1


async def test_first_run_can_be_waited_for_by_many(clock: SetClock, runs: Runs) -> None:
    """And is still one run."""
    value = command()
    waiting = [asyncio.ensure_future(value.settle()) for _ in range(3)]
    await finish(runs, value, Reading(OLD))
    await soon(asyncio.gather(*waiting))
    assert runs.count == 1
    assert value.reading == Reading(OLD)


async def test_waiting_call_that_leaves_does_not_end_the_run(clock: SetClock, runs: Runs) -> None:
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


async def test_value_of_a_command_holds_for_its_time_to_live(clock: SetClock, runs: Runs) -> None:
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


async def test_failing_run_keeps_the_last_value(clock: SetClock, runs: Runs) -> None:
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


async def test_failing_first_run_says_why_and_is_not_hammered(clock: SetClock, runs: Runs) -> None:
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
    clock: SetClock, runs: Runs
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


async def test_closed_command_is_ended(clock: SetClock, runs: Runs) -> None:
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


async def test_every_further_run_of_a_command_is_told_of(
    clock: SetClock, runs: Runs, results: list[Result]
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
    clock: SetClock, runs: Runs, results: list[Result]
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
