"""Use: what was used and what it cost, by the ledger or since the start; limits and quotas."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from relay.telemetry.ledger.batch import Batches
from relay.telemetry.ledger.file import LedgerFile
from relay.telemetry.ledger.row import Row
from tests.browser.browser import Browser
from tests.browser.calls import LIMITS, SESSION, begin, finish
from tests.harness.configuration import Config, configuration
from tests.harness.ledger import a_row, rows_in, until
from tests.harness.messages import MESSAGES, request
from tests.harness.model_answers import MODEL
from tests.harness.relay import running_relay
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.usefixtures("quiet_console")

BERLIN = ZoneInfo("Europe/Berlin")
HINT = "The relay keeps no ledger"
TOTALS = """
return [...document.querySelectorAll(".totals tbody tr")].map((row) =>
  [...row.children].map((cell) => cell.innerText));
"""
TABLES = "return [...document.querySelectorAll('#use .body table')].map(each => each.innerText)"
METERS = "return [...document.querySelectorAll('meter')].map(each => each.value)"
SIZES = """
return [...document.querySelectorAll(".column-of-day")].map((each) =>
  each.style.getPropertyValue("--height"));
"""
CALL = (MESSAGES, f"x-claude-code-session-id: {SESSION}")


def with_ledger(port: int, folder: Path, *rows: Row, **changes: object) -> Config:
    """Return a configuration with a ledger, in which these calls are."""
    with closing(LedgerFile(str(folder / "ledger.db"))) as file:
        Batches(file.connection).write(list(rows))
    return configuration(port, ledger={"path": "ledger.db"}, timezone="Europe/Berlin", **changes)


def days_ago(days: int, **changes: object) -> Row:
    """Return a call of so many days ago, that cost a dollar."""
    then = datetime.now(BERLIN) - timedelta(days=days)
    used = {"input": 10, "cache_read": 90, "cache_write_5m": 0, "output": 5, "cost": 1_000_000}
    return a_row(**({"time": then.timestamp(), "session_id": "old"} | used | changes))


async def test_without_a_ledger_it_is_since_the_start(
    browser: Browser, upstream: Upstream, tmp_path: Path
) -> None:
    """By model, client and session, with costs where there are prices; and how to have more."""
    async with running_relay(tmp_path, configuration(upstream.port, costs={})) as relay:
        await browser.open(relay.admin_port)
        await finish(await begin(relay, upstream))
        await browser.says("#use", MODEL)
        text = await browser.text("#use")
        (total,) = await browser.run(TOTALS)
        assert total[0].startswith("Since the start, ")
        assert total[1:] == ["1", "44", "16 %", "9", "$0.0205"]
        models, clients, sessions = await browser.run(TABLES)
        assert (MODEL in models, "agent" in clients, SESSION in sessions) == (True, True, True)
        assert HINT in text
        assert "ledger: {path: /var/lib/relay/ledger.db}" in text
        assert not await browser.run("return document.querySelector('.choice').checkVisibility()")


async def test_with_a_ledger_it_is_today_and_fourteen_days(
    browser: Browser, upstream: Upstream, tmp_path: Path
) -> None:
    """In the time zone, which is named; the tables show the one that is chosen."""
    old = [
        days_ago(13, model="old-model"),
        days_ago(3, client="other", model="a-model"),
        days_ago(14),
    ]
    config = with_ledger(upstream.port, tmp_path, *old)
    async with running_relay(tmp_path, config) as relay:
        await finish(await begin(relay, upstream))
        await until(lambda: len(rows_in(tmp_path / "ledger.db")) == len(old) + 1)
        await browser.open(relay.admin_port)
        await browser.says("#use", "Today (Europe/Berlin)")
        assert await browser.run(TOTALS) == [
            ["Today (Europe/Berlin)", "1", "44", "16 %", "9", "$0.0205"],
            ["The last 14 days", "3", "244", "77 %", "19", "$2.02"],
        ]
        text = await browser.text("#use")
        assert HINT not in text
        models, clients, sessions = await browser.run(TABLES)
        assert (MODEL in models, "agent" in clients, SESSION in sessions) == (True, True, True)
        assert "old" not in f"{models}{clients}{sessions}"
        await browser.run("document.querySelectorAll('.choice button')[1].click()")
        models, clients, sessions = await browser.run(TABLES)
        assert models.index("old-model") < models.index(MODEL)
        assert ("other" in clients, "old" in sessions) == (True, True)
        assert "90 %" in models
        sizes = [float(each) for each in await browser.run(SIZES)]
        assert (len(sizes), sizes[0], sizes[10]) == (14, 1, 1)
        assert sizes[-1] == pytest.approx(0.02, abs=0.001)
        last = await browser.run("return document.querySelector('.days li:last-child').title")
        assert last.endswith(": $0.0205, 1 calls, 44 in, 9 out")


async def test_the_span_is_chosen_without_a_mouse_and_stays(
    browser: Browser, upstream: Upstream, tmp_path: Path
) -> None:
    """The button says which one it is; what ends meanwhile changes nothing of that."""
    config = with_ledger(upstream.port, tmp_path, days_ago(0), days_ago(5, model="old-model"))
    async with running_relay(tmp_path, config) as relay:
        await browser.open(relay.admin_port)
        await browser.says("#use", "Today (Europe/Berlin)")
        await browser.run("document.querySelectorAll('.choice button')[1].focus()")
        await browser.press(" ")
        pressed = "return [...document.querySelectorAll('.choice button')].map(b => b.ariaPressed)"
        assert await browser.run(pressed) == ["false", "true"]
        await relay.ask(request("/relay/unknown/x"))
        await browser.says("#lately", "no relay of that name")
        assert "old-model" in await browser.text("#use .body")
        assert await browser.run("return document.activeElement.ariaPressed") == "true"


async def test_what_is_no_word_of_the_apis_is_marked(
    browser: Browser, upstream: Upstream, tmp_path: Path
) -> None:
    """With the marks of `relay usage`, and what they mean."""
    rows = [
        days_ago(0, model="guessed", cost=None, estimate=2_000_000),
        days_ago(0, model="subscribed", grant="claude"),
    ]
    config = with_ledger(upstream.port, tmp_path, *rows)
    async with running_relay(tmp_path, config) as relay:
        await browser.open(relay.admin_port)
        await browser.says("#use", "guessed")
        models = (await browser.run(TABLES))[0]
        assert "$2.00~?" in models
        assert "$1.00*" in models
        legend = await browser.text(".marks")
        assert "~ with $2.00 estimated" in legend
        assert "* notional" in legend


async def test_calls_in_the_ledger_are_no_first_start(
    browser: Browser, upstream: Upstream, tmp_path: Path
) -> None:
    """How an agent is started is said before the first call, in memory and ledger."""
    config = with_ledger(upstream.port, tmp_path, days_ago(30))
    async with running_relay(tmp_path, config) as relay:
        await browser.open(relay.admin_port)
        assert await browser.text("#now") == "Now\n\nNothing is in flight."
        assert "Nothing was used in the last 14 days." in await browser.text("#use")


async def test_an_empty_ledger_is_a_first_start(
    browser: Browser, upstream: Upstream, tmp_path: Path
) -> None:
    """Then nothing was ever used."""
    async with running_relay(tmp_path, with_ledger(upstream.port, tmp_path)) as relay:
        await browser.open(relay.admin_port)
        assert "relay run -- claude" in await browser.text("#now")
        await browser.says("#use", "Nothing has been used yet.")


async def test_a_ledger_that_cannot_be_read_is_wrong(
    browser: Browser, upstream: Upstream, tmp_path: Path
) -> None:
    """It is said in the first line, with the remedy, and Use goes on by memory."""
    (tmp_path / "ledger.db").write_bytes(b"something else")
    config = configuration(upstream.port, ledger={"path": "ledger.db"})
    async with running_relay(tmp_path, config) as relay:
        await browser.open(relay.admin_port)
        await browser.says("#summary", "1 thing is wrong")
        assert "is damaged; move it away, and a new one is made" in await browser.text("#wrong")
        await browser.says("#use .problem", "The ledger is damaged; ")
        await finish(await begin(relay, upstream))
        await browser.says("#use", "Since the start")
        assert HINT not in await browser.text("#use")


async def test_limits_and_quotas_are_bars(
    browser: Browser, upstream: Upstream, tmp_path: Path
) -> None:
    """How much of each is used, and when it begins anew."""
    limits = [{"usd": 1, "per": "day"}, {"at_once": 8}, {"tokens": 46, "per": "session"}]
    client = {"name": "agent", "token": {"file": "token"}, "limits": limits}
    config = configuration(upstream.port, clients=[client])
    async with running_relay(tmp_path, config) as relay:
        await finish(await begin(relay, upstream, head=LIMITS))
        await begin(relay, upstream, session="another")
        await browser.open(relay.admin_port)
        text = await browser.text(".bars")
        for line in (
            "agent, per day",
            "$0.0205 of $1",
            "agent, calls at once",
            "1 of 8",
            f"agent, session {SESSION[:8]}…, tokens",
            "reached: 46 of 46",
            "anthropic: quota 5h",
            "62 % used",
            "resets in 2 h",
            "3.7k of 4k left",
        ):
            assert line in text
        values = await browser.run(METERS)
        assert values == [pytest.approx(0.0205, abs=0.001), 0.125, 1, 0.62, pytest.approx(0.072)]
        assert "the agent's own word" in await browser.text("#use .sessions")
        ends = await browser.run("return document.querySelector('.quota time').dateTime")
        assert 0 < datetime.fromisoformat(ends).timestamp() - time.time() <= 86_400


async def test_at_a_limit_it_is_said(browser: Browser, upstream: Upstream, tmp_path: Path) -> None:
    """The bar is full, and what is refused from then on leads to the entry that says why."""
    client = {"name": "agent", "token": {"file": "token"}, "limits": [{"usd": 0.01, "per": "day"}]}
    async with running_relay(tmp_path, configuration(upstream.port, clients=[client])) as relay:
        await browser.open(relay.admin_port)
        await browser.says(".bars", "$0.00 of $0.01")
        await finish(await begin(relay, upstream))
        await browser.says(".bars .bad", "reached: $0.0205 of $0.01")
        assert (await relay.ask(request(*CALL))).status == 402
        await browser.says("#lately", "over a limit")
        where = await browser.run("return document.querySelector('#lately a').href")
        assert where.endswith("troubleshooting.md#a-limit-is-reached")
