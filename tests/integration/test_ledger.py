"""A running relay's ledger: each call that is over is a row, under every configuration."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from relay.cli import main
from relay.telemetry import recorder
from tests.harness.configuration import Config, configuration, write_configuration
from tests.harness.ledger import names_in, rows_in, until
from tests.harness.messages import MESSAGES, request
from tests.harness.model_answers import MESSAGE_JSON, MESSAGE_TOKENS, MODEL
from tests.harness.recordings import recorded_answer
from tests.harness.relay import (
    LocalRelay,
    families_of,
    relay_process,
    running_relay,
    update_configuration,
)
from tests.harness.secrets import SECRETS
from tests.harness.upstream import Upstream

IDS = (
    "x-claude-code-session-id: s-1",
    "x-claude-code-agent-id: a-1",
    "x-claude-code-parent-agent-id: p-1",
)
CONTENT = "what-nobody-may-note"


def with_ledger(port: int, **changes: object) -> Config:
    """Return a configuration with a ledger beside it."""
    return configuration(port, **({"ledger": {"path": "ledger.db"}} | changes))


async def dropped(relay: LocalRelay) -> float | None:
    """Return the metric of what is missing, if it is there."""
    text = (await relay.page("/metrics")).body.decode()
    for family in families_of(text):
        if family.name == "relay_ledger_dropped":
            return family.samples[0].value
    return None


async def test_a_call_is_a_row(upstream: Upstream, tmp_path: Path) -> None:
    """With what it used and cost, by whom; and not a word of what was said."""
    upstream.answer_with(recorded_answer(MESSAGE_JSON, "identity"))
    async with running_relay(tmp_path, with_ledger(upstream.port)) as relay:
        body = json.dumps({"content": CONTENT}).encode()
        await relay.ask(request(f"{MESSAGES}?q={CONTENT}", *IDS, f"x-own: {CONTENT}", body=body))
        path = tmp_path / "ledger.db"
        await until(lambda: path.exists() and bool(rows_in(path)))
    (row,) = rows_in(path)
    known = {
        "relay": "anthropic",
        "client": "agent",
        "grant": "anthropic",
        "session_id": "s-1",
        "agent_id": "a-1",
        "parent_agent_id": "p-1",
        "model": MODEL,
        "outcome": "ok",
        "status": 200,
        "calls": 1,
        "estimate": 0,
        "request_bytes": len(body),
        "legs": None,
        "hops": None,
    }
    assert {name: row[name] for name in known} == known
    assert {kind: row[kind] for kind in MESSAGE_TOKENS} == MESSAGE_TOKENS
    assert row["cost"] > 0
    content = path.read_bytes()
    assert CONTENT.encode() not in content
    assert not any(secret.encode() in content for secret in SECRETS)


async def test_refused_calls_of_a_client_are_counted(upstream: Upstream, tmp_path: Path) -> None:
    """Those of nobody known are not."""
    async with running_relay(tmp_path, with_ledger(upstream.port)) as relay:
        agent = await relay.agent()
        for _ in range(20):
            assert (await agent.ask(request("/relay/anthropic/v1/secret"))).status == 403
        for _ in range(5):
            assert (await relay.ask(request(token="wrong"))).status == 401
    rows = rows_in(tmp_path / "ledger.db")
    assert {(row["client"], row["outcome"], row["reason"]) for row in rows} == {
        ("agent", "rejected", "path")
    }
    assert sum(row["calls"] for row in rows) == 20
    assert len(rows) < 20
    assert {(row["cost"], row["estimate"], row["input"]) for row in rows} == {(0, 0, None)}


async def test_without_a_ledger_there_is_none(upstream: Upstream, tmp_path: Path) -> None:
    """Neither file nor metric, nor a word of it."""
    upstream.answer_with(recorded_answer(MESSAGE_JSON, "identity"))
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        await relay.ask(request())
        assert await dropped(relay) is None
        assert "ledger" not in (await relay.readiness())[1]
    assert names_in(tmp_path, "*.db*") == []


async def test_a_reload_begins_moves_and_ends_it(upstream: Upstream, tmp_path: Path) -> None:
    """Each call is in the one that was in force when it ended; the metric stays."""
    upstream.answer_with(recorded_answer(MESSAGE_JSON, "identity"))
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        for count, path in enumerate((None, "a.db", "a.db", "b.db", None), 1):
            ledger = {"ledger": None if path is None else {"path": path}}
            update_configuration(relay, with_ledger(upstream.port, **ledger))
            relay.app.reload()
            await relay.log.says("^reloaded ", count)
            await relay.ask(request(MESSAGES, f"x-claude-code-session-id: s-{count}"))
            await relay.log.calls(count)
        assert await dropped(relay) == 0
    sessions = {
        name: [row["session_id"] for row in rows_in(tmp_path / name)] for name in ("a.db", "b.db")
    }
    assert sessions == {"a.db": ["s-2", "s-3"], "b.db": ["s-4"]}


async def test_a_reload_notes_what_was_over_before_it(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though calls are noted a moment after their end."""
    monkeypatch.setattr(recorder, "DELAY_SECONDS", 600)
    upstream.answer_with(recorded_answer(MESSAGE_JSON, "identity"))
    async with running_relay(tmp_path, with_ledger(upstream.port)) as relay:
        await relay.ask(request())
        update_configuration(relay, configuration(upstream.port))
        relay.app.reload()
        await relay.log.says("^reloaded ")
    assert len(rows_in(tmp_path / "ledger.db")) == 1


async def test_a_reload_changes_the_time_zone(upstream: Upstream, tmp_path: Path) -> None:
    """Which the file keeps."""

    def zone() -> str | None:
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as file:
            row = file.execute("SELECT value FROM about WHERE key = 'timezone'").fetchone()
            return row and str(row[0])

    config = with_ledger(upstream.port)
    async with running_relay(tmp_path, config | {"timezone": "Asia/Tokyo"}) as relay:
        relay.app._ledger._writer.wait_for_first_look(10)  # type: ignore[union-attr]  # it is there
        assert zone() == "Asia/Tokyo"
        update_configuration(relay, config | {"timezone": "Europe/Berlin"})
        relay.app.reload()
        await until(lambda: zone() == "Europe/Berlin")


async def test_a_file_that_cannot_be_written_is_a_warning(
    upstream: Upstream, tmp_path: Path
) -> None:
    """In the log once, on /readyz, and in a metric; calls go on, and the file is as it was."""
    path = tmp_path / "ledger.db"
    path.write_bytes(b"something else")
    upstream.answer_with(recorded_answer(MESSAGE_JSON, "identity"))
    async with running_relay(tmp_path, with_ledger(upstream.port)) as relay:
        await relay.log.says(rf"^ledger {path}: is damaged; move it away, and a new one is made$")
        for _ in range(3):
            assert (await relay.ask(request())).status == 200
        ledger = relay.app._ledger
        await until(lambda: ledger.dropped == 3)
        assert await dropped(relay) == 3
        status, report = await relay.readiness()
        assert (status, report["status"]) == (200, "ready")
        assert report["ledger"] == {
            "path": str(path),
            "warning": "it is damaged; move it away, and a new one is made",
        }
        path.rename(tmp_path / "away")
        await relay.log.says(r"ledger .*: is written again; 3 calls are missing in it$")
        assert "warning" not in (await relay.readiness())[1]["ledger"]
        said = [line for line in relay.log.lines if "ledger" in line.get("message", "")]
        assert len(said) == 2
    assert (tmp_path / "away").read_bytes() == b"something else"


def test_a_folder_that_is_not_there_is_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody serves with a ledger that can never be written."""
    config = with_ledger(1, ledger={"path": "nowhere/ledger.db"})
    path = write_configuration(tmp_path, config)
    assert main(["serve", "--config", str(path)]) == 2
    assert "ledger.path: is in a folder that is not there" in capsys.readouterr().err
    assert main(["check", "--config", str(path)]) == 0
    assert "ledger.path: is in a folder that is not there" in capsys.readouterr().out


async def test_a_reload_to_such_a_folder_is_refused(upstream: Upstream, tmp_path: Path) -> None:
    """The configuration stays as it was."""
    async with running_relay(tmp_path, with_ledger(upstream.port)) as relay:
        update_configuration(relay, with_ledger(upstream.port, ledger={"path": "no/ledger.db"}))
        relay.app.reload()
        await relay.log.says("is in a folder that is not there")
        assert relay.app._ledger.path == str(tmp_path / "ledger.db")


async def test_a_stop_loses_nothing(upstream: Upstream, tmp_path: Path) -> None:
    """Not the last call, either."""
    upstream.answer_with(recorded_answer(MESSAGE_JSON, "identity"))
    async with relay_process(tmp_path, with_ledger(upstream.port)) as relay:
        agent = await relay.agent()
        for _ in range(50):
            assert (await agent.ask(request())).status == 200
        relay.signal(signal.SIGTERM)
        agent.leave()
        assert await relay.exit_status() == 0
    assert names_in(tmp_path, "ledger.db*") == ["ledger.db", "ledger.db-lock"]
    assert len(rows_in(tmp_path / "ledger.db")) == 50
