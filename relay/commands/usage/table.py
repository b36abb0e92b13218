"""A report as a table of 80 columns, for people; in the manner of ccusage.

Money is to the cent. What is not the API's own word is marked, and a line below says what the
marks mean. Foreign text is shown with what does not print escaped, and never as markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from relay.commands.top.format import amount, percent, plain
from relay.config.limits import MICRO
from relay.telemetry.ledger.report import Key, Report, Totals

WIDTH: Final = 80
ESTIMATED: Final = "~"
NOTIONAL: Final = "*"
UNPRICED: Final = "?"
_HEADS: Final = ("calls", "input", "output", "written", "read", "hit", "cost")
_MAIN: Final = "main"
_WEEK: Final = "week of"  # its Monday
_DATE: Final = re.compile(r"-20\d\d-?\d\d-?\d\d$", re.ASCII)
"""Of a model: a list of them says which, not of what day."""


def draw(report: Report, out: TextIO, left: Iterable[str] = ()) -> None:
    """Write the table, what its marks mean, and what is left of limits."""
    console = Console(file=out, highlight=False, markup=False, emoji=False)
    console.width = min(console.width, WIDTH) if out.isatty() else WIDTH
    since = f"since {report.since:%Y-%m-%d} ({report.timezone})"
    if report.total.calls:
        console.print(f"by {report.names[0]}, {since}")
        console.print(_table(report))
    else:
        console.print(f"no calls {since}")
    for line in (*_legend(report.total), *left):
        console.print(line)


def _table(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False, padding=(0, 0, 0, 1))
    table.add_column(_head(report), "total", overflow="fold")
    for head, footer in zip(_HEADS, _cells(report.total), strict=True):
        table.add_column(head, footer, justify="right", no_wrap=True)
    for name, sums in _agents(report) if report.name == "agents" else _plainly(report):
        table.add_row(name, *([] if sums is None else _cells(sums)))
    return table


def _head(report: Report) -> str:
    if report.name == "agents":
        return "session, agent"
    return _WEEK if report.name == "weekly" else report.names[0]


def _plainly(report: Report) -> Iterator[tuple[Text, Totals]]:
    """Yield each row with its name, and the models below it unless they are the names."""
    for key, sums in _rows(report):
        yield _with_models(plain(key[0]), () if report.names[0] == "model" else sums.models), sums


def _rows(report: Report) -> Iterator[tuple[Key, Totals]]:
    """Yield the rows that have calls: of those that were refused the legend tells."""
    return ((key, sums) for key, sums in report.rows if sums.calls)


def _with_models(name: str, models: Iterable[str]) -> Text:
    short = sorted({_DATE.sub("", model) for model in models})
    return Text("\n".join([name, *("  " + plain(model) for model in short)]))


def _cells(sums: Totals) -> list[str]:
    counts = (sums.input, sums.output, sums.cache_write, sums.cache_read)
    share = percent(sums.cache_read_share)
    return [amount(sums.calls), *map(amount, counts), share, money(sums)]


def money(sums: Totals) -> str:
    """Return what calls cost, to the cent, with its marks."""
    marks = (
        (ESTIMATED if sums.estimate else "")
        + (NOTIONAL if sums.notional else "")
        + (UNPRICED if sums.unpriced else "")
    )
    return f"${sums.money / MICRO:,.2f}{marks}"


def _legend(total: Totals) -> Iterator[str]:
    if total.estimate:
        estimate = f"${total.estimate / MICRO:,.2f}"
        yield f"{ESTIMATED} with {estimate} estimated, of calls whose usage or price is unknown"
    if total.notional:
        yield f"{NOTIONAL} notional: a subscription is not billed by tokens"
    if total.unpriced:
        yield f"{UNPRICED} calls of models without a known price: {total.unpriced}"
    if total.refused:
        yield f"refused, and not counted above: {total.refused}"


# Agents


def _agents(report: Report) -> Iterator[tuple[Text, Totals | None]]:
    """Yield each session, and below it its agents as a tree."""
    sessions: dict[str | None, dict[str | None, Totals]] = {}
    for (agent, session, _), sums in _rows(report):
        sessions.setdefault(session, {})[agent] = sums
    for session, agents in sessions.items():
        yield Text(plain(session)), None
        for depth, agent in _tree(agents):
            yield (
                Text("  " * depth + "└ " + (_MAIN if agent is None else plain(agent))),
                agents[agent],
            )


def _tree(agents: dict[str | None, Totals]) -> Iterator[tuple[int, str | None]]:
    """Yield agents below whom they say is their parent; whatever they say, each once."""
    children: dict[str | None, list[str]] = {}
    for agent, sums in agents.items():
        if agent is not None:
            parent = sums.parent if sums.parent in agents else None
            children.setdefault(parent, []).append(agent)
    left = dict.fromkeys(agents)
    yield from _branch(None, 0, children, left)
    while left:  # whose parents go round in a circle
        yield from _branch(next(iter(left)), 1, children, left)


def _branch(
    agent: str | None,
    depth: int,
    children: dict[str | None, list[str]],
    left: dict[str | None, None],
) -> Iterator[tuple[int, str | None]]:
    # Not by recursion: agents state the depth themselves, and it may be any.
    waiting = [(depth, agent)]
    while waiting:
        depth, agent = waiting.pop()
        if agent in left:
            del left[agent]
            yield depth, agent
        elif agent is not None:
            continue
        waiting += [(depth + 1, child) for child in reversed(children.get(agent, []))]
