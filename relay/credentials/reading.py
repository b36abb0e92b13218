"""A reading of a source: a value, or the plain reason why there is none; and what gives it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final, Literal

from relay.credentials.ends import said

_MARK: Final = "\ufeff"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source held: a value, or the reason for none."""

    value: str | None = field(default=None, repr=False)
    problem: str = ""
    certain: bool = True
    """Whether it was looked at, and not just out of reach for a moment."""
    further: tuple[str, ...] = field(default=(), repr=False)
    """What goes into the further headers of a grant, read together with the value."""
    expires_at: float | None = None
    """When the value ends, in Unix seconds, where that is said beside it."""
    end_is_unread: bool = False
    """Whether it is not at the place that was named for it."""
    readable_by_all: bool = False
    """Whether everybody on this host can read the file, and its owner, the relay, can mend it."""

    @property
    def has_ended(self) -> bool:
        """Whether there was a value, and its time is over."""
        return self.expires_at is not None and self.expires_at <= time.time()


class Value:
    """What follows one source: here one that never changes."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    @property
    def reading(self) -> Reading:
        """The value now, or why there is none; one that has ended is still shown."""
        return self._reading

    @property
    def renewal(self) -> str:
        """Why there is no newer value, where that is known to be wrong."""
        return ""

    async def settle(self) -> None:
        """Wait until a first reading is there."""

    def refresh(self) -> None:
        """Read again soon, whatever is known."""

    def close(self) -> None:
        """Stop whatever runs in the background."""


Result = Literal["changed", "unchanged", "failed"]
"""What came of reading a source again."""


def compare(before: Reading, after: Reading) -> Result:
    """Return what came of a further reading."""
    if after.value is None:
        return "failed"
    same = (after.value, after.further) == (before.value, before.further)
    return "unchanged" if same else "changed"


def lasting(reading: Reading) -> str:
    """Return what to add to a sentence on a value: until when it lasts, where that is known."""
    return "" if reading.expires_at is None else f", until {said(reading.expires_at)}"


def usable(text: str) -> str | None:
    """Return a text's value: without white space around it, or None where no header may hold it."""
    text = text.strip().removeprefix(_MARK).strip()
    return text if text and text.isascii() and text.isprintable() else None
