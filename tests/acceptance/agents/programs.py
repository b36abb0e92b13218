"""The agents: how each is asked once, and what it shows then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from relay.commands.agents import Agent as Kind
from tests.acceptance.claude import MODEL, bundled_claude, installed_claude
from tests.acceptance.sdks import anthropic_api, codex, openai_api, opencode


@dataclass(frozen=True)
class Agent:
    """A program, and what to type behind its name."""

    name: str
    kind: Kind
    once: Sequence[str]
    """Have it answer a prompt, and end."""
    answer: str
    mistaken: Sequence[str]
    """What it ends with an error for, by itself."""

    def __str__(self) -> str:
        return self.name


CLAUDE: Final = Agent(
    "claude",
    "claude-code",
    ("-p", "Hello?", "--model", MODEL),
    anthropic_api.RESULT,
    ("--no-such-option",),
)
CODEX: Final = Agent(
    "codex",
    "codex",
    codex.arguments("hello"),
    "".join(openai_api.WORDS),
    ("exec", "--no-such-option"),
)
OPENCODE: Final = Agent(
    "opencode",
    "opencode",
    opencode.arguments(f"openai/{codex.MODEL}", "hello"),
    "".join(openai_api.WORDS),
    ("run", "--no-such-option"),
)
AGENTS: Final = (CLAUDE, CODEX, OPENCODE)


def programs() -> dict[str, Path]:
    """Return where each is installed, by its name."""
    return {
        CLAUDE.name: bundled_claude(installed_claude()),
        CODEX.name: codex.installed_codex(),
        OPENCODE.name: opencode.installed_opencode(),
    }
