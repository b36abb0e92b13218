"""Who is under which limit, what of it is used, and what of a session is known."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest

from relay.config import load
from relay.telemetry.spending import Account, Spending
from relay.telemetry.spending import sessions as sessions_module
from relay.telemetry.spending import spending as module
from relay.telemetry.spending.sums import Spent

BASE = "grants: [anthropic]\nclaude: {base_url: 'http://localhost:8787'}\n"
AGENT = Account("agent", "agent", "")
NOW = 1_795_000_000.0


def limited(folder: Path, limits: str, of_all: str = "[]") -> Spending:
    """Return what is spent, under these limits of one client and of all, and of a folder's."""
    (folder / "agent.yaml").write_text(
        f"{BASE}limits: {of_all}\nclients:\n"
        f"  - {{name: agent, token: {{env: A}}, limits: {limits}}}\n"
        f"  - {{name: sandbox, folder: ., limits: {limits}}}\n"
    )
    spending = Spending()
    spending.configure(load(folder / "agent.yaml", {}))
    return spending


def test_a_limit_is_reached_at_its_amount(tmp_path: Path) -> None:
    """Not before; zero is from the beginning."""
    spending = limited(tmp_path, "[{usd: 1, per: day}]")
    spending.add(AGENT, NOW, Spent(999_999, 0))
    assert spending.reached_by(AGENT, NOW) is None
    spending.add(AGENT, NOW, Spent(1, 0))
    state = spending.reached_by(AGENT, NOW)
    assert state is not None
    assert (state.limit.name, state.ratio) == ("usd_day", 1.0)
    assert spending.reached_by(AGENT, NOW + 86_400) is None
    stopped = limited(tmp_path, "[{usd: 0, per: month}]").reached_by(AGENT, NOW)
    assert stopped is not None
    assert stopped.ratio == 1.0


def test_a_call_begun_under_other_limits_hides_none_of_a_clients(tmp_path: Path) -> None:
    """One that was in a folder, and has limits of its own since a reload."""
    spending = limited(tmp_path, "[{usd: 1, per: day}]", "[{usd: 100, per: month}]")
    for session in ("", "of both"):
        before, now = Account("agent", "gone", session), Account("agent", "agent", session)
        spending.add(before, NOW, Spent(1, 0))
        spending.add(now, NOW, Spent(1_000_000, 0))
        assert spending.reached_by(now, NOW) is not None


def test_clients_of_a_folder_are_each_under_its_limits(tmp_path: Path) -> None:
    """And one in the metrics."""
    spending = limited(tmp_path, "[{tokens: 10, per: day}]")
    one, two = Account("one", "sandbox", ""), Account("two", "sandbox", "")
    spending.add(one, NOW, Spent(0, 10))
    assert spending.reached_by(one, NOW) is not None
    assert spending.reached_by(two, NOW) is None
    spending.add(two, NOW, Spent(0, 10))
    assert spending.reached == {("sandbox", "tokens_day"): 2, ("agent", "tokens_day"): 0}


def test_a_session_of_any_client_may_be_limited(tmp_path: Path) -> None:
    """By a limit of all."""
    spending = limited(tmp_path, "[]", "[{usd: 1, per: session}]")
    session = AGENT._replace(session="a")
    spending.add(session, NOW, Spent(1_000_000, 0))
    assert spending.reached_by(session, NOW) is not None
    assert spending.reached_by(AGENT, NOW) is None


def test_what_is_corrected_counts_where_it_was(tmp_path: Path) -> None:
    """In the period of the call, whenever more becomes known of it."""
    spending = limited(tmp_path, "[{usd: 1, per: day}]")
    spending.add(AGENT, NOW, Spent(1_000_000, 5))
    spending.correct(AGENT, NOW, Spent(-400_000, -2))
    assert spending.reached_by(AGENT, NOW) is None
    spending.correct(AGENT, NOW, Spent(400_000, 0))
    assert spending.reached_by(AGENT, NOW) is not None
    assert spending.reached_by(AGENT, NOW + 86_400) is None


def test_a_line_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At the share that is wanted and at the line, in each period."""
    spending = limited(tmp_path, "[{usd: 1, per: day, warn: 0.5}]")
    with caplog.at_level(logging.WARNING, "relay"):
        for day in (0, 1):
            for _ in range(12):
                spending.add(AGENT, NOW + day * 86_400, Spent(100_000, 0))
                spending.reached_by(AGENT, NOW + day * 86_400)
    assert caplog.messages == 2 * [
        "the limit of $1.00 per day of client agent: $0.50 of it is used",
        "the limit of $1.00 per day of client agent is reached: its calls are refused",
    ]
    assert spending.reached["agent", "usd_day"] == 2


async def test_a_session_is_read_from_the_ledger_once(tmp_path: Path) -> None:
    """When it calls first, or again after ten thousand others."""
    spending = limited(tmp_path, "[{usd: 1, per: session}]")
    asked = []

    async def read(client: str, session: str, _: float) -> Spent:
        asked.append((client, session))
        return Spent(600_000, 0)

    spending.read_session = read
    session = AGENT._replace(session="a")
    await asyncio.gather(*[spending.complete_session(session) for _ in range(3)])
    spending.add(session, NOW, Spent(399_999, 0))
    assert spending.reached_by(session, NOW) is None
    spending.add(session, NOW, Spent(1, 0))
    await spending.complete_session(session)
    assert spending.reached_by(session, NOW) is not None
    assert set(asked) == {("agent", "a")}


async def test_sessions_beyond_the_last_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that has not called for longest; then it is read again."""
    monkeypatch.setattr(sessions_module, "SESSIONS_KEPT", 2)
    spending = limited(tmp_path, "[{usd: 1, per: session}]")
    asked = []

    async def read(_: str, session: str, __: float) -> Spent:
        asked.append(session)
        return Spent()

    spending.read_session = read
    for name in "abacab":
        await spending.complete_session(AGENT._replace(session=name))
    assert asked == ["a", "b", "c", "b"]


@pytest.mark.parametrize("answers", [True, False])
async def test_a_session_that_cannot_be_read_begins_at_zero(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    answers: bool,
) -> None:
    """With a warning, and after a tenth of a second at most."""
    monkeypatch.setattr(module, "SESSION_SECONDS", 0.01)
    spending = limited(tmp_path, "[{usd: 1, per: session}]")

    async def read(_: str, __: str, ___: float) -> None:
        if not answers:
            await asyncio.Event().wait()

    spending.read_session = read
    await spending.complete_session(AGENT._replace(session="a"))
    (said,) = caplog.messages
    assert said.startswith("limits: what session a of client agent spent before could not be read")
    assert said.endswith("; it begins at zero")
    assert spending.reached_by(AGENT._replace(session="a"), NOW) is None


async def test_what_is_read_late_counts_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, whichever of its calls asked; what it spent meanwhile counts too."""
    monkeypatch.setattr(module, "SESSION_SECONDS", 0.01)
    spending = limited(tmp_path, "[{usd: 1, per: session}]")
    answers = asyncio.Event()

    async def read(_: str, __: str, ___: float) -> Spent:
        await answers.wait()
        return Spent(600_000, 0)

    spending.read_session = read
    session = AGENT._replace(session="a")
    await asyncio.gather(*[spending.complete_session(session) for _ in range(2)])
    spending.add(session, NOW, Spent(300_000, 0))
    answers.set()
    await asyncio.gather(*spending._readings)
    spending.add(session, NOW, Spent(99_999, 0))
    assert spending.reached_by(session, NOW) is None
    spending.add(session, NOW, Spent(1, 0))
    assert spending.reached_by(session, NOW) is not None


def test_calls_at_once_are_of_each_and_of_all(tmp_path: Path) -> None:
    """And those that are over leave their place."""
    spending = limited(tmp_path, "[{at_once: 1}]", "[{at_once: 2}]")
    one, two = Account("one", "sandbox", ""), Account("two", "sandbox", "")
    spending.at_once.enter(one)
    assert spending.at_once.full(one)
    assert not spending.at_once.full(two)
    spending.at_once.enter(two)
    assert spending.at_once.full(AGENT)
    spending.at_once.leave(one)
    assert not spending.at_once.full(AGENT)


@pytest.mark.usefixtures("clock")
def test_pages_show_what_is_used(tmp_path: Path) -> None:
    """Of periods all, of sessions those that are nearest."""
    limits = "[{usd: 1, per: day}, {at_once: 3}, {tokens: 10, per: session}]"
    spending = limited(tmp_path, limits)
    now = time.time()
    for number in range(30):
        spending.add(AGENT._replace(session=f"s{number}"), now, Spent(1_000, number))
    spending.at_once.enter(AGENT)
    shown = spending.describe([("agent", "agent")])
    ends = spending.calendar.end("day", now)
    assert shown[:2] == [
        {"client": "agent", "limit": "usd_day", "most": 1.0, "used": 0.03, "ends": ends},
        {"client": "agent", "limit": "at_once", "most": 3, "used": 1},
    ]
    sessions = [each["session"] for each in shown[2:]]
    assert sessions == [f"s{number}" for number in range(29, 9, -1)]


def test_pages_look_at_the_sessions_that_called_last(tmp_path: Path) -> None:
    """A thousand of ten thousand: else a page that is open would hold calls up each second."""
    spending = limited(tmp_path, "[{tokens: 10, per: session}]")
    now = time.time()
    for number in range(1_500):
        spending.add(AGENT._replace(session=f"s{number}"), now, Spent(0, 1_500 - number))
    shown = [state.session for state in spending.shown([("agent", "agent")])]
    assert shown == [f"s{number}" for number in range(500, 520)]
    assert len(list(spending.states([("agent", "agent")]))) == 1_500
