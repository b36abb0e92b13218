"""What is let pass by a mark would be let pass by a look at every limit."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.config import load
from relay.telemetry.spending import Account, Spending
from relay.telemetry.spending.sums import Spent
from tests.unit.telemetry.spending.test_spending import NOW, limited

OWN = "[{usd: 0.00002, per: day}, {tokens: 30, per: hour}, {usd: 0.00001, per: session}]"
OF_ALL = (
    "[{tokens: 80, per: month}, {usd: 0.00003, per: week, warn: 0.5}, {tokens: 25, per: session}]"
)
ACCOUNTS = [
    Account("agent", "agent", ""),
    Account("agent", "agent", "a"),
    Account("one", "sandbox", "a"),
    Account("two", "sandbox", "b"),
]
AMOUNTS = st.builds(Spent, st.integers(0, 8), st.integers(0, 15))
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "restore", "correct", "wait", "configure"]),
        st.sampled_from(ACCOUNTS),
        AMOUNTS,
        st.sampled_from([0.0, 600.0, 3_000.0, 90_000.0]),
    ),
    max_size=40,
)


def is_reached(spending: Spending, account: Account) -> bool:
    """Look at every limit that an account is under."""
    clients = [(each.client, each.label) for each in ACCOUNTS]
    return any(
        state.used >= state.limit.amount
        for state in spending.states(clients)
        if (state.owner, state.client) in ((account.client, account.label), ("all", "all"))
        or (state.owner == account.client and state.client == "all")
        if state.session in (None, account.session)
    )


@given(steps=STEPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_marks_hide_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[str, Account, Spent, float]]
) -> None:
    """Whatever is counted, corrected and restored, and whenever."""
    now = NOW
    monkeypatch.setattr("time.time", lambda: now)
    spending = limited(tmp_path, OWN, OF_ALL)
    for what, account, spent, seconds in steps:
        match what:
            case "add":
                spending.add(account, now, spent)
            case "restore":
                spending.restore(account.client, now - seconds, spent)
            case "correct":
                spending.correct(account, now - seconds, Spent(-spent.micro, -spent.tokens))
            case "wait":
                now += seconds
            case _:
                spending.configure(load(tmp_path / "agent.yaml", {}))
        for each in ACCOUNTS:
            assert (spending.reached_by(each, now) is not None) == is_reached(spending, each)
