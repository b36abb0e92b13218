"""What is wrong with a configuration, in words that never repeat a value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

Path = tuple[str | int, ...]

# A key is shown only where it looks like one: a secret pasted in front of a colon does not.
_SHOWABLE_KEY: Final = re.compile(r"\$?[A-Za-z0-9_./-]{1,40}")
_HIDDEN_KEY: Final = "<not shown>"
_KEY_PREFIX: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-|AIza|ghp_|xox[a-z]-|relay-[\w-]{30})[A-Za-z0-9]"
)
_WHOLE_KEY: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:sk-|AIza|ghp_|xox[a-z]-)[\w-]{16,}|relay-[\w-]{30,})", re.ASCII
)
_LONG_RUN: Final = re.compile(r"[A-Za-z0-9]{16,}")
_FEW: Final = 3


def looks_secret(text: str) -> bool:
    """Whether this is more likely a key in the wrong place than a name or a path."""
    if _KEY_PREFIX.search(text):
        return True
    if "/" in text:
        return False  # folders may be named by hashes
    return any(
        _FEW <= sum(map(str.isdigit, run)) <= len(run) - _FEW for run in _LONG_RUN.findall(text)
    )


def holds_plain_key(text: str) -> bool:
    """Whether a whole key is in this text, by its issuer's prefix: where any text is expected."""
    return any(sum(map(str.isdigit, key)) >= _FEW for key in _WHOLE_KEY.findall(text))


def without_keys(text: str) -> str:
    """Return a text without what looks like a key in it."""
    return _WHOLE_KEY.sub("[redacted]", text)


def shown(key: str | int) -> str:
    """Return a key as it may be printed."""
    if isinstance(key, int):
        return str(key)
    # A path may be made of hashes; a key is none.
    secret = any(map(looks_secret, (key, *key.split("/"))))
    showable = _SHOWABLE_KEY.fullmatch(key) and not secret
    return f'"{key}"' if showable else _HIDDEN_KEY


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it is, and what would be right."""

    line: int
    path: Path = field(repr=False)  # a misplaced key may be in it
    message: str

    def __str__(self) -> str:
        place = f"{self.place}: " if self.path else ""
        return f"{self.line}: {place}{self.message}"

    @property
    def place(self) -> str:
        """The path as ``relays.openai.url`` or ``clients[0].name``."""
        text = ""
        for key in self.path:
            if isinstance(key, int):
                text += f"[{key}]"
            else:
                text += ("." if text else "") + shown(key).strip('"')
        return text


class ConfigurationError(Exception):
    """The configuration cannot be used; holds every problem, none of which shows a value."""

    def __init__(self, problems: Iterable[Problem], file: str = "agent.yaml") -> None:
        self.problems = in_order(problems)
        self.file = file
        super().__init__(self.file)

    def __str__(self) -> str:
        return "\n".join(self.explain())

    def explain(self) -> list[str]:
        """Return one line for each problem: file, line, field and remedy."""
        return [f"{self.file}:{problem}" for problem in self.problems]


class NoConfiguration(ConfigurationError):
    """There is no file that could be mistaken."""

    def explain(self) -> list[str]:
        """Return the one line that says so."""
        return [problem.message for problem in self.problems]


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Return problems in the order of the file."""
    return sorted(problems, key=lambda problem: (problem.line, problem.place))


def suggest(key: str, known: Iterable[str]) -> str:
    """Return what to say of an unknown key, with the nearest known one."""
    known = sorted(known)
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if nearest:
        return f'is an unknown key; did you mean "{nearest[0]}"?'
    return f"is an unknown key; known here: {', '.join(known)}"
