"""The figures for people: a table for each case, a line for each peer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.peers import DIRECT, NGINX
from tests.bench.rounds import Sample, Samples, middle, ratio, spread


@dataclass(frozen=True, slots=True)
class Column:
    """A figure, as a table shows it."""

    figure: str
    title: str
    form: str = ",.0f"


RATE: Final = "per_second"
CPU: Final = "cpu_us"
COLUMNS: Final = (
    Column("p50_us", "p50 µs"),
    Column("p99_us", "p99 µs"),
    Column(CPU, "CPU µs", ",.1f"),
    Column("busy", "busy", ".2f"),
)


def table(title: str, unit: str, samples: Samples) -> str:
    """Return a case's figures: medians, and with them least and greatest of what matters most.

    The columns of ratios are against nginx, or against the first peer where it is missing.
    """
    base = NGINX if NGINX in samples else next(iter(samples))
    lines = [
        f"{title}, {len(samples[base])} rounds",
        f"  {'':8} {unit:>9} {'least-greatest':>17} {f'/ {base}':>9}"
        + "".join(f"{column.title:>9}" for column in COLUMNS)
        + f"{f'/ {base}':>9}",
    ]
    return "\n".join([*lines, *(_row(name, rows, samples[base]) for name, rows in samples.items())])


def _row(name: str, samples: Sequence[Sample], base: Sequence[Sample]) -> str:
    least, greatest = spread(samples, RATE)
    cells = [
        f"{middle(samples, RATE):9,.0f}",
        f"{f'{least:,.0f}-{greatest:,.0f}':>17}",
        f"{ratio(samples, base, RATE):9.2f}",
        *(f"{middle(samples, column.figure):8{column.form}}" for column in COLUMNS),
    ]
    if name != DIRECT and middle(base, CPU):
        cells.append(f"{ratio(samples, base, CPU):8.2f}")
    return f"  {name:8} " + " ".join(cells)
