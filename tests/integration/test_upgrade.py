"""What an older relay makes of a ledger that a newer one has left: calls go on, no row is lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from relay.cli import main
from relay.telemetry.ledger.schema import MIGRATIONS
from tests.harness.configuration import Config, configuration
from tests.harness.ledger import rows_in, until
from tests.harness.messages import OK, request
from tests.harness.relay import running_relay
from tests.harness.upstream import Upstream

KNOWN = len(MIGRATIONS)
NEWER = KNOWN + 1
WORDS = (
    f"is of version {NEWER}, and this relay knows {KNOWN}; use a newer relay, or name another file"
)


def with_ledger(port: int) -> Config:
    """Return a configuration with a ledger, and a limit that looks at it."""
    return configuration(
        port, ledger={"path": "ledger.db"}, limits=[{"tokens": 1000, "per": "day"}]
    )


def set_version(path: Path, version: int) -> None:
    """Have the file be of a version."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")


async def test_a_newer_ledger_is_kept_for_a_newer_relay(
    upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Log, /readyz and ``relay usage`` say so; the newer relay goes on where it was."""
    path = tmp_path / "ledger.db"
    upstream.answer_with(OK)
    async with running_relay(tmp_path, with_ledger(upstream.port)) as newer:
        await newer.ask(request())
        await until(lambda: path.exists() and len(rows_in(path)) == 1)
    set_version(path, NEWER)
    left = path.read_bytes()

    async with running_relay(tmp_path, with_ledger(upstream.port)) as older:
        await older.log.says(f"^ledger {path}: {WORDS}; limits begin at zero$")
        status, report = await older.readiness()
        assert status == 200
        assert report["ledger"]["warning"] == f"it {WORDS}; limits begin at zero"
        assert (await older.ask(request())).status == 200
    assert path.read_bytes() == left
    assert main(["usage", "--ledger", str(path)]) == 1
    assert f"{path} {WORDS}" in capsys.readouterr().err

    set_version(path, KNOWN)
    async with running_relay(tmp_path, with_ledger(upstream.port)) as again:
        await again.ask(request())
        await until(lambda: len(rows_in(path)) == 2)
