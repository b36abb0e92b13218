"""Ledgers under test: their rows, as users' own SQL sees them, and calls to put into one."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from relay.telemetry.ledger.row import Row
from relay.telemetry.ledger.writer import Writer
from tests.harness import FUSE_SECONDS


def a_row(**changes: object) -> Row:
    """Return a call of a client's, that went well now."""
    known: dict[str, Any] = dict.fromkeys(Row._fields)
    known |= {"time": time.time(), "relay": "anthropic", "client": "agent", "grant": "anthropic"}
    known |= {"operation": "messages", "model": "claude-opus-4-8", "status": 200, "outcome": "ok"}
    known |= {"duration": 1.5, "cost": 0, "estimate": 0, "estimate_tokens": 0, "calls": 1}
    known |= {"request_bytes": 2, "response_bytes": 3}
    return Row(**(known | changes))


def rows_in(path: Path, where: str = "1") -> list[dict[str, Any]]:
    """Return the rows of a ledger, the oldest first; none while its writer is still making it."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=FUSE_SECONDS)) as file:
        if not file.execute("SELECT 1 FROM sqlite_master WHERE name = 'calls'").fetchone():
            return []
        file.row_factory = sqlite3.Row
        found = file.execute(f"SELECT * FROM calls WHERE {where} ORDER BY id")  # noqa: S608  # the test's own
        return [dict(row) for row in found]


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for what a thread or another process does, which tells nobody."""
    end = time.monotonic() + FUSE_SECONDS
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.005)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for the same, while the event loop runs on."""
    await asyncio.to_thread(wait_until, holds)


def names_in(folder: Path, pattern: str) -> list[str]:
    """Return the names of the files in a folder that fit a pattern."""
    return sorted(each.name for each in folder.glob(pattern))


def finish(writer: Writer) -> None:
    """Have a writer write what it has, and end."""
    writer.end()
    writer.join(FUSE_SECONDS)
    assert not writer._thread.is_alive()
