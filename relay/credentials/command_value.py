"""The value that a command prints, renewed in the background: no call waits for that.

One that does not say when it ends is used for the source's time to live. One that does is renewed
ahead of its end, whether or not anybody calls; while that fails the value there is serves until it
ends, and the command is run again after a second, then two, up to a minute. One run at a time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final

from relay.config import CommandSource
from relay.credentials.command import Command
from relay.credentials.document import VALUE
from relay.credentials.ends import said
from relay.credentials.reading import Reading, Result, Value, compare

RENEWED_AHEAD_SECONDS: Final = 300.0
# AWS's SDKs and kubectl renew a few minutes ahead as well; a token of a minute has but 12 s for it.
RENEWED_AHEAD_SHARE: Final = 0.2
# So that relays that were started together do not all ask an issuer at once.
_JITTER: Final = 0.1
FIRST_RETRY_SECONDS: Final = 1.0
LAST_RETRY_SECONDS: Final = 60.0
FAILED_SECONDS: Final = 5.0
"""How soon a command is run again that failed, where no end is known."""


def seconds_until_renewal(life_seconds: float) -> float:
    """Return after how long a value with so much of its life left is to be renewed."""
    ahead = min(RENEWED_AHEAD_SECONDS, life_seconds * RENEWED_AHEAD_SHARE)
    return life_seconds - ahead * random.uniform(1 - _JITTER, 1)  # noqa: S311  # no secret


def seconds_until_retry(failures: int, life_seconds: float) -> float:
    """Return after how long to try again; towards the end of a value's life, sooner."""
    wait = FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 10)
    if life_seconds > 0:
        wait = min(wait, life_seconds / 2)
    return min(max(wait, FIRST_RETRY_SECONDS), LAST_RETRY_SECONDS)


class CommandValue(Value):
    """A command's output; a failed run keeps the last value."""

    def __init__(
        self,
        source: CommandSource,
        on_read: Callable[[Result], None],
        fields: tuple[str, ...] = VALUE,
    ) -> None:
        super().__init__(Reading(problem="has not finished yet"))
        self._ttl = source.ttl
        self._command = Command(source, fields=fields)
        self._on_read = on_read
        self._ran_before = False
        self._due = 0.0
        """When to run it again, on the monotonic clock."""
        self._due_at: float | None = None
        """The same in Unix time, where an end is known: a host that slept has missed its timer."""
        self._timer: asyncio.TimerHandle | None = None
        self._run: asyncio.Task[None] | None = None
        self._tries = 0
        """How many runs in a row have brought no later end."""
        self._failed_since: float | None = None
        self._failure = ""
        self._closed = False

    @property
    def reading(self) -> Reading:
        """The value now, or why there is none; one that has ended is still shown."""
        if self._is_due:
            self.refresh()
        return self._reading

    @property
    def renewal(self) -> str:
        """Why there is no newer value; empty while all is well."""
        if self._failed_since is None or self._reading.value is None:
            return ""
        return f"{self._failure}, since {said(self._failed_since)}"

    @property
    def _is_due(self) -> bool:
        if time.monotonic() >= self._due:
            return True
        return self._due_at is not None and time.time() >= self._due_at

    def _start(self) -> asyncio.Task[None]:
        if self._run is None or self._run.done():
            self._run = asyncio.get_running_loop().create_task(self._take())
        return self._run

    async def _take(self) -> None:
        reading = await self._command.run()
        if reading.has_ended and reading.expires_at is not None:
            reading = Reading(problem=f"printed a value that ended at {said(reading.expires_at)}")
        if self._ran_before:
            self._on_read(compare(self._reading, reading))
        self._ran_before = True
        wait = self._learn(reading)
        self._due = time.monotonic() + wait
        ends = self._reading.expires_at is not None
        self._due_at = time.time() + wait if ends else None
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(wait, self._start) if ends else None

    def _learn(self, reading: Reading) -> float:
        """Take the result of a run; return after how many seconds to run it again."""
        before, succeeded = self._reading, reading.value is not None
        if succeeded or before.value is None:
            self._reading = reading
        self._note_failure("" if succeeded else reading.problem)
        end = self._reading.expires_at
        if end is None:
            return self._ttl if succeeded else min(self._ttl, FAILED_SECONDS)
        if succeeded and (before.expires_at is None or end > before.expires_at):
            self._tries = 0
            return seconds_until_renewal(end - time.time())
        self._tries += 1
        return seconds_until_retry(self._tries, end - time.time())

    def _note_failure(self, problem: str) -> None:
        self._failure = problem
        if not problem:
            self._failed_since = None
        elif self._failed_since is None:
            self._failed_since = time.time()

    async def settle(self) -> None:
        """Wait for a run, where there is no value and one is due."""
        lacks = self._reading.value is None or self._reading.has_ended
        if lacks and self._is_due and not self._closed:
            await asyncio.shield(self._start())

    def refresh(self) -> None:
        """Run it again now, unless it is closed: whoever looks back at a call may still ask."""
        if not self._closed:
            self._start()

    def close(self) -> None:
        """End what runs, and run nothing more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._run is not None:
            self._run.cancel()
        self._command.close()
