"""What was read of bytes that agents repeat in every call, so that it is read once.

It holds, each kind in a memo of its own: header lines of requests whose names are known to hold
no secret (``grammar``), names of headers (``grammar``, ``proxy``), paths without their queries
(``target``, ``proxy/routing``), and values of Host and Accept-Encoding (``proxy``). So of an answer
there are names in it alone, and no query, no cookie, no key and no token, nor what is another in
each call. Without it a call takes half as much again of the relay's CPU time.

An agent may make up bytes without end, and long ones: so only short ones are kept, and when there
are too many, all of them go. Only for functions of their argument alone, whose results nobody
changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

# Bytes, and how many: lines of Claude Code's are shorter, and a few hundred kinds are about. A line
# is kept with what was read in it, so one memo takes up to 1 MiB.
LENGTH_LIMIT: Final = 256
COUNT_LIMIT: Final = 1024

Value = TypeVar("Value")


def _always(_: object) -> bool:
    """Whatever is read here may be kept."""
    return True


class Memo(dict[bytes, Value]):
    """Maps bytes to what a function reads in them. What that raises is raised every time."""

    def __init__(
        self, read: Callable[[bytes], Value], is_kept: Callable[[Value], bool] = _always
    ) -> None:
        super().__init__()
        self._read = read
        self._is_kept = is_kept

    def __missing__(self, key: bytes) -> Value:
        value = self._read(key)
        if len(key) <= LENGTH_LIMIT and self._is_kept(value):
            if len(self) >= COUNT_LIMIT:
                self.clear()
            self[key] = value
        return value

    def __repr__(self) -> str:
        return f"<Memo {len(self)}>"
