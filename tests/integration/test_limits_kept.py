"""A line holds: under many agents at once, and whatever happens to relay, file and clock.

A message costs a fixed amount, so what may be spent is so many messages, and no more.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay.cli import main
from relay.telemetry.ledger import writer as writer_module
from tests.harness.clock import WallClock
from tests.harness.configuration import Config, both_relays
from tests.harness.ledger import rows_in, until
from tests.harness.limits import (
    DOLLARS,
    SESSION,
    TOKENS,
    amounts,
    answer_in_background,
    limited,
    refused,
)
from tests.harness.messages import MESSAGES, request
from tests.harness.model_answers import MESSAGE_JSON
from tests.harness.recordings import recorded_answer
from tests.harness.relay import LocalRelay, Relay, running_relay, update_configuration
from tests.harness.secrets import OTHER_TOKEN
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.usefixtures("clock")

AGENTS = 32
HALF_A_DOLLAR = {"usd": 0.5, "per": "day"}
MOST = math.ceil(0.5 / DOLLARS)
"""Messages until half a dollar is spent."""
LEDGER = {"path": "ledger.db"}
MESSAGE = recorded_answer(MESSAGE_JSON, "identity")


@pytest.fixture
def messages(upstream: Upstream) -> Upstream:
    """An API that answers each call with a message."""
    upstream.answer_with(MESSAGE)
    return upstream


async def call(relay: Relay, session: str = "a") -> int:
    """Make a call; return the status of its answer."""
    return (await relay.ask(request(MESSAGES, SESSION % session))).status


async def calls(relay: Relay, count: int) -> int:
    """Make so many calls, one after another; return how many were answered."""
    return [await call(relay) for _ in range(count)].count(200)


async def reload(relay: LocalRelay, config: Config) -> None:
    """Put another configuration in force; the log begins with that."""
    relay.log.text.clear()
    update_configuration(relay, config)
    relay.app.reload()
    await relay.log.says("^reloaded ")


# Many at once


async def test_thirty_two_agents_at_a_line(messages: Upstream, tmp_path: Path) -> None:
    """What is over it was in flight when it was reached; who calls after that is refused."""
    answered, in_flight, in_flight_at_line = 0, 0, 0

    async def keep_calling(relay: Relay) -> None:
        nonlocal answered, in_flight, in_flight_at_line
        agent = await relay.agent()
        while True:
            is_beyond = answered >= MOST
            in_flight += 1
            status = (await agent.ask(request())).status
            in_flight -= 1
            if status == 402:
                return
            assert status == 200
            assert not is_beyond
            answered += 1
            if answered == MOST:
                in_flight_at_line = in_flight

    config = limited(messages.port, HALF_A_DOLLAR, ledger=LEDGER)
    async with running_relay(tmp_path, config) as relay:
        await asyncio.gather(*[keep_calling(relay) for _ in range(AGENTS)])
        assert MOST <= answered <= MOST + in_flight_at_line
        used = await amounts(relay)
    assert used["agent", "usd_day"] == pytest.approx(answered * DOLLARS)
    rows = rows_in(tmp_path / "ledger.db")
    assert sum(row["cost"] or 0 for row in rows) == round(answered * DOLLARS * 1e6)
    assert sum(row["calls"] for row in rows if row["reason"] == "limit") == AGENTS


async def test_what_is_in_flight_at_the_line_ends_well(upstream: Upstream, tmp_path: Path) -> None:
    """However many there are; the call after the one that reached it is refused."""
    async with running_relay(tmp_path, limited(upstream.port, HALF_A_DOLLAR)) as relay:
        agents = [await relay.agent() for _ in range(AGENTS)]
        callers = []
        for agent in agents:
            await agent.send(request())
            callers.append((await upstream.called())[0])
        for number, (agent, caller) in enumerate(zip(agents, callers, strict=True), 1):
            await caller.send(MESSAGE)
            assert (await agent.answer()).complete
            if number < MOST:
                assert (await amounts(relay))["agent", "usd_day"] < 0.5
            else:
                assert await call(relay) == 402


# Restarts and reloads


async def test_restarts_and_reloads_forget_and_double_nothing(
    messages: Upstream, tmp_path: Path
) -> None:
    """Neither of the day nor of a session, which is read anew."""
    limits = [HALF_A_DOLLAR, {"usd": 9, "per": "session"}, {"tokens": 10**9, "per": "week"}]
    config = limited(messages.port, *limits, ledger=LEDGER)
    answered = 0
    for life in range(1, 7):
        async with running_relay(tmp_path, config) as relay:
            answered += await calls(relay, 3)
            await reload(relay, config | {"timeouts": {"idle": 300 + life}})
            answered += await calls(relay, 2)
            assert answered == min(5 * life, MOST)
            used = await amounts(relay)
        assert used == {
            ("agent", "usd_day"): pytest.approx(answered * DOLLARS),
            ("agent", "usd_session a"): pytest.approx(answered * DOLLARS),
            ("agent", "tokens_week"): answered * TOKENS,
        }
    assert answered == MOST


async def check_all(relay: Relay, count: int) -> None:
    """See that so many calls are what is used of each limit."""
    for limit, amount in (await amounts(relay)).items():
        assert amount == pytest.approx(count * DOLLARS), limit


def with_session_limit(config: Config, _: Path) -> Config:
    """Limit sessions, too."""
    client = config["clients"][0]
    return config | {
        "clients": [client | {"limits": [*client["limits"], {"usd": 9, "per": "session"}]}]
    }


def moved(config: Config, folder: Path) -> Config:
    """Move the ledger away, and name where it is."""
    for suffix in ("", "-wal", "-shm", "-lock"):
        (folder / f"ledger.db{suffix}").rename(folder / f"moved.db{suffix}")
    return config | {"ledger": {"path": "moved.db"}}


def elsewhere(config: Config, _: Path) -> Config:
    """Begin another ledger."""
    return config | {"ledger": {"path": "other.db"}}


def without_ledger(config: Config, _: Path) -> Config:
    """Note nothing more."""
    return config | {"ledger": None}


def in_another_zone(config: Config, _: Path) -> Config:
    """Cut days as they are in Tokyo: it is the same day there."""
    return config | {"timezone": "Asia/Tokyo"}


@pytest.mark.parametrize(
    "change", [with_session_limit, moved, elsewhere, without_ledger, in_another_zone]
)
async def test_what_a_reload_changes_leaves_what_is_spent(
    messages: Upstream, tmp_path: Path, change: Callable[[Config, Path], Config]
) -> None:
    """There and back again, with calls in each."""
    config = limited(messages.port, {"usd": 100 * DOLLARS, "per": "day"}, ledger=LEDGER)
    path = tmp_path / "ledger.db"
    async with running_relay(tmp_path, config) as relay:
        await calls(relay, 2)
        await until(lambda: path.exists() and len(rows_in(path)) == 2)
        await reload(relay, changed := change(config, tmp_path))
        await calls(relay, 2)
        await check_all(relay, 4)
        await reload(relay, config)
        await calls(relay, 1)
        await reload(relay, changed)
        await calls(relay, 1)
        await check_all(relay, 6)


async def test_a_limit_that_a_reload_brings_knows_what_was_spent(
    messages: Upstream, tmp_path: Path
) -> None:
    """Also by a relay before it, that had none either: the first call is refused."""
    config = limited(messages.port, ledger=LEDGER)
    async with running_relay(tmp_path, config) as relay:
        assert await calls(relay, 1) == 1
    async with running_relay(tmp_path, config) as relay:
        await until(lambda: relay.app._ledger._writer.found is not None)  # type: ignore[union-attr]  # there is one
        await reload(relay, limited(messages.port, {"usd": DOLLARS, "per": "day"}, ledger=LEDGER))
        assert await call(relay) == 402


async def test_what_is_forgotten_counts_until_the_relay_is_begun_anew(
    messages: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever deletes a person's rows is told so."""
    config = limited(messages.port, {"usd": DOLLARS, "per": "day"}, ledger=LEDGER)
    path = tmp_path / "ledger.db"
    for life in "ab":
        async with running_relay(tmp_path, config) as relay:
            assert await call(relay, life) == 200
            await until(lambda: path.exists() and len(rows_in(path)) == 1)
            assert main(["usage", "--forget", "client:agent", "--ledger", str(path)]) == 0
            assert "limits of a relay that runs go on counting" in capsys.readouterr().out
            assert rows_in(path) == []
            assert await call(relay, life) == 402
            relay.app._recorder.flush()
        assert main(["usage", "--forget", "client:agent", "--ledger", str(path)]) == 0


async def test_dollars_of_a_subscription_count(messages: Upstream, tmp_path: Path) -> None:
    """Notional as they are."""
    config = limited(
        messages.port,
        {"usd": DOLLARS, "per": "day"},
        grants=[{"name": "claude", "source": {"file": "oauth"}}],
        ledger=LEDGER,
    )
    async with running_relay(tmp_path, config) as relay:
        assert [await call(relay), await call(relay)] == [200, 402]
    (row, _) = rows_in(tmp_path / "ledger.db")
    assert (row["grant"], row["cost"]) == ("claude", round(DOLLARS * 1e6))


async def test_a_zone_that_changes_is_said_and_a_restart_cuts_days_anew(
    messages: Upstream, tmp_path: Path, clock: WallClock
) -> None:
    """It is the next day already in Tokyo, to which the call of an hour ago belongs."""
    config = limited(messages.port, {"usd": DOLLARS, "per": "day"}, ledger=LEDGER)
    clock.set("2026-11-26 20:00:00")
    async with running_relay(tmp_path, config) as relay:
        assert await calls(relay, 1) == 1
        clock.set("2026-11-26 21:00:00")
        await reload(relay, config := config | {"timezone": "Asia/Tokyo"})
        await relay.log.says("^timezone changed: what limits have counted stays in the days of UTC")
    async with running_relay(tmp_path, config) as relay:
        assert await call(relay) == 402


@asynccontextmanager
async def two_relays(folder: Path, config: Config) -> AsyncIterator[tuple[LocalRelay, LocalRelay]]:
    """Run two relays on one ledger; leave the first to be stopped by the test."""
    other = folder / "other"
    other.mkdir()
    async with running_relay(folder, config) as first, running_relay(other, config) as second:
        yield first, second


async def test_a_relay_that_takes_a_ledger_over_knows_what_was_spent(
    messages: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the one before it, while both ran, and once."""
    monkeypatch.setattr(writer_module, "_RETRY_SECONDS", 0.1)
    ledger = {"path": str(tmp_path / "ledger.db")}
    limits = [{"usd": 100 * DOLLARS, "per": "day"}, {"usd": 100 * DOLLARS, "per": "session"}]
    config = limited(messages.port, *limits, ledger=ledger)
    async with two_relays(tmp_path, config) as (first, second):
        await second.log.says("ledger .*: is kept by another relay; .*; limits begin at zero$")
        await calls(first, 3)
        await calls(second, 2)
        first.app.stop()
        await second.log.says("is written again; 0 calls are missing in it")
        assert (await amounts(second))["agent", "usd_day"] == pytest.approx(5 * DOLLARS)
        assert len(rows_in(tmp_path / "ledger.db")) == 5


# Midnight


async def test_a_day_ends_at_midnight_and_none_is_forgotten(
    messages: Upstream, tmp_path: Path, clock: WallClock
) -> None:
    """Whichever way the clock goes, and across restarts: each day has its own sum."""
    limits = [{"usd": 3 * DOLLARS, "per": "day"}, {"usd": 100 * DOLLARS, "per": "week"}]
    config = limited(messages.port, *limits, ledger=LEDGER, timezone="Europe/Berlin")

    async def check(time: str, spent: int, asked: int, answered: int) -> None:
        clock.set(time)
        assert (await amounts(relay))["agent", "usd_day"] == pytest.approx(spent * DOLLARS)
        assert await calls(relay, asked) == answered
        await amounts(relay)  # so that all is counted before the clock jumps

    before, after = "2026-11-26 22:59:50", "2026-11-26 23:00:10"
    async with running_relay(tmp_path, config) as relay:
        await check(before, 0, 5, 3)
        await check(after, 0, 1, 1)
        await check(before, 3, 1, 0)
        await check(after, 1, 5, 2)
        assert (await amounts(relay))["agent", "usd_week"] == pytest.approx(6 * DOLLARS)
    for time in (before, after):
        clock.set(time)
        async with running_relay(tmp_path, config) as relay:
            assert await call(relay) == 402
            used = await amounts(relay)
            assert used["agent", "usd_day"] == pytest.approx(3 * DOLLARS)
            assert used["agent", "usd_week"] == pytest.approx(6 * DOLLARS)


async def test_a_call_is_of_the_day_in_which_it_ends(
    upstream: Upstream, tmp_path: Path, clock: WallClock
) -> None:
    """It may begin before the line of its first day, and count for the next."""
    clock.set("2026-11-26 23:59:50")
    config = limited(upstream.port, {"usd": DOLLARS, "per": "day"}, ledger=LEDGER)
    async with running_relay(tmp_path, config) as relay:
        agent = await relay.agent()
        await agent.send(request())
        caller, _ = await upstream.called()
        clock.set("2026-11-27 00:00:10")
        await caller.send(MESSAGE)
        assert (await agent.answer()).status == 200
        assert await call(relay) == 402
        clock.set("2026-11-26 23:59:55")
        assert (await amounts(relay))["agent", "usd_day"] == 0
    (row, _) = rows_in(tmp_path / "ledger.db")
    assert row["time"] == pytest.approx(1_795_737_610, abs=5)


# Who pays


async def test_a_background_response_is_billed_to_who_made_it(
    upstream: Upstream, tmp_path: Path
) -> None:
    """Whoever fetches it, in whatever session."""
    answer_in_background(upstream)
    limits = [{"tokens": 3_000, "per": "day"}, {"tokens": 3_000, "per": "session"}]
    config = limited(upstream.port, *limits, ledger=LEDGER, **both_relays(upstream.port))
    config["clients"].append({"name": "other", "token": {"file": "other_token"}})
    path = "/relay/openai/v1/responses"
    async with running_relay(tmp_path, config) as relay:
        assert (await relay.ask(request(path, SESSION % "a"))).status == 200
        fetch = request(f"{path}/resp_1", method="GET", body=None, token=OTHER_TOKEN)
        assert (await relay.ask(fetch)).status == 200
        used = await amounts(relay)
        assert used["agent", "tokens_day"] == used["agent", "tokens_session a"] == 3000
        refused(await relay.ask(request(path)))
