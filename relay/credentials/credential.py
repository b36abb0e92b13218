"""The current value of a grant or a client token, from its sources.

A value is asked for on every call, and at hand: variables never change, files are followed, and
a command runs in the background when its time to live has passed. A variable that the process does
not have may be kept in a file by whoever started it. Nothing here shows a value: not in a repr, not
in a log.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from relay.config import CommandSource, EnvSource, FileSource, Sources
from relay.credentials.command import Command
from relay.credentials.file import FileValue
from relay.credentials.sources import (
    NOT_SET,
    NOT_THERE,
    Reading,
    Result,
    compare,
    describe,
    read_environment,
)

KEPT_VARIABLES: Final = "RELAY_VARIABLES"
"""Names the folder in which a variable that is not set is looked for, as a file of its name."""
REFUSED_INTERVAL_SECONDS: Final = 5.0
"""How often, at most, values are read again because the upstream answered 401."""


OnRead = Callable[[str, Result], None]
"""Told the grant's name and the result, whenever a source is read again."""


class Value(Protocol):
    """The current reading of one source."""

    @property
    def reading(self) -> Reading:
        """The value now, or why there is none."""

    async def settle(self) -> None:
        """Wait until a first reading is there."""

    def refresh(self) -> None:
        """Read again soon, whatever is known."""

    def close(self) -> None:
        """Stop whatever runs in the background."""


@dataclass(frozen=True, slots=True)
class FixedValue:
    """A variable's value."""

    reading: Reading

    async def settle(self) -> None:
        """There is nothing to wait for."""

    def refresh(self) -> None:
        """A process's environment does not change."""

    def close(self) -> None:
        """Nothing runs."""


class KeptVariable(FileValue):
    """A variable that the process does not have, and whoever started it keeps in a file."""

    @property
    def reading(self) -> Reading:
        reading = super().reading
        return Reading(problem=NOT_SET) if reading.problem == NOT_THERE else reading


class CommandValue:
    """A command's output, kept for its time to live; a failed run keeps the last value."""

    def __init__(self, source: CommandSource, on_read: Callable[[Result], None]) -> None:
        self._ttl = source.ttl
        self._command = Command(source)
        self._on_read = on_read
        self._ran_before = False
        self._reading = Reading(problem="has not finished yet")
        self._expires = 0.0
        self._run: asyncio.Task[None] | None = None

    @property
    def reading(self) -> Reading:
        if time.monotonic() >= self._expires:
            self._start()
        return self._reading

    def _start(self) -> asyncio.Task[None]:
        if self._run is None or self._run.done():
            self._run = asyncio.get_running_loop().create_task(self._take())
        return self._run

    async def _take(self) -> None:
        reading = await self._command.run()
        if self._ran_before:
            self._on_read(compare(self._reading, reading))
        self._ran_before = True
        succeeded = reading.value is not None
        if succeeded or self._reading.value is None:
            self._reading = reading
        wait = self._ttl if succeeded else min(self._ttl, REFUSED_INTERVAL_SECONDS)
        self._expires = time.monotonic() + wait

    async def settle(self) -> None:
        if self._reading.value is None and time.monotonic() >= self._expires:
            await asyncio.shield(self._start())

    def refresh(self) -> None:
        self._start()

    def close(self) -> None:
        if self._run is not None:
            self._run.cancel()
        self._command.close()


def _value_of(
    source: EnvSource | FileSource | CommandSource,
    environment: Mapping[str, str],
    on_read: Callable[[Result], None],
) -> Value:
    if isinstance(source, EnvSource):
        reading, folder = read_environment(source, environment), environment.get(KEPT_VARIABLES)
        if reading.problem != NOT_SET or not folder:
            return FixedValue(reading)
        return KeptVariable(FileSource(file=f"{folder}/{source.env}"), on_read)
    if isinstance(source, FileSource):
        return FileValue(source, on_read)
    return CommandValue(source, on_read)


def _tell_nobody(_: str, __: Result) -> None:
    """Where nobody counts readings."""


class Credential:
    """A grant's value or a client's token: the first of its sources that has one."""

    def __init__(
        self,
        name: str,
        sources: Sources,
        environment: Mapping[str, str] = os.environ,
        on_read: OnRead = _tell_nobody,
    ) -> None:
        self.name = name
        self._sources = sources
        tell = partial(on_read, name)
        self._values = [_value_of(source, environment, tell) for source in sources]
        self._refused_at = float("-inf")
        self._text, self._encoded = "", b""
        self.version = 0
        """How many values there have been: what is said of one need not be true of the next."""

    def __repr__(self) -> str:
        return f"<Credential {self.name} {'ready' if self.ready else 'missing'}>"

    @property
    def ready(self) -> bool:
        """Whether there is a value."""
        return self.value() is not None

    def value(self) -> bytes | None:
        """Return the value as a header takes it."""
        for value in self._values:
            text = value.reading.value
            if text is not None:
                if text is not self._text:
                    self.version += text != self._text
                    self._text, self._encoded = text, text.encode("ascii")
                return self._encoded
        return None

    @property
    def reading(self) -> Reading:
        """The reading that the value is from; one without a value where there is none."""
        readings = (value.reading for value in self._values)
        return next((each for each in readings if each.value is not None), Reading())

    async def settle(self) -> None:
        """Wait for a first reading of every source: of commands, up to their limit."""
        for value in self._values:
            await value.settle()

    def refused(self) -> None:
        """Read again, for the upstream did not accept the value: at most every 5 s."""
        now = time.monotonic()
        if now - self._refused_at >= REFUSED_INTERVAL_SECONDS:
            self._refused_at = now
            for value in self._values:
                value.refresh()

    def explain(self) -> str:
        """Return why there is no value, for the log and for readiness."""
        reasons: list[str] = []
        absent_file_seen = False
        for source, value in zip(self._sources, self._values, strict=True):
            problem = value.reading.problem
            absent_file = isinstance(source, FileSource) and problem == NOT_THERE
            # Of several places where a file may be, naming the first one is enough.
            if problem and not (absent_file and absent_file_seen):
                reasons.append(f"{describe(source)} {problem}")
            absent_file_seen = absent_file_seen or absent_file
        return ", ".join(reasons)

    def remedy(self) -> str:
        """Return how to give the value, as one would tell a user."""
        ways = [
            f"set {describe(source)} and restart"
            if isinstance(source, EnvSource)
            else f"write {describe(source)}"
            for source in self._sources
            if not isinstance(source, CommandSource)
        ]
        text = " or ".join(ways[:2]) or "see why the command gives none"
        in_compose = " (under compose: in the folder secrets)"
        return text + (in_compose if "write /run/secrets/" in text else "")

    def origin(self) -> str:
        """Return which source has the value, or an empty text."""
        pairs = zip(self._sources, self._values, strict=True)
        return next((describe(s) for s, v in pairs if v.reading.value is not None), "")

    def close(self) -> None:
        """Stop what runs in the background."""
        for value in self._values:
            value.close()
