"""The LLM proxies on the way, in the picture: how they stand, and what a call did at each."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from relay.commands.top import format as words
from relay.commands.top.figures import HopFigures, RelayFigures
from relay.commands.top.page import Call, Hop

# Of one hop, `headroom 0.03 s` is common.
_WIDTH = 28
_STATES = {"up": "green", "down": "bold red"}


def line(relay: RelayFigures) -> Text:
    """Return a relay's way to the API, hop by hop."""
    way: list[str | Text | tuple[str, str]] = []
    for hop in relay.hops:
        way += [("→ ", "dim"), f"{words.plain(hop.name)} ", _state(hop), " "]
    return Text.assemble(*way, ("→ ", "dim"), "API")


def _state(hop: HopFigures) -> Text:
    """Return how a hop stands, and what it adds to a call."""
    reach = words.UNKNOWN if hop.state == "unknown" else words.plain(hop.state)
    text = Text(reach, _STATES.get(hop.state, "dim"))
    if hop.bypassed:
        text = Text("went past the relay", "bold red")
    return text if hop.overhead_p50 is None else text + f", {words.duration(hop.overhead_p50)}"


def add_column(table: Table, calls: Sequence[Call]) -> bool:
    """Add a column for what calls did at hops, if any has met one; return whether it is there."""
    needed = any(call.hops for call in calls)
    if needed:
        table.add_column(Text("hops"), no_wrap=True, overflow="ellipsis", max_width=_WIDTH)
    return needed


def cell(call: Call, *, wide: bool) -> Text:
    """Return what a call did at its hops; without their names where there is no room."""
    text = Text(", ").join(_hop(hop, named=wide) for hop in call.hops or ())
    return text or Text(words.UNKNOWN)


def _hop(hop: Hop, *, named: bool) -> Text:
    """Return the time a hop took, or what else became of the call there."""
    passed = hop.outcome in (None, "passed")
    did = words.duration(hop.seconds) if passed else words.outcome(hop.outcome)
    style = "" if passed or hop.outcome == "answered" else "red"
    return Text(f"{words.plain(hop.name)} {did}" if named else did, style)
