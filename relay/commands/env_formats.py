"""Variables as dotenv files, shells, compose files and agents' own files write them.

Each notation is a function from an `Environment` to lines. What one reader takes for a quote
another takes for a part of the value, so each is written for the program that reads it: dotenv
for Compose and python-dotenv, docker for ``docker run --env-file``, which knows no quotes. A
notation is also what its reader stops at where there is nothing to tell: an agent that is started
without these variables calls the real API. Knows nothing of the configuration.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

# In a shell these are added to, for what is there belongs to somebody else.
LISTS: Final = ("NO_PROXY", "no_proxy")
_PLAIN_VALUE: Final = re.compile(r"[A-Za-z0-9_.:/@%+=,\[\]-]+")
_SPECIAL_IN_DOUBLE_QUOTES: Final = re.compile(r'["\\$`]')


@dataclass(frozen=True, slots=True)
class Environment:
    """What an agent is told: variables, Codex's base URL, and notes for whoever reads it."""

    variables: Mapping[str, str] = field(repr=False)
    notes: tuple[str, ...] = ()
    openai_url: str = ""

    def comments(self) -> Iterator[str]:
        """Yield the notes as all notations but JSON take them."""
        for note in self.notes:
            yield f"# {note}"


def dotenv(environment: Environment) -> Iterator[str]:
    """Yield lines for Compose's ``env_file`` and python-dotenv; plain values stay unquoted."""
    yield from environment.comments()
    for name, value in environment.variables.items():
        yield f"{name}={_dotenv_value(value)}"


def _dotenv_value(value: str) -> str:
    """Return a value as both readers take it; in single quotes Compose knows no escapes at all.

    They agree on no form for a few values that nobody's token is: those are python-dotenv's.
    """
    if _PLAIN_VALUE.fullmatch(value):
        return value
    if "'" in value and not _SPECIAL_IN_DOUBLE_QUOTES.search(value):
        return f'"{value}"'
    escaped = re.sub(r"\\(?=[\\']|$)|'", r"\\\g<0>", value)
    return f"'{escaped}'"


def docker(environment: Environment) -> Iterator[str]:
    """Yield lines for ``docker run --env-file``, which takes every character as it stands."""
    yield from environment.comments()
    for name, value in environment.variables.items():
        yield f"{name}={value}"


def shell(environment: Environment) -> Iterator[str]:
    """Yield lines for ``eval`` in a POSIX shell.

    No comments: in an ``eval`` without quotes all is one line, which the first would end.
    """
    for name, value in environment.variables.items():
        if name in LISTS:
            yield f'export {name}="${{{name}:+${name},}}"{shlex.quote(value)}'
        else:
            yield f"export {name}={shlex.quote(value)}"


def fish(environment: Environment) -> Iterator[str]:
    """Yield lines for fish, by ``source`` or by ``eval``, which joins them."""
    for name, value in environment.variables.items():
        quoted = "'" + re.sub(r"[\\']", r"\\\g<0>", value) + "'"
        if name in LISTS:
            quoted = f"(string join -n , -- ${name} {quoted})"
        yield f"set -gx {name} {quoted};"


def compose(environment: Environment) -> Iterator[str]:
    """Yield a service's ``environment`` for a compose file, where ``$$`` stands for ``$``."""
    yield from environment.comments()
    yield "environment:"
    for name, value in environment.variables.items():
        yield f"  {name}: {_quoted(value.replace('$', '$$'))}"


def settings(environment: Environment) -> Iterator[str]:
    """Yield Claude Code's settings.json; WebFetch's preflight goes past the relay."""
    page = {"env": dict(environment.variables), "skipWebFetchPreflight": True}
    yield json.dumps(page, indent=2)


def toml(environment: Environment) -> Iterator[str]:
    """Yield Codex's config.toml, without the token (observed on codex-cli 0.169.0)."""
    yield "# For ~/.codex/config.toml. The token comes from $OPENAI_API_KEY: relay env codex"
    yield 'model_provider = "relay"'
    yield "check_for_update_on_startup = false"
    yield "\n[model_providers.relay]"
    yield 'name = "relay"'
    yield f"base_url = {_quoted(environment.openai_url)}"
    yield 'env_key = "OPENAI_API_KEY"'
    yield 'wire_api = "responses"'
    yield "supports_websockets = false"
    yield "\n# Both would go to OpenAI and GitHub, past the relay."
    yield "[analytics]\nenabled = false"
    yield "\n[features]\nplugins = false"


def codex_options(environment: Environment) -> list[str]:
    """Return the same as options of Codex's command line."""
    settings = tomllib.loads("\n".join(toml(environment)))
    return [
        word
        for name, value in _flat(settings, "")
        for word in ("-c", f"{name}={json.dumps(value)}")
    ]


def _flat(table: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _quoted(text: str) -> str:
    """Return a double-quoted string, which JSON, YAML and TOML read alike."""
    return json.dumps(text)


Notation = Callable[[Environment], Iterator[str]]
NOTATIONS: Final[Mapping[str, Notation]] = {
    "dotenv": dotenv,
    "docker": docker,
    "shell": shell,
    "fish": fish,
    "compose": compose,
    "settings": settings,
    "toml": toml,
}
SHELLS: Final = ("shell", "fish")
"""Notations that a shell runs; they cannot hold notes."""


def failure(notation: str) -> str:
    """Return a line that makes the notation's reader fail, printed in place of variables.

    In a shell it is a command that fails; elsewhere a name with blanks in it, which ``docker run``
    and Compose refuse in an env file, and which is neither JSON, TOML nor a mapping in YAML.
    """
    return "false" if notation in SHELLS else "false relay env failed="
