"""Work in threads of its own: its result, and what becomes of one that nobody waits for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from relay import threads

FUSE_SECONDS = 10.0


class Work:
    """Work that ends when it is told to, and what was not wanted of it."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.dropped: list[int] = []
        self.was_dropped = threading.Event()

    def __call__(self) -> int:
        """Do it."""
        assert self.may_end.wait(FUSE_SECONDS)
        return 7

    def drop(self, result: int) -> None:
        """Take what nobody waits for."""
        self.dropped.append(result)
        self.was_dropped.set()


async def test_result_and_error_reach_whoever_waits() -> None:
    """As if the work had been done here."""
    work = Work()
    work.may_end.set()
    assert await threads.run(work, work.drop) == 7
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    assert work.dropped == []


async def test_result_of_work_that_was_given_up_is_handed_over() -> None:
    """It may be a process, which somebody has to end."""
    work = Work()
    threads.run(work, work.drop).cancel()
    work.may_end.set()
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(None, work.was_dropped.wait, FUSE_SECONDS)
    assert work.dropped == [7]


def test_result_that_comes_after_the_event_loops_end_is_handed_over() -> None:
    """The work does not know that there is nobody any more."""
    work = Work()

    async def begin() -> None:
        threads.run(work, work.drop)

    asyncio.run(begin())
    work.may_end.set()
    assert work.was_dropped.wait(FUSE_SECONDS)
    assert work.dropped == [7]
