"""What several parts' tests of `relay doctor` begin with."""

from __future__ import annotations

import pytest

from relay.commands.doctor import calls, path
from tests.harness.upstream import Upstream
from tests.integration.diagnosis import answer, api


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for what never comes."""
    monkeypatch.setattr(calls, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(path, "CONNECT_SECONDS", 1.0)


@pytest.fixture
def well(upstream: Upstream) -> None:
    """Nothing is wrong with the API."""
    upstream.answer_with(api(models=answer()))
