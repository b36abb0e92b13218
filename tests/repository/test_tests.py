"""The tests themselves: of a size that is read, and the same wherever they run."""

from __future__ import annotations

import os

import pytest

from tests.harness import ROOT, variables

LONGEST_LINES = 700


def test_no_file_is_too_long() -> None:
    """Cases are tables, what is set up again and again is a fixture, and a module has its file."""
    long = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "tests").rglob("*.py")
        if len(file.read_text().splitlines()) > LONGEST_LINES
    }
    assert long == set()


@pytest.mark.parametrize(
    "name",
    [
        *("RELAY_LISTEN", "ANTHROPIC_BASE_URL", "CLAUDECODE", "OPENAI_API_KEY", "CODEX_HOME"),
        *("HEADROOM_PORT", "OTEL_SDK_DISABLED", "COMPOSE_FILE", "XDG_STATE_HOME"),
        *("HTTPS_PROXY", "no_proxy", "COLUMNS"),
    ],
)
def test_what_a_user_has_set_is_forgotten(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a relay, an agent or a proxy of their own gets the same results."""
    assert name not in os.environ
    monkeypatch.setenv(name, "odd")
    variables.forget()
    assert name not in os.environ
    assert "PATH" in os.environ
