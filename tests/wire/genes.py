"""Choices read from bytes: what a random generator or Hypothesis draws, and shrinks.

A genome that has run out chooses 0, which everywhere is the plainest choice there is: so a
shorter genome of smaller bytes is a plainer case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

GENOME_SIZE: Final = 40

Item = TypeVar("Item")


class Genes:
    """Reads one choice after the other."""

    def __init__(self, genome: bytes) -> None:
        self._genome = genome
        self._position = 0

    def byte(self) -> int:
        """Return the next byte."""
        position = self._position
        self._position += 1
        return self._genome[position] if position < len(self._genome) else 0

    def below(self, limit: int) -> int:
        """Return a number from 0 up to a limit, without it."""
        if limit <= 1:
            return 0
        number = self.byte()
        return (number if limit <= 256 else number << 8 | self.byte()) % limit

    def pick(self, items: Sequence[Item]) -> Item:
        """Return one of the items."""
        return items[self.below(len(items))]
