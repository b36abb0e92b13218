"""Bytes, cut as they may come."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def bytewise(data: bytes) -> list[bytes]:
    """Cut data into single bytes."""
    return [data[i : i + 1] for i in range(len(data))]


def cut(data: bytes, positions: Sequence[int]) -> list[bytes]:
    """Cut data at these positions."""
    edges = [0, *sorted({p for p in positions if 0 < p < len(data)}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]
