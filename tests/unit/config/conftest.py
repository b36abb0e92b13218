"""Where an agent.yaml goes."""

from pathlib import Path

import pytest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the test's agent.yaml goes."""
    return tmp_path / "agent.yaml"
