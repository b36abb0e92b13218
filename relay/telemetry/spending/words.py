"""Limits in words, for the log and for whoever is refused: amounts, periods and their ends."""

from __future__ import annotations

from datetime import datetime, tzinfo

from relay.config import LimitSettings
from relay.config.limits import ALL
from relay.telemetry.spending.state import LimitState


def amount_of(limit: LimitSettings, amount: float) -> str:
    """Return so much of a limit's kind."""
    if limit.kind == "usd":
        return money(amount)
    return f"{amount:,.0f} {'tokens' if limit.kind == 'tokens' else 'calls at once'}"


def money(dollars: float) -> str:
    """Return dollars to the cent; less than one, as far as it goes."""
    if dollars >= 1 or dollars == round(dollars, 2):
        return f"${dollars:,.2f}"
    return f"${dollars:.6f}".rstrip("0")


def per_period(limit: LimitSettings) -> str:
    """Return a limit's amount and period."""
    amount = amount_of(limit, limit.amount)
    return amount if limit.per is None else f"{amount} per {limit.per}"


def spoken(state: LimitState) -> str:
    """Return which limit it is, and whose."""
    whose = "all clients" if state.owner == ALL else f"client {state.owner}"
    session = f", session {state.session or 'without a name'}" if state.session is not None else ""
    return f"the limit of {per_period(state.limit)} of {whose}{session}"


def refusal(state: LimitState, zone: tzinfo) -> str:
    """Return what whoever is refused is told: what was reached, and when it ends."""
    whose = " for all clients together" if state.owner == ALL else ""
    line = f"The limit of {per_period(state.limit)}{whose} is reached"
    if state.ends is None:
        if not state.session:
            return f"{line}. It holds for all calls together that name no session."
        return f"{line}. It holds for this session: a new one begins at zero."
    end = datetime.fromtimestamp(state.ends, zone)
    return f"{line}. It ends at {end:%Y-%m-%d %H:%M} ({zone})."
