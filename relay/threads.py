"""Runs blocking work that may never end, each piece in a thread of its own.

A dead network mount or a silent name server can hold a system call indefinitely. In a thread pool a
few of those would block all other work, and the process waits for a pool at its exit. These threads
are daemons: nothing waits for them.
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
    """Ignore a result."""


def run(work: Callable[[], T], unwanted: Callable[[T], None] = _drop) -> asyncio.Future[T]:
    """Start work in a thread; return a future of its result or exception.

    Cancelling the future does not end the work: ``unwanted`` is then given its result, as it is
    when the event loop has been closed.
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
    """Retrieve the exception, so that asyncio does not log it where nobody waits any more."""
    if not future.cancelled():
        future.exception()
