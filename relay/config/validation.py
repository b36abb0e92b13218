"""Checks parts of a document against the schema and collects every problem.

The one place that knows pydantic's errors: each becomes a line number, a field path and a
sentence that says what would be right.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from relay.config.problems import Path, Problem, suggest
from relay.config.sources import Model
from relay.config.yaml_document import Data, Document

_SOURCE_FORMS: Final = (
    "{env: NAME}, {file: PATH}, {file: PATH, json: a.b.c}, {command: [..], ttl: 300}"
)
_SENTENCES: Final = {
    "missing": "is required",
    "string_type": "must be text; put it in quotes",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "greater_than": "must be greater than 0",
    "less_than_equal": "must not be greater than 1",
    "bool_type": "must be true or false",
    "greater_than_equal": "must not be negative",
    "finite_number": "must be a finite number",
    "union_tag_not_found": f"must be one of {_SOURCE_FORMS}",
    "pass": f"must be client, call, or one of {_SOURCE_FORMS}",
}
_SHAPES: Final = frozenset({"tuple_type", "dict_type", "model_type"})
_SOURCE_KEYS: Final = {
    "<env>": ("env",),
    "<file>": ("file", "json", "expires"),
    "<command>": ("command", "ttl", "json", "expires"),
}

# By path, without the places in lists.
_EXAMPLES: Final[dict[Path, str]] = {
    (): "grants: [anthropic]",
    ("grants",): "grants: [anthropic]",
    ("claude",): "claude: {base_url: https://api.anthropic.com}",
    ("claude", "hops"): "hops: [{name: headroom, url: http://localhost:8787}]",
    ("relays",): "relays: {openai: {url: https://api.openai.com}}",
    ("egress",): 'egress: {url: "http://proxy.corp:3128"}',
    ("listen",): 'listen: ["127.0.0.1:8484"]',
    ("admin",): 'admin: ["127.0.0.1:9484"]',
    ("returns",): 'returns: ["127.0.0.1:8485"]',
    ("clients",): "clients: [{name: agent, token: {env: RELAY_TOKEN}}]",
    ("clients", "limits"): "limits: [{usd: 20, per: day}]",
    ("limits",): "limits: [{usd: 20, per: day}]",
    ("timeouts",): "timeouts: {idle: 330}",
    ("ledger",): "ledger: {path: /var/lib/relay/ledger.db}",
    ("costs", "factors"): "factors: {fast: 2}",
}

ModelType = TypeVar("ModelType", bound=Model)


class Checker:
    """One document under check, with the problems found so far."""

    def __init__(self, document: Document) -> None:
        self.problems: list[Problem] = []
        self.remarks: list[Problem] = [*document.remarks]
        """What is no mistake, and hardly meant."""
        self._document = document

    def complain(self, path: Path, message: str) -> None:
        """Note a problem at this path."""
        self.problems.append(self._problem(path, message))

    def remark(self, path: Path, message: str) -> None:
        """Note what is allowed at this path, and hardly meant."""
        self.remarks.append(self._problem(path, message))

    def line(self, path: Path) -> int:
        """Return the line at which this path stands."""
        return self._document.line(path)

    def _problem(self, path: Path, message: str) -> Problem:
        return Problem(self.line(path), path, message)

    def complains_of(self, path: Path) -> bool:
        """Whether a problem at this very path is known already."""
        return any(problem.path == path for problem in self.problems)

    def mapping(self, path: Path, data: Data) -> dict[str, Data]:
        """Return the data as a mapping; nothing counts as an empty one."""
        if isinstance(data, dict):
            return data
        if data is not None:
            self.complain(path, f"must be a mapping{_example(path)}")
        return {}

    def sequence(self, path: Path, data: Data) -> list[Data]:
        """Return the data as a list; nothing counts as an empty one."""
        if isinstance(data, list):
            return data
        if data is not None:
            self.complain(path, f"must be a list{_example(path)}")
        return []

    def model(self, path: Path, kind: type[ModelType], data: Data) -> ModelType | None:
        """Return the data as this model, or note what is wrong with it."""
        try:
            return kind.model_validate(data, by_alias=True, by_name=False)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            for details in found:
                if not _follows_from_another(details, found):
                    self._translate(path, kind, details)
            return None

    def _translate(self, path: Path, kind: type[Model], details: ErrorDetails) -> None:
        location = details["loc"]
        # Tags of unions, and pydantic's marker for a mapping's key, are not in the file.
        inside = tuple(key for key in location if not _is_tag(key))
        place = (*path, *inside)
        example = _example(place) if details["type"] in _SHAPES else ""
        self.complain(place, _sentence(kind, details) + example)


def _example(path: Path) -> str:
    names = tuple(key for key in path if isinstance(key, str))
    return f", for example {_EXAMPLES[names]}" if names in _EXAMPLES else ""


def _follows_from_another(details: ErrorDetails, found: list[ErrorDetails]) -> bool:
    """Whether a list is only too short because its items are wrong."""
    location = details["loc"]
    inside = (other["loc"][: len(location)] == location for other in found if other != details)
    return details["type"] == "too_short" and any(inside)


def _is_tag(key: str | int) -> bool:
    return isinstance(key, str) and (key in _SOURCE_KEYS or key == "[key]")


def _sentence(kind: type[Model], details: ErrorDetails) -> str:
    error_type, location = details["type"], details["loc"]
    if error_type == "extra_forbidden":
        tag = location[-2] if len(location) > 1 else None
        if tag in _SOURCE_KEYS and f"<{location[-1]}>" in _SOURCE_KEYS:
            return f"does not go with {str(tag).strip('<>')}; keep one of them"
        known = _SOURCE_KEYS[tag] if isinstance(tag, str) else _field_names(kind)
        return suggest(str(location[-1]), known)
    if error_type == "value_error":
        context: dict[str, Any] = details.get("ctx", {})
        return str(context["error"])
    if error_type == "literal_error":
        # What pydantic expected, and not what it found: 'fail' or 'skip'.
        return "must be " + str(details["ctx"]["expected"]).replace("'", "")
    return _SENTENCES.get(error_type, "is not valid here")


def _field_names(kind: type[Model]) -> Iterable[str]:
    return [field.alias or name for name, field in kind.model_fields.items()]
