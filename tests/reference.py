"""Writes the tables of the pages from what they describe: the schema, the defaults, the commands.

A table stands between ``<!-- from NAME -->`` and ``<!-- end -->``; all around it is written by
hand. `python -m tests.reference` writes them anew, and a test fails while one is out of date.
What a field means is its docstring in the schema, what it may be is its annotation: a type that
has no words here yet is an error.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from relay.commands.arguments import parser
from relay.config import schema
from relay.config.built_in_grants import BUILT_IN_GRANTS, built_in_grant
from relay.config.settings import DEFAULT_ALLOW
from relay.config.sources import Model

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"
PAGES: Final = (DOCS.parent / "README.md", DOCS / "configuration.md", DOCS / "commands.md")

_BLOCK: Final = re.compile(r"(?<=<!-- from )(\S+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
_WORDS: Final = {
    "Annotated[tuple[str, ...], AfterValidator(_command)]": "list of text, not empty",
    "Api": "`anthropic` or `openai`",
    "EnvName": "name of a variable",
    "FilePath": "path",
    "Price": "price of a model, as above",
    "HeaderFormat": "text with `{}` once",
    "HeaderName": "name of a header",
    "Headers": "mapping of headers to [sources](#sources)",
    "Limits": "list of [limits](#limits)",
    "Per": "`hour`, `day`, `week`, `month` or `session`",
    "Share": "number above 0, at most 1",
    "Whole": "whole number, not negative",
    "bool": "`true` or `false`",
    "tuple[Name, ...]": "list of names",
    "HopName": "name, without dots",
    "Hops": "list of [hops](#hops)",
    "IfDown": "`fail` or `skip`",
    "JsonPath": "dotted path",
    "Name": "name",
    "Number": "number, not negative",
    "Pass": "`client`, `call` or a [source](#sources)",
    "PathPrefix": "path",
    "PositiveNumber": "number above 0",
    "PositiveWhole": "whole number above 0",
    "Source": "[source](#sources)",
    "ProxyUrl": "URL of a host and port",
    "UpstreamUrl": "URL",
    "WayOut": "mapping, as [`egress`](#egress), or `null`",
    "dict[str, Number]": "mapping of names to numbers",
    "str": "text",
    "dict[HeaderName, HeaderValue]": "mapping of headers to values",
    "dict[HeaderName, FieldFormat]": "mapping of headers to texts with a field",
    "tuple[HeaderName, ...]": "list of headers",
    "tuple[PathPrefix, ...]": "list of paths, not empty",
}


def written_anew(page: str) -> str:
    """Return the page with each of its tables as it should be."""
    return _BLOCK.sub(lambda block: f"{block[1]}{block[2]}\n{_block(block[1])}\n\n", page)


def _block(name: str) -> str:
    return _WRITERS[name]() if name in _WRITERS else _fields(name)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _fields(name: str) -> str:
    """Return the table of a model's fields."""
    model: type[Model] = getattr(schema, name)
    rows = []
    for key, annotation, meaning in _declared(model):
        field = model.model_fields[key]
        default = field.get_default(call_default_factory=True)
        shown = "required" if field.is_required() else _default(default)
        words = _WORDS[annotation.removesuffix(" | None")]
        rows.append((f"`{field.alias or key}`", words, shown, meaning.replace("``", "`")))
    return _table(("key", "what it is", "default", "what it means"), rows)


def _declared(model: type[Model]) -> Iterator[tuple[str, str, str]]:
    """Yield a model's fields with annotation and docstring, as they are written."""
    declared = ast.parse(inspect.getsource(model)).body[0]
    assert isinstance(declared, ast.ClassDef)
    body = declared.body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign):
            assert isinstance(after, ast.Expr), f"{model.__name__}: a field without a docstring"
            meaning = ast.literal_eval(after.value)
            yield ast.unparse(node.target), ast.unparse(node.annotation), " ".join(meaning.split())


def _default(value: object) -> str:
    return "" if value is None else f"`{json.dumps(value)}`"


def _allow() -> str:
    """Return the paths that are relayed by default."""
    rows = [
        (f"`{api}`", " ".join(f"`{prefix.decode()}`" for prefix in prefixes))
        for api, prefixes in DEFAULT_ALLOW.items()
    ]
    return _table(("API", "`allow` by default"), rows)


def _grants() -> str:
    """Return the built-in grants: where the credential is looked for, and how it is sent."""
    rows = []
    for name in BUILT_IN_GRANTS:
        grant = built_in_grant(name, None, ("secrets",))
        places = [
            f"`{source.model_dump(exclude_none=True).popitem()[1]}`" for source in grant.sources
        ]
        added = "".join(f", `{key.decode()}: {value.decode()}`" for key, value in grant.add)
        header = f"`{grant.header.decode()}: {grant.prefix.decode()}…`"
        rows.append((f"`{name}`", *places, header + added))
    return _table(("grant", "variable", "file", "sent upstream as"), rows)


def _commands() -> str:
    """Return the commands with their options."""
    actions = parser()._actions
    (commands,) = (each for each in actions if isinstance(each, argparse._SubParsersAction))
    return "\n\n".join(_command(name, command) for name, command in commands.choices.items())


def _command(name: str, command: argparse.ArgumentParser) -> str:
    actions = [each for each in command._actions if not isinstance(each, argparse._HelpAction)]
    rows = [(f"`{_usage(each)}`", (each.help or "").replace("|", r"\|")) for each in actions]
    options = f"\n\n{_table(('option', ''), rows)}" if rows else ""
    return f"## `relay {name}`\n\n{command.description}{options}"


def _usage(action: argparse.Action) -> str:
    names = ", ".join(action.option_strings)
    value = action.metavar or (action.dest if not names else action.dest.upper())
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else value
    return names if action.nargs == 0 else f"{names} {choices}".strip()


_WRITERS: Final[dict[str, Callable[[], str]]] = {
    "allow": _allow,
    "commands": _commands,
    "grants": _grants,
}


def main() -> None:
    """Write the pages anew."""
    for page in PAGES:
        page.write_text(written_anew(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
