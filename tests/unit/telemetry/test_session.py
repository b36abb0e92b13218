"""Which session and which agent a call is said to be of."""

from __future__ import annotations

import pytest

from relay.telemetry.session import Place, place_of
from tests.unit.heads import request_head

CLAUDE = "x-claude-code-session-id: s"
CODEX = "session-id: s"
OPENCODE = "x-session-id: s"


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        ([], ("", "", "")),
        ([CLAUDE], ("s", "", "")),
        ([CLAUDE, "x-claude-code-agent-id: a"], ("s", "a", "")),
        (
            [CLAUDE, "x-claude-code-agent-id: b", "x-claude-code-parent-agent-id: a"],
            ("s", "b", "a"),
        ),
        ([CODEX], ("s", "", "")),
        ([CODEX, "thread-id: s"], ("s", "", "")),
        ([CODEX, "thread-id: a", "x-codex-parent-thread-id: s"], ("s", "a", "")),
        ([CODEX, "thread-id: b", "x-codex-parent-thread-id: a"], ("s", "b", "a")),
        ([OPENCODE, "session-id: s"], ("s", "", "")),
        (["x-session-id: a", "session-id: a", "x-parent-session-id: s"], ("s", "a", "")),
        ([CLAUDE, "x-session-id: other", "session-id: another"], ("s", "", "")),
        (["session-id: a value with blanks"], ("", "", "")),
    ],
)
def test_each_agent_has_headers_of_its_own(lines: list[str], place: Place) -> None:
    """Claude Code's first; a session's main agent has no name."""
    fields = [line.partition(": ") for line in lines]
    assert place_of(request_head(*((name, value) for name, _, value in fields))) == place
