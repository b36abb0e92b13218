"""A command that prints a secret; its output and its errors are never shown.

Not by asyncio's own subprocesses: under uvloop a child inherits descriptors of ours, and one
that leaves something running in the background would seem never to end. What a dead mount can
hold up, a program's start and its end, is waited for in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from typing import Final

from relay import threads
from relay.config import CommandSource
from relay.credentials.document import VALUE, read_document
from relay.credentials.reading import Reading
from relay.credentials.sources import VALUE_LIMIT_BYTES

COMMAND_LIMIT_SECONDS: Final = 10.0

_Process = subprocess.Popen[bytes]


class Command:
    """One command, run again and again, once at a time."""

    def __init__(
        self,
        source: CommandSource,
        limit_seconds: float = COMMAND_LIMIT_SECONDS,
        fields: tuple[str, ...] = VALUE,
    ) -> None:
        """Have these fields taken of what it prints: see ``document``."""
        self._source = source
        self._fields = fields
        self._limit_seconds = limit_seconds
        self._starting: asyncio.Future[_Process] | None = None
        """A start that has not come to an end; the next run takes what it began."""

    async def run(self) -> Reading:
        """Run it, and take what it prints."""
        try:
            async with asyncio.timeout(self._limit_seconds):
                return await self._run()
        except asyncio.CancelledError:
            self.close()
            raise
        except TimeoutError:
            return Reading(problem=f"took longer than {self._limit_seconds:g} s")
        except (OSError, ValueError):
            return Reading(problem="cannot be started")

    def close(self) -> None:
        """Have what is being started ended as soon as it is there."""
        starting, self._starting = self._starting, None
        if starting is None or starting.cancel():
            return
        if starting.exception() is None:
            _end(starting.result())

    async def _run(self) -> Reading:
        process = await self._start()
        try:
            output = await _read_output(process)
            status = await threads.run(process.wait)
        finally:
            _end(process)
        if status != 0:
            return Reading(problem=f"ended with status {status}")
        text = output.decode("utf-8-sig", "replace")
        return read_document(text, self._source, self._fields)

    async def _start(self) -> _Process:
        starting = self._starting = self._starting or threads.run(self._start_now, _end)
        try:
            process = await asyncio.shield(starting)
        except (OSError, ValueError):
            self._starting = None
            raise
        self._starting = None  # only now: one who is cancelled in this instant has no process
        return process

    def _start_now(self) -> _Process:
        return subprocess.Popen(  # noqa: S603  # the user's own command
            self._source.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


async def _read_output(process: _Process) -> bytes:
    """Return what a process prints, up to a little over the limit of a value."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    os.set_blocking(descriptor, False)
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    output = bytearray()

    def take() -> None:
        try:
            piece = os.read(descriptor, 65536)
        except BlockingIOError:
            return
        output.extend(piece)
        if (not piece or len(output) > VALUE_LIMIT_BYTES) and not ended.done():
            ended.set_result(None)

    loop.add_reader(descriptor, take)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
    return bytes(output)


def _end(process: _Process) -> None:
    """End a command with whatever it started: none of it outlives the reading."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdout is not None:
        process.stdout.close()
    if process.returncode is None:
        with contextlib.suppress(OSError):  # without a thread it is reaped by a later start
            threads.start(process.wait)  # even SIGKILL waits for a dead mount
