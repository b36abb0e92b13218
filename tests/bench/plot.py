"""The ratios to nginx as an SVG: a line for each, a dot for each peer, the best at the right.

Drawn by hand, so that it needs no library, is small, and its text is text. Its colours are
those that can be read on white and on black: a README is shown on either. The chain, which has an
nginx in it, is no peer of nginx's here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from tests.bench.peers import AIOHTTP, HAPROXY, NGINX, RELAY
from tests.bench.targets import AGAINST_NGINX, Reached

WIDTH: Final = 760
_LEFT: Final = 220
_RIGHT: Final = 700
_TOP: Final = 64
_ROW: Final = 34
_TICKS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
_INK: Final = "#7d8590"
_COLOURS: Final = {NGINX: "#2da44e", HAPROXY: "#4493f8", AIOHTTP: "#a371f7", RELAY: "#e5702a"}
_NAMES: Final = {NGINX: "nginx", HAPROXY: "HAProxy", AIOHTTP: "plain aiohttp", RELAY: "relay"}
_STYLE: Final = "text{font:13px system-ui,sans-serif;fill:#7d8590}.v{font-weight:600;fill:#e5702a}"


class Scale:
    """Ratios as places between left and right, twice as good being the same way anywhere."""

    def __init__(self, values: Sequence[float]) -> None:
        low = [tick for tick in _TICKS if tick <= min(values)] or _TICKS[:1]
        high = [tick for tick in _TICKS if tick >= max(values)] or _TICKS[-1:]
        self.ticks = [tick for tick in _TICKS if low[-1] <= tick <= high[0]]

    def __call__(self, value: float) -> float:
        """Return the place of a ratio."""
        low, high = math.log(self.ticks[0]), math.log(self.ticks[-1])
        share = (math.log(value) - low) / (high - low)
        return round(_LEFT + min(1, max(0, share)) * (_RIGHT - _LEFT), 1)


def plot(reached: Sequence[Reached]) -> str:
    """Return the picture; peers are as many times as good as nginx as they are fast or quick."""
    rows = [each for each in reached if each.target.unit == AGAINST_NGINX]
    values = [value for row in rows for value in _values(row)]
    scale = Scale([*values, 0.5, 2])
    bottom = _TOP + len(rows) * _ROW
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + 52}">',
            "<title>The relay and its peers beside nginx</title>",
            f"<style>{_STYLE}</style>",
            *_legend(),
            *_grid(scale, bottom),
            *(line for place, row in enumerate(rows) for line in _row(scale, place, row)),
            "</svg>\n",
        ]
    )


def _values(row: Reached) -> Iterator[float]:
    for peer, value in row.figures.items():
        if peer in _COLOURS:
            yield _goodness(row, value)
    if row.target.limit is not None:
        yield _goodness(row, row.target.limit)


def _goodness(row: Reached, value: float) -> float:
    return value if row.target.more_is_better else 1 / value


def _legend() -> Iterator[str]:
    x = _LEFT
    for peer, name in _NAMES.items():
        yield _dot(x, 20, peer)
        yield _text(x + 10, 24, name)
        x += 34 + 8 * len(name)
    yield _mark(x, 20)
    yield _text(x + 8, 24, "the relay's target")


def _grid(scale: Scale, bottom: int) -> Iterator[str]:
    for tick in scale.ticks:
        x, colour = scale(tick), _COLOURS[NGINX] if tick == 1 else _INK
        yield f'<path d="M{x} {_TOP - 18}V{bottom}" stroke="{colour}" opacity=".4"/>'
        yield _text(x, bottom + 18, f"{tick:g}", anchor="middle")
    middle = (_LEFT + _RIGHT) / 2
    yield _text(middle, bottom + 40, "times as good as nginx; better to the right", anchor="middle")


def _row(scale: Scale, place: int, row: Reached) -> Iterator[str]:
    y = _TOP + place * _ROW
    yield _text(_LEFT - 16, y + 4, row.target.text, anchor="end")
    if row.target.limit is not None:
        yield _mark(scale(_goodness(row, row.target.limit)), y)
    for peer, value in row.figures.items():
        if peer in _COLOURS:
            yield _dot(scale(_goodness(row, value)), y, peer)
    if RELAY in row.figures:
        good = _goodness(row, row.figures[RELAY])
        yield _text(_RIGHT + 12, y + 4, f"{good:.2f}", kind="v")


def _dot(x: float, y: float, peer: str) -> str:
    return f'<circle cx="{x}" cy="{y}" r="{6 if peer == RELAY else 5}" fill="{_COLOURS[peer]}"/>'


def _mark(x: float, y: float) -> str:
    return f'<path d="M{x} {y - 8}v16" stroke="{_COLOURS[RELAY]}" stroke-width="2"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> str:
    classed = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{classed}>{escape(text)}</text>'
