"""Work that may never end, each piece in a thread of its own.

A dead mount or a name server that says nothing can hold a system call for as long as it likes.
In a pool of threads a few of those would hold up everything else, and at its end a process waits
for a pool; nobody waits for these. Knows nothing of what the work is.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def _drop(_: object) -> None:
    """Nothing needs to be done with it."""


def run(work: Callable[[], T], unwanted: Callable[[T], None] = _drop) -> asyncio.Future[T]:
    """Begin work; return what becomes its result, or raises what it raised.

    Whoever cancels that does not end the work: ``unwanted`` gets what comes of it then, and also
    where the event loop has gone.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(_see_error)

    def deliver(result: T) -> None:
        if future.done():
            unwanted(result)
        else:
            future.set_result(result)

    def fail(error: Exception) -> None:
        if not future.done():
            future.set_exception(error)

    def body() -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001  # whoever waits for the result gets it
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(fail, error)
            return
        try:
            loop.call_soon_threadsafe(deliver, result)
        except RuntimeError:  # the loop is closed
            unwanted(result)

    try:
        start(body)
    except OSError as error:
        future.set_exception(error)
    return future


def start(body: Callable[[], object]) -> threading.Thread:
    """Start a thread that does not keep the process from ending.

    Raises:
        OSError: There may be no more threads.
    """
    thread = threading.Thread(target=body, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, "no more threads") from error
    return thread


def _see_error(future: asyncio.Future[T]) -> None:
    """Mark an error as seen: those who wait may all have given up."""
    if not future.cancelled():
        future.exception()
