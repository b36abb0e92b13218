"""The figures as a picture for a terminal, from 80 columns on.

Here are its heading and its layout: what is always shown, and how many calls there is room
for. The parts themselves are in `sections`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from relay.commands.top import format as words
from relay.commands.top import sections
from relay.commands.top.figures import Figures

RECENT_ROWS: Final = 10
"""Finished calls in a picture that is printed once."""
_WIDE: Final = 110
"""Columns from which there is room for paths beside models."""
_FEWEST_ROWS: Final = 2


@dataclass(frozen=True, slots=True)
class View:
    """What the screen shows: figures, of which relay, and whether it is lost."""

    address: str
    figures: Figures
    lost: str | None = None
    """Why the figures are no longer fresh."""


def draw(view: View, console: Console, *, fill: bool) -> RenderableType:
    """Return the picture; with ``fill``, as many calls as the console has lines for."""
    figures, wide = view.figures, console.width >= _WIDE
    top = [_heading(view), sections.relays(figures, wide=wide), sections.quotas(figures, wide=wide)]
    if fill:
        used = sum(len(console.render_lines(part, pad=False)) for part in top)
        room = console.height - used - 2 * sections.FRAME_ROWS
        running, ended = share_rows(room, len(figures.in_flight), len(figures.recent))
    else:
        running, ended = len(figures.in_flight), RECENT_ROWS
    return Group(
        *top,
        sections.in_flight(figures, running, wide=wide),
        sections.recent(figures, ended, wide=wide),
    )


def share_rows(room: int, running: int, ended: int) -> tuple[int, int]:
    """Return how many calls in flight and finished ones to show in so many lines."""
    room = max(room, 2 * _FEWEST_ROWS)
    # An empty list is said to be empty, in a line.
    running, ended = max(running, 1), max(ended, 1)
    first = min(running, max(room * 2 // 3, room - ended))
    return first, min(ended, room - first)


def _heading(view: View) -> RenderableType:
    moment = words.clock(view.figures.time)
    count = len(view.figures.in_flight)
    calls = f"{count} call{'' if count == 1 else 's'} in flight"
    line = Table.grid(expand=True)
    line.add_column(no_wrap=True, overflow="ellipsis")
    line.add_column(justify="right", no_wrap=True)
    line.add_row(
        Text.assemble(("relay top", "bold"), f"  {words.plain(view.address)}  {moment}"),
        Text(calls, "bold"),
    )
    if view.lost is None:
        return line
    text = f"{words.plain(view.lost)}; trying again. This is from {moment}."
    return Group(line, Text(text[:1].upper() + text[1:], "bold red"))
