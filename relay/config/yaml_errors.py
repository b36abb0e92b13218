"""What the YAML parser complains of, in words that quote nothing of the file.

Its sentences repeat what they found, which may be a part of a secret: from there on they are
cut. What they expected is YAML's own, and stays.
"""

from __future__ import annotations

import re
from typing import Final

import yaml

from relay.config.problems import Problem

_PLAIN: Final = "is not valid YAML"
# Of all that PyYAML says, no other sentence begins so and goes on with a text of the file's.
_KNOWN: Final = re.compile(r"(?:expected|could not|found|mapping|sequence|but found|second) ")
_FOUND: Final = re.compile(r",? but (?:found|got) (?!another document).*", re.DOTALL)
_QUOTED: Final = re.compile(r"""\s*['"].*['"]""", re.DOTALL)
_TAB: Final = r"'\t'"
# What these two come from, which they do not say themselves.
_REMEDIES: Final = {
    "found character that cannot start any token": "put the text in quotes",
    "expected <block end>": "the indentation is wrong, or a text follows what is complete",
}


def problem_of(error: yaml.YAMLError) -> Problem:
    """Return what the parser's error says, with its line and column."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return Problem(1, (), _PLAIN)
    mark = error.problem_mark
    reason = _reason(error)
    detail = f": {reason}" if reason else ""
    return Problem(mark.line + 1, (), f"{_PLAIN} (column {mark.column + 1}{detail})")


def _reason(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or ""
    if _TAB in problem:
        return "found a tab; indent with spaces"
    reason = _without_quotes(problem)
    if remedy := _REMEDIES.get(reason):
        return f"{reason}; {remedy}"
    context = error.context or ""
    if not context.startswith("while "):
        context = _without_quotes(context)
        return f"{context}, {reason}" if context else reason
    if reason and error.context_mark is not None:
        return f"{reason}, {context} that begins on line {error.context_mark.line + 1}"
    return reason


def _without_quotes(sentence: str) -> str:
    """Return a sentence without what it quotes of the file, or nothing where it is not known."""
    if not _KNOWN.match(sentence):
        return ""
    if sentence.startswith(("expected ", "could not ")):
        return _FOUND.sub("", sentence)
    return _QUOTED.sub("", sentence)
