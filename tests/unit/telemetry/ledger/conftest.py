"""A ledger's file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.telemetry.ledger.file import LedgerFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger is."""
    return tmp_path / "ledger.db"


@pytest.fixture
def file(path: Path) -> Iterator[LedgerFile]:
    """A new one."""
    file = LedgerFile(str(path))
    yield file
    file.close()
