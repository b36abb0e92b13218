"""What ``/events`` tells of use and limits: by the ledger, which is read seldom and by a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relay.admin import use
from relay.admin.use import PageUse, Report
from relay.telemetry.ledger.fortnight import Fortnight
from tests.harness.configuration import Config, configuration
from tests.harness.event_stream import Reader, open_stream
from tests.harness.ledger import rows_in, until
from tests.harness.messages import request
from tests.harness.model_answers import MESSAGE_JSON, MODEL
from tests.harness.recordings import recorded_answer
from tests.harness.relay import LocalRelay, events_of, running_relay, update_configuration
from tests.harness.upstream import Upstream


def with_ledger(port: int, **changes: object) -> Config:
    """Return a configuration with a ledger beside it."""
    return configuration(port, ledger={"path": "ledger.db"}, timezone="Europe/Berlin", **changes)


@pytest.fixture
def api(upstream: Upstream) -> Upstream:
    """An API that answers each call with a message."""
    upstream.answer_with(recorded_answer(MESSAGE_JSON))
    return upstream


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The threads that have read a ledger, one for each time."""
    found: list[threading.Thread] = []
    read = Fortnight.read

    def noting(self: Fortnight, now: float) -> dict[str, object]:
        found.append(threading.current_thread())
        return read(self, now)

    monkeypatch.setattr(Fortnight, "read", noting)
    return found


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have events come one upon the other, and the ledger read for each."""
    monkeypatch.setattr("relay.admin.events.EVENT_SECONDS", 0.01)
    monkeypatch.setattr("relay.admin.overview._MOMENT_SECONDS", 0)
    monkeypatch.setattr(use, "READ_SECONDS", 0.0)


async def told(reader: Reader, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Return the first use that is told of which this holds."""
    while not ((found := (await reader.event()).get("use")) and holds(found)):
        pass
    return dict(found)


async def a_call_in_the_ledger(relay: LocalRelay, calls: int = 1) -> None:
    """Make a call, and wait for its row."""
    await relay.ask(request(*lines_of("s-1")))
    await until(lambda: len(rows_in(relay.folder / "ledger.db")) == calls)


def lines_of(session: str) -> tuple[str, str]:
    """Return where a call goes, and what it says of its session."""
    return "/relay/anthropic/v1/messages", f"x-claude-code-session-id: {session}"


async def test_use_is_the_ledgers_where_there_is_one(api: Upstream, tmp_path: Path) -> None:
    """Also what was there before this process; the first event has it."""
    async with running_relay(tmp_path, with_ledger(api.port)) as relay:
        await a_call_in_the_ledger(relay)
    async with running_relay(tmp_path, with_ledger(api.port)) as relay:
        found = (await (await open_stream(relay)).event())["use"]
        assert (found["source"], found["timezone"]) == ("ledger", "Europe/Berlin")
        for span in found["spans"]:
            assert span["total"]["calls"] == 1
            assert span["models"][0]["name"] == MODEL
            assert span["sessions"][0]["name"] == "s-1"
            assert span["clients"][0]["cost_usd"] == pytest.approx(0.0205, abs=0.0001)
        assert [each["calls"] for each in found["days"]] == [0] * 13 + [1]


async def test_the_ledger_is_read_by_a_thread_and_only_while_a_page_is_open(
    api: Upstream, tmp_path: Path, reads: list[threading.Thread], quick: None
) -> None:
    """However many look on, each time once for all of them."""
    async with running_relay(tmp_path, with_ledger(api.port)) as relay:
        await a_call_in_the_ledger(relay)
        assert reads == []
        first, second = await open_stream(relay), await open_stream(relay)
        for reader in (first, second):
            await told(reader, lambda use: use["spans"][:1] and not use["is_unused"])
        await a_call_in_the_ledger(relay, 2)
        for reader in (first, second):
            await told(reader, lambda use: use["spans"][0]["total"]["calls"] == 2)
        assert threading.current_thread() not in reads
        first.agent.leave()
        second.agent.leave()
        while events_of(relay)._readers:
            await relay.page("/healthz")
        await until(lambda: not any(each.is_alive() for each in reads))
        before = len(reads)
        await a_call_in_the_ledger(relay, 3)
        assert len(reads) == before


async def test_it_is_read_every_ten_seconds_at_most(
    api: Upstream,
    tmp_path: Path,
    reads: list[threading.Thread],
    monkeypatch: pytest.MonkeyPatch,
    quick: None,
) -> None:
    """Whatever happens meanwhile, and whoever begins to look."""
    monkeypatch.setattr(use, "READ_SECONDS", 10.0)
    async with running_relay(tmp_path, with_ledger(api.port)) as relay:
        reader = await open_stream(relay)
        await reader.event()
        await a_call_in_the_ledger(relay)
        await (await open_stream(relay)).event()
        for _ in range(20):
            await reader.event()
        assert len(reads) == 1
        (ahead, loop) = (11.0, asyncio.get_running_loop())
        now = loop.time
        monkeypatch.setattr(loop, "time", lambda: now() + ahead)
        await told(reader, lambda use: use["spans"][0]["total"]["calls"] == 1)
        assert len(reads) == 2


async def test_a_read_that_takes_long_holds_nobody_up(
    api: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    """Events and calls go on; the page says that it is being read."""
    may_go_on = threading.Event()
    read = Fortnight.read

    def slowly(self: Fortnight, now: float) -> dict[str, object]:
        may_go_on.wait()
        return read(self, now)

    monkeypatch.setattr(Fortnight, "read", slowly)
    monkeypatch.setattr(use, "_WAIT_SECONDS", 0.01)
    async with running_relay(tmp_path, with_ledger(api.port)) as relay:
        reader = await open_stream(relay)
        first = (await reader.event())["use"]
        assert (first["source"], first["spans"]) == ("ledger", [])
        await a_call_in_the_ledger(relay)
        await reader.event()
        may_go_on.set()
        await told(reader, lambda use: use["spans"])


async def test_a_ledger_that_cannot_be_read_is_said(
    api: Upstream, tmp_path: Path, quick: None
) -> None:
    """Then it is what this process knows, and why; and the ledger's again once it can be read."""
    path = tmp_path / "ledger.db"
    path.write_bytes(b"something else")
    async with running_relay(tmp_path, with_ledger(api.port)) as relay:
        await relay.ask(request(*lines_of("s-1")))
        reader = await open_stream(relay)
        found = await told(reader, lambda use: use.get("problem") and not use["is_unused"])
        assert (found["source"], found["spans"][0]["name"]) == ("memory", "start")
        assert "damaged" in found["problem"]
        event = await reader.event()
        (wrong,) = [each for each in event["wrong"] if each["what"] == f"ledger {path}"]
        assert wrong["text"] == "it is damaged; move it away, and a new one is made"
        _, report = await relay.readiness()
        assert f"{wrong['what']}: {wrong['text']}" in report["problems"]
        path.unlink()
        await told(reader, lambda use: use["source"] == "ledger")
        while (await reader.event())["wrong"]:
            pass


async def test_a_reload_takes_another_ledger_or_none(
    api: Upstream, tmp_path: Path, quick: None
) -> None:
    """What the page says is by the configuration in force."""
    async with running_relay(tmp_path, with_ledger(api.port)) as relay:
        await a_call_in_the_ledger(relay)
        reader = await open_stream(relay)
        await told(reader, lambda use: use["source"] == "ledger" and not use["is_unused"])
        update_configuration(relay, with_ledger(api.port) | {"ledger": {"path": "other.db"}})
        relay.app.reload()
        await told(reader, lambda use: use["source"] == "ledger" and use["is_unused"])
        update_configuration(relay, configuration(api.port))
        relay.app.reload()
        found = await told(reader, lambda use: use["source"] == "memory")
        assert found["spans"][0]["total"]["calls"] == 1


async def test_what_a_read_finds_of_a_file_that_was_left_is_not_told(
    relay: LocalRelay, tmp_path: Path
) -> None:
    """A reload may come while a thread reads."""
    looks = PageUse(events_of(relay)._overview._source)
    reading: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
    reading.set_result({"source": "ledger of before"})
    before = looks.version
    looks._take(reading)
    assert looks.version == before
    assert looks.report()["source"] == "memory"


async def test_limits_are_told_with_what_is_left(
    api: Upstream, tmp_path: Path, quick: None
) -> None:
    """In the order of the configuration, those of sessions last."""
    limits = [{"usd": 0.01, "per": "day"}, {"tokens": 100, "per": "session"}, {"at_once": 8}]
    client = {"name": "agent", "token": {"file": "token"}, "limits": limits}
    config = configuration(api.port, clients=[client], limits=[{"usd": 5, "per": "month"}])
    async with running_relay(tmp_path, config) as relay:
        await relay.ask(request(*lines_of("s-1")))
        found = (await (await open_stream(relay)).event())["limits"]
        kinds = [(each["client"], each["kind"], each["per"], each["session"]) for each in found]
        assert kinds == [
            ("agent", "usd", "day", None),
            ("agent", "at_once", None, None),
            ("all", "usd", "month", None),
            ("agent", "tokens", "session", "s-1"),
        ]
        day, at_once, month, session = found
        assert (day["most"], day["used"], day["warn"]) == (0.01, pytest.approx(0.020451), 0.8)
        assert day["ratio"] == pytest.approx(2.0451)
        assert (session["most"], session["used"], session["reset"]) == (100, 46, None)
        assert (at_once["used"], at_once["reset"]) == (0, None)
        assert month["reset"] > day["reset"] > 0


async def test_of_many_limits_those_near_their_line_are_told(
    api: Upstream, tmp_path: Path, quick: None
) -> None:
    """Twenty, whoever's they are; and in an order that stays."""
    clients = [
        {
            "name": f"c{number}",
            "token": {"file": f"t{number}"},
            "limits": [{"usd": 9, "per": "day"}],
        }
        for number in range(30)
    ]
    for number in range(30):
        (tmp_path / f"t{number}").write_text(f"made-up-token-of-client-{number:032d}\n")
    async with running_relay(tmp_path, configuration(api.port, clients=clients)) as relay:
        for number in (29, 7):
            token = f"made-up-token-of-client-{number:032d}"
            assert (await relay.ask(request(*lines_of("s"), token=token))).status == 200
        found = (await (await open_stream(relay)).event())["limits"]
        names = [each["client"] for each in found]
        assert len(names) == 20
        assert {"c7", "c29"} <= set(names)
        assert names == sorted(names, key=lambda name: int(name[1:]))
