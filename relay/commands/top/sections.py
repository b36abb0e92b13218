"""The parts of the picture, each from the figures alone, for a console of a given width.

Every piece of text is handed over as `Text`, which is never parsed for markup, and what
others chose goes through `format.plain` first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from relay.commands.top import chains
from relay.commands.top import format as words
from relay.commands.top.figures import (
    Figures,
    RelayFigures,
    cache_read_share,
    limit_left,
    quota_left,
    seconds_until,
    spending_left,
)
from relay.commands.top.page import NOT_KNOWN, Call
from relay.commands.top.tables import add_columns, add_names, new_table, nothing, section

FRAME_ROWS: Final = 2
"""Lines of a list of calls that are not calls: its rule and its column heads."""

_BAR: Final = 14
_SOON_SECONDS: Final = 600
"""A credential that ends sooner, as the alert has it."""
_WIDE_BAR: Final = 30
# Of models, names of 26 are common.
_MODEL: Final = 28


def relays(figures: Figures, *, wide: bool) -> RenderableType:
    """Return a row for each relay: its state, rates and errors."""
    note = f"rates: last {words.duration(figures.rate_seconds)}; the rest: last 100 calls"
    table = new_table()
    add_names(table, "\nrelay")
    if wide:
        add_columns(table, ("\nupstream", "left"), ("\ncredential", "left"))
    else:
        add_columns(table, ("upstream,\ncredential", "left"))
    add_columns(
        table,
        ("calls\n/min", "right"),
        ("first token\np50 / p95", "right"),
        ("tokens/min\nin / out", "right"),
        ("cache\nread", "right"),
        ("\nerrors", "right"),
    )
    for relay in figures.relays:
        table.add_row(*_relay_row(relay, figures.time, wide=wide))
    ways = [_note(relay, chains.line(relay)) for relay in figures.relays if relay.hops]
    failures = [
        _note(relay, _failures(relay)) for relay in figures.relays if set(relay.outcomes) - {"ok"}
    ]
    empty = nothing("no relay is configured")
    return section("Relays", note, Group(table, *ways, *failures) if figures.relays else empty)


def _note(relay: RelayFigures, text: Text) -> RenderableType:
    line = Text.assemble(("└ ", "dim"), f"{_relay_name(relay.name)}: ", text)
    return Padding(line, (0, 1))


def _relay_row(relay: RelayFigures, now: float, *, wide: bool) -> Iterable[Text]:
    yield Text(_relay_name(relay.name), "bold")
    state = [_upstream(relay), _credential(relay, now)]
    yield from state if wide else [Text(", ").join(state)]
    yield Text(words.rate(relay.calls_per_minute))
    yield _pair(words.duration(relay.first_token_p50), words.duration(relay.first_token_p95))
    tokens = relay.tokens_per_minute
    prompt = sum(rate for kind, rate in tokens.items() if kind != "output")
    yield _pair(words.amount(prompt), words.amount(tokens["output"]))
    yield Text(words.percent(relay.cache_read_share))
    yield Text(str(relay.errors), "bold red" if relay.errors else "")


def _relay_name(name: str) -> str:
    return "no relay" if name == NOT_KNOWN else words.plain(name)


def _client(call: Call) -> str:
    return words.UNKNOWN if call.client == NOT_KNOWN else words.plain(call.client)


def _pair(first: str, second: str) -> Text:
    return Text(first if first == second == words.UNKNOWN else f"{first} / {second}")


def _upstream(relay: RelayFigures) -> Text:
    state = relay.state.upstream
    text = words.UNKNOWN if state == "unknown" else words.plain(state)
    return Text(text, {"up": "green", "down": "bold red"}.get(state, "dim"))


def _credential(relay: RelayFigures, now: float) -> Text:
    if relay.state.credential is None:
        return Text(words.UNKNOWN, "dim")
    if relay.state.credential and relay.state.refused:
        return Text("refused", "bold red")
    if not relay.state.credential:
        return Text("missing", "bold red")
    left = seconds_until(relay.state.expires_at, now)
    if left is None:
        return Text("ready", "green")
    shortly = " ".join(words.duration(left).split(" ")[:2])  # of hours and minutes, the hours
    return Text(f"{shortly} left", "green" if left >= _SOON_SECONDS else "yellow")


def _failures(relay: RelayFigures) -> Text:
    return Text(", ").join(
        Text(f"{count} {words.outcome(outcome)}", _outcome_style(outcome))
        for outcome, count in relay.outcomes.items()
        if outcome != "ok"
    )


def _outcome_style(outcome: str | None) -> str:
    return {"ok": "green", "client_abort": "yellow", None: "dim"}.get(outcome, "red")


def quotas(figures: Figures, *, wide: bool) -> RenderableType:
    """Return what is left of each window and rate limit, and when it resets."""
    table = new_table()
    table.show_header = False
    add_columns(table, ("", "left"), ("", "left"), ("", "left"), ("", "right"), ("", "left"))
    for relay in figures.relays:
        name = _relay_name(relay.name)
        for allowance in _allowances(relay, figures.time):
            table.add_row(Text(name, "bold"), *_allowance_row(*allowance, wide=wide))
            name = ""  # once is enough
    for limit in figures.limits:
        left, reset = spending_left(limit), seconds_until(limit.ends, figures.time)
        what = words.spending_limit(limit.limit, limit.most, limit.session)
        row = _allowance_row(what, left, words.percent(left), reset, wide=wide)
        table.add_row(Text(words.plain(limit.client), "bold"), *row)
    empty = nothing("the upstreams have stated none so far")
    return section("Quota left", "", table if table.row_count else empty)


def _allowances(
    relay: RelayFigures, now: float
) -> Iterable[tuple[str, float | None, str, float | None]]:
    """Yield what is limited, the share left of it, that in words, and seconds to its reset."""
    for quota in relay.state.quotas:
        left = quota_left(quota)
        window = f"{words.plain(quota.window)} window"
        yield window, left, words.percent(left), seconds_until(quota.reset, now)
    for limit in relay.state.limits:
        text = f"{words.amount(limit.remaining)} of {words.amount(limit.limit)}"
        kind = words.plain(limit.kind).replace("_", " ")
        yield kind, limit_left(limit), text, seconds_until(limit.reset, now)


def _allowance_row(
    what: str, left: float | None, text: str, reset: float | None, *, wide: bool
) -> Iterable[Text]:
    style = _left_style(left)
    yield Text(what)
    yield Text() if left is None else _bar(left, _WIDE_BAR if wide else _BAR, style)
    yield Text(text, style)
    yield Text(words.reset(reset))


def _left_style(left: float | None) -> str:
    if left is None:
        return "dim"
    return "green" if left > 0.25 else "yellow" if left > 0.1 else "bold red"


def _bar(share: float, length: int, style: str) -> Text:
    full = round(share * length)
    return Text.assemble(("█" * full, style), ("░" * (length - full), "dim"))


def in_flight(figures: Figures, rows: int, *, wide: bool) -> RenderableType:
    """Return the calls in flight, so many of them."""
    hidden = len(figures.in_flight) - rows
    note = f"the {rows} oldest; {hidden} more" if hidden > 0 else ""
    table = new_table(expand=True)
    add_columns(table, ("age", "right"))
    add_names(table, "relay", "client")
    _add_subject(table, wide=wide)
    shown = figures.in_flight[:rows]
    with_hops = chains.add_column(table, shown)
    add_columns(table, ("first token", "right"))
    _add_token_columns(table, wide=wide)
    for call in shown:
        table.add_row(
            Text(words.duration(call.age)),
            Text(_relay_name(call.relay)),
            Text(_client(call)),
            *_subject(call, wide=wide),
            *([chains.cell(call, wide=wide)] if with_hops else []),
            _progress(call),
            *_token_cells(call, wide=wide),
        )
    return section("In flight", note, table if figures.in_flight else nothing("nothing"))


def _progress(call: Call) -> Text:
    if call.first_token is not None:
        return Text(words.duration(call.first_token))
    return Text("waiting" if call.first_byte is None else "answering", "dim")


def recent(figures: Figures, rows: int, *, wide: bool) -> RenderableType:
    """Return the last calls that finished, so many of them."""
    table = new_table(expand=True)
    add_columns(table, ("ended", "right"))
    add_names(table, "relay", *(["client"] if wide else []))
    add_columns(table, ("result", "left"))
    _add_subject(table, wide=wide)
    shown = figures.recent[:rows]
    with_hops = chains.add_column(table, shown)
    add_columns(table, ("took", "right"))
    _add_token_columns(table, wide=wide)
    for call in shown:
        table.add_row(
            _ended(call, figures.time),
            Text(_relay_name(call.relay)),
            *([Text(_client(call))] if wide else []),
            _result(call, wide=wide),
            *_subject(call, wide=wide),
            *([chains.cell(call, wide=wide)] if with_hops else []),
            Text(words.duration(call.duration)),
            *_token_cells(call, wide=wide),
        )
    return section("Last calls", "", table if figures.recent else nothing("none so far"))


def _ended(call: Call, now: float) -> Text:
    if call.finished is None:
        return Text(words.UNKNOWN)
    return Text(words.ago(now - call.finished), "dim")


def _result(call: Call, *, wide: bool) -> Text:
    status = "" if call.status is None else f"{call.status} "
    reason = f": {words.plain(call.reason)}" if wide and call.reason is not None else ""
    return Text(f"{status}{words.outcome(call.outcome)}{reason}", _outcome_style(call.outcome))


def _add_subject(table: Table, *, wide: bool) -> None:
    if wide:
        table.add_column(Text("model"), no_wrap=True, overflow="ellipsis", max_width=_MODEL)
    head = "path" if wide else "model or path"
    table.add_column(Text(head), no_wrap=True, overflow="ellipsis", ratio=1)


def _subject(call: Call, *, wide: bool) -> Iterable[Text]:
    # POST, the usual method, is not shown.
    method = "" if call.method in (None, "POST") else f"{words.plain(call.method)} "
    path = f"{method}{words.plain(call.path)}"
    if wide:
        yield from (Text(words.plain(call.model)), Text(path))
    else:
        yield Text(path if call.model is None else words.plain(call.model))


def _add_token_columns(table: Table, *, wide: bool) -> None:
    add_columns(table, ("in", "right"))
    if wide:
        add_columns(table, ("cached", "right"))
    add_columns(table, ("out", "right"))


def _token_cells(call: Call, *, wide: bool) -> Iterable[Text]:
    yield Text(words.amount(call.prompt_tokens))
    if wide:
        yield Text(words.percent(cache_read_share(call)))
    yield Text(words.amount(call.tokens["output"] if call.tokens else None))
