"""agent.yaml as plain data, with the line of every value.

Merge keys (``<<``) are followed as YAML 1.1 has them: what a mapping says itself comes first.
Knows nothing of what the keys mean.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import yaml

from relay.config.plain_keys import find_in_foreign, find_in_section
from relay.config.problems import ConfigurationError, Path, Problem, shown
from relay.config.yaml_errors import problem_of

_MERGE_TAG: Final = "tag:yaml.org,2002:merge"
# The relay's own keys are six deep. Without a limit PyYAML looks at each open bracket for each
# token: 5,000 of them take seconds.
_MOST_NESTED: Final = 100

Pairs = list[tuple[yaml.ScalarNode, yaml.Node]]
Data = None | bool | int | float | str | list["Data"] | dict[str, "Data"]


@dataclass(frozen=True)
class Document:
    """The data of a file and, for every path into it, the line it stands on."""

    data: Data
    lines: dict[Path, int] = field(repr=False)
    remarks: tuple[Problem, ...] = ()
    """What is no mistake, and hardly meant."""

    def line(self, path: Sequence[str | int]) -> int:
        """Return the line of this path, or of the nearest thing around it."""
        inner = tuple(path)
        while inner and inner not in self.lines:
            inner = inner[:-1]
        return self.lines.get(inner, 1)


def read_document(text: str, sections: Collection[str] | None = None) -> Document:
    """Parse YAML text; given sections, other top-level keys are another tool's.

    Raises:
        ConfigurationError: It is not YAML, uses a tag or a complex key, or says a key twice.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        reader = _NodeReader(loader, sections)
        data = reader.read(node, ()) if node is not None else None
    except yaml.YAMLError as error:
        raise ConfigurationError([problem_of(error)]) from None
    except _TooDeep:
        raise ConfigurationError([Problem(1, (), "is nested too deeply")]) from None
    if reader.problems:
        raise ConfigurationError(reader.problems)
    return Document(data, reader.lines, tuple(reader.remarks))


class _TooDeep(Exception):
    """A file is nested more deeply than any configuration."""


class _Loader(yaml.SafeLoader):
    """PyYAML's, with an end to how deeply things may be nested."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Read a value, as soon as its first token is there."""
        self._depth += 1
        if self._depth > _MOST_NESTED:
            raise _TooDeep
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _NodeReader:
    """Turns YAML nodes into data, and notes where each stands."""

    def __init__(self, loader: yaml.SafeLoader, sections: Collection[str] | None) -> None:
        self._sections = sections
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []
        self.remarks: list[Problem] = []
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
        own, merged = self._split(node, path)
        for key_node, value_node in own:
            foreign = not path and self._is_foreign(key_node)
            if not foreign and key_node.value in mapping:
                key = key_node.value
                self._complain(key_node, (*path, key), f"{shown(key)} is said twice; keep one")
            else:
                self._read_pair(mapping, key_node, value_node, path)
        for key_node, value_node in merged:
            if key_node.value not in mapping:
                self._read_pair(mapping, key_node, value_node, path)
        return mapping

    def _read_pair(
        self, mapping: dict[str, Data], key_node: yaml.ScalarNode, value_node: yaml.Node, path: Path
    ) -> None:
        key = key_node.value
        here = (*path, key)
        self.lines[here] = key_node.start_mark.line + 1
        if not path and self._is_foreign(key_node):
            mapping[key] = None  # another tool's
            self.remarks += find_in_foreign(key, value_node, here)
            return
        mapping[key] = self.read(value_node, here)
        if not path:
            self.remarks += find_in_section(value_node, here)

    def _is_foreign(self, key_node: yaml.ScalarNode) -> bool:
        return self._sections is not None and key_node.value not in self._sections

    def _split(self, node: yaml.MappingNode, path: Path) -> tuple[Pairs, Pairs]:
        """Return the pairs that a mapping says itself, and those it merges, those that count first.

        Source: https://yaml.org/type/merge.html
        """
        own: Pairs = []
        merged: Pairs = []
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE_TAG:
                merged += self._merge(key_node, value_node, path)
            elif isinstance(key_node, yaml.ScalarNode):
                own.append((key_node, value_node))
            elif path or self._sections is None:
                self._complain(key_node, path, "has a key that is not plain text")
        return own, merged

    def _merge(self, key_node: yaml.Node, value_node: yaml.Node, path: Path) -> Pairs:
        listed = isinstance(value_node, yaml.SequenceNode)
        pairs: Pairs = []
        for each in value_node.value if listed else [value_node]:
            if not isinstance(each, yaml.MappingNode):
                self._complain(key_node, path, "merges (<<) what is not a mapping")
            elif id(each) in self._open:
                self._complain(key_node, path, "refers to itself")
            else:
                self._open.add(id(each))
                own, merged = self._split(each, path)
                self._open.discard(id(each))
                pairs += own + merged
        return pairs

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
