"""agent.yaml as plain data, with the line of every value.

YAML's own errors quote the text around them, which may be a secret; only their fixed
sentences and positions are used. Knows nothing of what the keys mean.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import yaml

from relay.config.problems import ConfigurationError, Path, Problem, shown

_MERGE_TAG: Final = "tag:yaml.org,2002:merge"

Data = None | bool | int | float | str | list["Data"] | dict[str, "Data"]


@dataclass(frozen=True)
class Document:
    """The data of a file and, for every path into it, the line it stands on."""

    data: Data
    lines: dict[Path, int] = field(repr=False)

    def line(self, path: Sequence[str | int]) -> int:
        """Return the line of this path, or of the nearest thing around it."""
        inner = tuple(path)
        while inner and inner not in self.lines:
            inner = inner[:-1]
        return self.lines.get(inner, 1)


def read_document(text: str, sections: Collection[str] | None = None) -> Document:
    """Parse YAML text; given sections, nothing under other top-level keys is looked at.

    Raises:
        ConfigurationError: It is not YAML, uses a tag or a complex key, or says a key twice.
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        reader = _NodeReader(loader, sections)
        data = reader.read(node, ()) if node is not None else None
    except yaml.YAMLError as error:
        raise ConfigurationError([_yaml_problem(error)]) from None
    except RecursionError:
        raise ConfigurationError([Problem(1, (), "is nested too deeply")]) from None
    if reader.problems:
        raise ConfigurationError(reader.problems)
    return Document(data, reader.lines)


def _yaml_problem(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    sentence = getattr(error, "problem", None) or ""
    quotes_the_file = "'" in sentence or '"' in sentence
    detail = f" ({sentence})" if sentence and not quotes_the_file else ""
    return Problem(mark.line + 1 if mark else 1, (), f"is not valid YAML{detail}")


class _NodeReader:
    """Turns YAML nodes into data, and notes where each stands."""

    def __init__(self, loader: yaml.SafeLoader, sections: Collection[str] | None) -> None:
        self._sections = sections
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []
        self._loader = loader
        self._open: set[int] = set()

    def read(self, node: yaml.Node, path: Path) -> Data:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if id(node) in self._open:
            self._complain(node, path, "refers to itself")
            return None
        self._open.add(id(node))
        try:
            return self._read(node, path)
        finally:
            self._open.discard(id(node))

    def _read(self, node: yaml.Node, path: Path) -> Data:
        if isinstance(node, yaml.MappingNode):
            return self._read_mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, i)) for i, item in enumerate(node.value)]
        return self._read_scalar(node, path)

    def _read_mapping(self, node: yaml.MappingNode, path: Path) -> Data:
        mapping: dict[str, Data] = {}
        for key_node, value_node in node.value:
            if not path and self._is_foreign(key_node):
                if isinstance(key_node, yaml.ScalarNode):
                    mapping[key_node.value] = None  # another tool's
                continue
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == _MERGE_TAG:
                self._complain(key_node, path, "has a key that is not plain text")
                continue
            key = key_node.value
            if key in mapping:
                self._complain(key_node, (*path, key), f"{shown(key)} is said twice; keep one")
                continue
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            mapping[key] = self.read(value_node, (*path, key))
        return mapping

    def _is_foreign(self, key_node: yaml.Node) -> bool:
        return self._sections is not None and key_node.value not in self._sections

    def _read_scalar(self, node: yaml.Node, path: Path) -> Data:
        try:
            value = self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self._complain(node, path, "cannot be read; put the text in quotes")
            return None
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        return str(node.value)  # a date, say: as it was written

    def _complain(self, node: yaml.Node, path: Path, message: str) -> None:
        self.problems.append(Problem(node.start_mark.line + 1, path, message))
