"""What the parts of the picture have in common: a title, and a table or a word for none."""

from __future__ import annotations

from typing import Final, Literal

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

_NAME: Final = 16


def section(title: str, note: str, body: RenderableType) -> RenderableType:
    """Return a part of the picture under its title, with a note beside that."""
    heading = Text.assemble((title, "bold"), (f"  {note}" if note else "", "dim"))
    return Group(Rule(heading, align="left", style="dim"), body)


def nothing(text: str) -> RenderableType:
    """Return what stands where a part has no rows."""
    return Padding(Text(text, "dim"), (0, 0, 0, 1))


def new_table(*, expand: bool = False) -> Table:
    """Return a table without rules, of whatever columns are added."""
    return Table(box=None, expand=expand, header_style="dim", padding=(0, 1))


def add_columns(table: Table, *heads: tuple[str, Literal["left", "right"]]) -> None:
    """Add columns whose texts are cut where there is no room."""
    for head, justify in heads:
        table.add_column(
            Text(head), justify=justify, no_wrap=True, overflow="ellipsis", vertical="top"
        )


def add_names(table: Table, *heads: str) -> None:
    """Add columns of names, which are as long as somebody likes."""
    for head in heads:
        table.add_column(Text(head), no_wrap=True, overflow="ellipsis", max_width=_NAME)
