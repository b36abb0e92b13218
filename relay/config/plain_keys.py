"""Credentials that stand in agent.yaml itself, where none is read: said, and never shown.

A key is known by its issuer's prefix, wherever it stands, also in other tools' parts. In those
a name such as ``anthropic_api_key`` at the top level is enough: whoever writes it there believes
that it is read. Hashes and digests look like keys too, and are other tools' business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import yaml

from relay.config.problems import Path, Problem, holds_plain_key

_NAME: Final = re.compile(
    r"(?:.*_)?(?:api_?key|(?:auth|oauth|access|relay)_?token|secret_?key|password)", re.IGNORECASE
)
_IN_PLAIN_TEXT: Final = "holds what looks like a key, in plain text: "
_ITS_PLACE: Final = "put it into a variable, or a file of its own"
_NOT_READ_HERE: Final = "the relay does not read it here; grants name a variable or a file for it"
_NOT_READ: Final = (
    "is not read: a credential comes from where grants say, "
    "such as source: {env: NAME} or {file: PATH}"
)


def find_in_section(node: yaml.Node, path: Path) -> Iterator[Problem]:
    """Yield a remark on each text of the relay's own sections that looks like a key."""
    for place in _find(node, path, set()):
        yield _remark(*place, _IN_PLAIN_TEXT + _ITS_PLACE)


def find_in_foreign(key: str, node: yaml.Node, path: Path) -> Iterator[Problem]:
    """Yield the remarks on what another tool's top-level key is called, and holds."""
    found = list(_find(node, path, set()))
    if holds_plain_key(key) and not found:
        found = [(node, path)]
    for place in found:
        yield _remark(*place, _IN_PLAIN_TEXT + _NOT_READ_HERE)
    if not found and _NAME.fullmatch(key.replace("-", "_")) and _is_literal(node):
        yield _remark(node, path, _NOT_READ)


def _find(node: yaml.Node, path: Path, seen: set[int]) -> Iterator[tuple[yaml.Node, Path]]:
    """Yield where a text looks like a key."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            here = (*path, key_node.value if isinstance(key_node, yaml.ScalarNode) else "?")
            yield from _find(key_node, here, seen)
            yield from _find(value_node, here, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _find(item, (*path, index), seen)
    elif holds_plain_key(node.value):
        yield node, path


def _remark(node: yaml.Node, path: Path, message: str) -> Problem:
    return Problem(node.start_mark.line + 1, path, message)


def _is_literal(node: yaml.Node) -> bool:
    """Whether this is a text that stands for itself, and no reference to one elsewhere."""
    return isinstance(node, yaml.ScalarNode) and bool(node.value) and "$" not in node.value
