"""The figures for people: a table for each case, and one that says which targets are met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench import cases
from tests.bench.cases import Case
from tests.bench.peers import ALL, DIRECT, NGINX
from tests.bench.rounds import Sample, Samples, greatest, least, middle, ratio
from tests.bench.targets import Reached


@dataclass(frozen=True, slots=True)
class Column:
    """A figure, as a table shows it."""

    figure: str
    title: str
    form: str = ",.0f"
    compared: bool = False
    """Whether the ratio to nginx stands beside it."""
    spread: bool = False
    """Whether the least and the greatest stand beside it."""


COLUMNS: Final = (
    Column(cases.PER_SECOND, "a second", compared=True, spread=True),
    Column(cases.P50, "p50 µs", compared=True),
    Column(cases.P99, "p99 µs", compared=True),
    Column(cases.CPU, "CPU µs", ",.1f", compared=True),
    Column(cases.BUSY, "busy", ".2f"),
    Column(cases.GROWN, "grown MiB", ".1f"),
    Column(cases.IDLE, "idle MiB", ".1f"),
    Column(cases.STREAM, "KiB a stream", ".1f", compared=True, spread=True),
    Column(cases.HELD, "MiB", ".1f", compared=True, spread=True),
    Column(cases.START, "ms", ".0f", compared=True, spread=True),
)
_GAP: Final = "  "
# Of a core. Whoever is less busy is not what the others wait for.
_BUSY: Final = 0.85


def table(case: Case, samples: Samples) -> str:
    """Return a case's medians, and the ratios to nginx's, or the first peer's without it."""
    others = (name for name in samples if name != DIRECT)
    base = NGINX if NGINX in samples else next(others, DIRECT)
    columns = [column for column in COLUMNS if column.figure in samples[base][0]]
    rows = [_titles(columns, base)]
    rows += [
        [name, *(cell for column in columns for cell in _cells(column, name, samples, base))]
        for name in samples
    ]
    unit = f", {case.unit}" if case.unit else ""
    title = f"{case.title}{unit}; {len(samples[base])} rounds"
    return "\n".join([title, *_aligned(rows), *_idle(case, samples)])


def _idle(case: Case, samples: Samples) -> list[str]:
    """Return a line about peers that had time left where they should have had none."""
    if not case.saturates:
        return []
    idle = [
        name
        for name, rounds in samples.items()
        if name != DIRECT and middle(rounds, cases.BUSY) < _BUSY
    ]
    return [f"  Not what the others waited for: {', '.join(idle)}."] if idle else []


def verdicts(found: Sequence[Reached]) -> str:
    """Return what every peer reached of the relay's targets, and whether the relay met them."""
    peers = [peer for peer in ALL if any(peer in each.figures for each in found)]
    rows = [["", "", *peers, "target", ""]]
    for each in found:
        cells = [f"{each.figures[peer]:.2f}" if peer in each.figures else "-" for peer in peers]
        target = each.target
        rows.append([target.text, target.unit, *cells, target.wanted, each.verdict])
    return "\n".join(["What the relay is to reach", *_aligned(rows)])


def _titles(columns: Sequence[Column], base: str) -> list[str]:
    titles = [""]
    for column in columns:
        titles += [column.title, *_beside(column, "least-greatest", f"/{base}")]
    return titles


def _cells(column: Column, name: str, samples: Samples, base: str) -> list[str]:
    mine, figure, form = samples[name], column.figure, column.form
    if name == DIRECT and figure not in cases.WITHOUT_A_PEER:
        return ["-", *_beside(column, "-", "-")]
    spread = f"{least(mine, figure):{form}}-{greatest(mine, figure):{form}}"
    beside = _beside(column, spread, _ratio(mine, samples[base], figure))
    return [f"{middle(mine, figure):{form}}", *beside]


def _beside(column: Column, spread: str, compared: str) -> list[str]:
    return [spread] * column.spread + [compared] * column.compared


def _ratio(mine: Sequence[Sample], base: Sequence[Sample], figure: str) -> str:
    return f"{ratio(mine, base, figure):.2f}" if least(base, figure) > 0 else "-"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        _GAP + _GAP.join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
        for row in rows
    ]
