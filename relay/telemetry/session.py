"""Which session a call belongs to, and which agent of it, as agents say in their headers.

Each agent has headers of its own (observed on Claude Code 2.1.330, codex-cli 0.169.0 and opencode
1.18.33). A session's main agent has no name, here as in Claude Code's. All of it is the agent's own
word.
"""

from __future__ import annotations

from typing import Final

from relay.http.message import RequestHead
from relay.telemetry.call import first_value

Place = tuple[str, str, str]
"""Session, agent and that agent's parent; empty where there is none, or nothing is said."""

_CLAUDE_CODE: Final = b"x-claude-code-session-id"
_OPENCODE: Final = b"x-session-id"
_CODEX: Final = b"session-id"


def place_of(head: RequestHead) -> Place:
    """Return whose call this is."""
    said = head.by_key
    if _CLAUDE_CODE not in said:
        if _OPENCODE in said:  # with OpenAI's models it sends Codex's as well
            return _of_opencode(head)
        if _CODEX in said:
            return _of_codex(head)
    return (
        first_value(head, _CLAUDE_CODE),
        first_value(head, b"x-claude-code-agent-id"),
        first_value(head, b"x-claude-code-parent-agent-id"),
    )


def _of_codex(head: RequestHead) -> Place:
    """Agents are threads: the first of a session has its name, the others name their parents."""
    session = first_value(head, _CODEX)
    agent = first_value(head, b"thread-id")
    parent = first_value(head, b"x-codex-parent-thread-id")
    return session, "" if agent == session else agent, "" if parent == session else parent


def _of_opencode(head: RequestHead) -> Place:
    """A subagent has a session of its own, which names the one that it was begun in."""
    own = first_value(head, _OPENCODE)
    parent = first_value(head, b"x-parent-session-id")
    return (parent, own, "") if parent else (own, "", "")
