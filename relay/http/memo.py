"""What was read of bytes that peers say over and over, kept as long as there is room.

A peer may make up bytes without end, and long ones: so only short ones are kept, and not too
many. Only for functions of their argument alone, whose results nobody changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

# Bytes, and how many. Lines of Claude Code's and of the API are below 200 bytes, and a few
# hundred kinds are about; all that one of these keeps stays below a megabyte or two.
LENGTH_LIMIT: Final = 256
COUNT_LIMIT: Final = 1024

Value = TypeVar("Value")


def _never(_: object) -> bool:
    """Nothing that is read here is a secret."""
    return False


class Memo(dict[bytes, Value]):
    """Maps bytes to what a function reads in them. What that raises is raised every time."""

    def __init__(
        self, read: Callable[[bytes], Value], is_secret: Callable[[Value], bool] = _never
    ) -> None:
        super().__init__()
        self._read = read
        self._is_secret = is_secret

    def __missing__(self, key: bytes) -> Value:
        value = self._read(key)
        if len(key) <= LENGTH_LIMIT and not self._is_secret(value):
            if len(self) >= COUNT_LIMIT:
                self.clear()
            self[key] = value
        return value

    def __repr__(self) -> str:
        return f"<Memo {len(self)}>"
