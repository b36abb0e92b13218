"""The current value of a grant or a client token, from its sources.

A value is asked for on every call, and at hand: variables never change, files are followed, and
commands run in the background. One that has ended is none. A variable that the process does not
have may be kept in a file by whoever started it. Nothing here shows a value: not in a repr, not in
a log.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from relay.config import CommandSource, EnvSource, FileSource, Sources
from relay.credentials.command_value import CommandValue
from relay.credentials.document import VALUE
from relay.credentials.ends import said
from relay.credentials.file import FileValue
from relay.credentials.reading import Reading, Result, Value
from relay.credentials.sources import NOT_SET, NOT_THERE, describe, read_environment

KEPT_VARIABLES: Final = "RELAY_VARIABLES"
"""Names the folder in which a variable that is not set is looked for, as a file of its name."""
REFUSED_INTERVAL_SECONDS: Final = 5.0
"""How often, at most, values are read again because the upstream answered 401."""


OnRead = Callable[[str, Result], None]
"""Told the grant's name and the result, whenever a source is read again."""


class KeptVariable(FileValue):
    """A variable that the process does not have, and whoever started it keeps in a file."""

    @property
    def reading(self) -> Reading:
        reading = super().reading
        return Reading(problem=NOT_SET) if reading.problem == NOT_THERE else reading


def _value_of(
    source: EnvSource | FileSource | CommandSource,
    environment: Mapping[str, str],
    on_read: Callable[[Result], None],
    fields: tuple[str, ...],
) -> Value:
    if isinstance(source, EnvSource):
        reading = read_environment(source, environment, fields)
        folder = environment.get(KEPT_VARIABLES)
        if reading.problem != NOT_SET or not folder:
            return Value(reading)
        return KeptVariable(FileSource(file=f"{folder}/{source.env}"), on_read, fields)
    if isinstance(source, FileSource):
        return FileValue(source, on_read, fields)
    return CommandValue(source, on_read, fields)


class Credential:
    """A grant's value or a client's token: the first of its sources that has one."""

    def __init__(
        self,
        name: str,
        sources: Sources,
        environment: Mapping[str, str] = os.environ,
        on_read: OnRead = lambda *_: None,
        fields: tuple[str, ...] = VALUE,
    ) -> None:
        """Take ``fields`` of a source, the value and what goes with it: see ``document``."""
        self.name = name
        self._sources = sources
        tell = partial(on_read, name)
        self._values = [_value_of(source, environment, tell, fields) for source in sources]
        self._refused_at = float("-inf")
        self._taken = Reading()
        self._encoded: tuple[bytes, ...] = ()
        self.version = 0
        """How many values there have been: what is said of one need not be true of the next."""

    def __repr__(self) -> str:
        return f"<Credential {self.name} {'ready' if self.ready else 'missing'}>"

    @property
    def ready(self) -> bool:
        """Whether there is a value."""
        return self.values() is not None

    def value(self) -> bytes | None:
        """Return the value as a header takes it."""
        values = self.values()
        return None if values is None else values[0]

    def values(self) -> tuple[bytes, ...] | None:
        """Return the value, and what goes into further headers: all of one reading."""
        for value in self._values:
            reading = value.reading
            if reading.value is None or reading.has_ended:
                continue
            if reading is not self._taken:
                self._take(reading, reading.value)
            return self._encoded
        return None

    def _take(self, reading: Reading, value: str) -> None:
        self.version += (value, reading.further) != (self._taken.value, self._taken.further)
        self._taken = reading
        self._encoded = tuple(each.encode("ascii") for each in (value, *reading.further))

    @property
    def reading(self) -> Reading:
        """The reading that the value is from; without one, the one that has ended, if any has."""
        readings = [value.reading for value in self._values]
        found = [each for each in readings if each.value is not None]
        lasting = (each for each in found if _serves(each))
        return next(lasting, found[0] if found else Reading())

    @property
    def renewal(self) -> str:
        """Why the value that there is will not be renewed; empty while all is well."""
        for source, value in zip(self._sources, self._values, strict=True):
            reading = value.reading
            if _serves(reading):
                return f"{describe(source)} {value.renewal}" if value.renewal else ""
        return ""

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
            problem = _problem(value)
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
        return next((describe(s) for s, v in pairs if _serves(v.reading)), "")

    def close(self) -> None:
        """Stop what runs in the background."""
        for value in self._values:
            value.close()


def _serves(reading: Reading) -> bool:
    return reading.value is not None and not reading.has_ended


def _problem(value: Value) -> str:
    """Return why a source has no value; empty where it has one."""
    reading = value.reading
    if reading.expires_at is None or not reading.has_ended:
        return reading.problem
    text = f"ended at {said(reading.expires_at)}"
    return f"{text}, and {value.renewal}" if value.renewal else text
