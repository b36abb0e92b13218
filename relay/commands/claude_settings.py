"""Finds settings of Claude Code's that would send its calls past the relay.

Observed on 2.1.330: ``env`` in its settings precedes the environment. ``--settings`` precedes the
user's and the project's files, the last one if given twice; managed settings precede all.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from relay.config import GRANT_VARIABLES

_SWITCHES: Final = tuple(f"CLAUDE_CODE_USE_{api}" for api in ("BEDROCK", "VERTEX", "FOUNDRY"))
_DECIDING: Final = frozenset(
    {"ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", *GRANT_VARIABLES.values()}
)
_OFF: Final = ("", "0", "false", "no", "off")
_MANAGED: Final = Path(
    "/Library/Application Support/ClaudeCode" if sys.platform == "darwin" else "/etc/claude-code"
)


def obstacle(arguments: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Return why Claude Code would not call through the relay, and what to do; None if it would."""
    if any(each.partition("=")[0] == "--settings" for each in arguments):
        return (
            "its --settings would take the place of the relay's: put what they say into "
            ".claude/settings.local.json"
        )
    if switch := _switched_on(environment):
        return f"${switch} is set, and has Claude Code call another API: unset it"
    for path in _files(environment):
        page = _read(path)
        if page.get("apiKeyHelper"):
            return f"apiKeyHelper in {path} gives Claude Code another credential: take it out"
        variables = page.get("env")
        if isinstance(variables, dict) and (switch := _switched_on(variables)):
            return f"{switch} in {path} has Claude Code call another API: take it out"
        if isinstance(variables, dict) and path.is_relative_to(_MANAGED):
            for name in sorted(_DECIDING & variables.keys()):
                return f"{name} in {path} beats what the relay sets: have it taken out"
    return None


def _switched_on(variables: Mapping[str, object]) -> str | None:
    """Return the setting that is on and switches to another API, if any."""
    return next(
        (name for name in _SWITCHES if str(variables.get(name, "")).lower() not in _OFF), None
    )


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the files that Claude Code reads when it is started here."""
    folder = environment.get("CLAUDE_CONFIG_DIR")
    yield (Path(folder) if folder else Path.home() / ".claude") / "settings.json"
    here = Path.cwd()
    for project in (here, *here.parents):
        yield project / ".claude" / "settings.json"
        yield project / ".claude" / "settings.local.json"
        if (project / ".git").exists():
            break
    yield _MANAGED / "managed-settings.json"
    yield from sorted(_MANAGED.glob("managed-settings.d/*.json"))


def _read(path: Path) -> dict[str, object]:
    """Return a file's settings; of one that cannot be read, none, as Claude Code takes it."""
    try:
        page = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return page if isinstance(page, dict) else {}
