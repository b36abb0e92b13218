"""agent.yaml as a report shows it: which keys there are, and of values those that are named here.

Everything else is a placeholder, and is hidden from then on in the whole report: so what a later
version, or a misspelt key, has as its value is hidden as well. Works on a file that is wrong.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from relay.commands.report.redaction import REDACTED, Redaction, looks_random
from relay.config.loading import SECTIONS
from relay.config.problems import looks_secret
from relay.config.sources import Model
from relay.config.values import RELAY_NAME
from relay.config.yaml_document import Data, read_document

_LONGEST_NAME: Final = 60
# Keys and sections whose numbers are shown.
_FIGURES: Final = frozenset({"timeouts", "limits", "costs", "ledger", "drain", "max_body", "ttl"})
# Keys whose values are names or fixed words, which are shown.
_NAMES: Final = frozenset(
    {"name", "grant", "api", "if_down", "per", "timezone", "relays", "grants", "header", "pass"}
    | {"env", "remove"}
)
_URLS: Final = frozenset({"url", "base_url"})
_ADDRESSES: Final = frozenset({"listen", "admin", "returns"})
_FILES: Final = frozenset({"file", "folder", "path", "ca_file"})


def _keys(model: type[Model] = Model) -> Iterator[str]:
    """Yield the keys of the schema; all other keys are names that a user chose."""
    yield from (field.alias or name for name, field in model.model_fields.items())
    for each in model.__subclasses__():
        yield from _keys(each)


_KEYS: Final = frozenset({*SECTIONS, *_keys()})
# Formats that hold nothing of their own.
_FORMATS: Final = ("{}", "Bearer {}", "Basic {}")
_PLAIN_FILES: Final = ("/run/secrets/", "/run/relay/", "/var/lib/relay")


def excerpt(text: str, folder: Path, redaction: Redaction) -> list[str]:
    """Return the lines; what they do not show, ``redaction`` hides from then on.

    ``folder`` is where relative paths begin.

    Raises:
        ConfigurationError: It is no YAML that could be shown.
    """
    data = read_document(text, SECTIONS).data
    if not isinstance(data, dict):
        return ["(no mapping)"]
    return list(_Excerpt(folder, redaction).lines(data, ()))


class _Excerpt:
    """One pass over a document; a path is the keys that lead to a value."""

    def __init__(self, folder: Path, redaction: Redaction) -> None:
        self._folder = folder
        self._redaction = redaction
        self._files: dict[str, int] = {}
        self._ways: dict[str, Callable[[str], str]] = {
            **dict.fromkeys(_FILES, self._file),
            **dict.fromkeys(_URLS, self._url),
            **dict.fromkeys(_ADDRESSES, self._address),
            **dict.fromkeys(_NAMES, self._name),
            "allow": self._path,
            "format": self._format,
        }

    def lines(self, data: dict[str, Data], path: tuple[str, ...]) -> Iterator[str]:
        """Yield a mapping's lines, each key with what is below it further in."""
        indent = "  " * len(path)
        foreign = 0
        for key, value in data.items():
            if not path and key not in SECTIONS:
                foreign += 1
                continue
            here = (*path, key)
            label = key if key in _KEYS else self._name(key)
            if isinstance(value, dict) and value:
                yield f"{indent}{label}:"
                yield from self.lines(value, here)
            elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
                yield f"{indent}{label}:"
                yield from (f"{indent}  - {self._inline(each, here)}" for each in value)
            else:
                yield f"{indent}{label}: {self._inline(value, here)}"
        if foreign:
            yield f"({foreign} keys of other tools)"

    def _inline(self, value: Data, path: tuple[str, ...]) -> str:
        if isinstance(value, list):
            if path[-1] == "command":
                self._hide_all(value)
                return f"<a command of {len(value)} words>"
            return f"[{', '.join(self._inline(each, path) for each in value)}]"
        if isinstance(value, dict):
            pairs = (
                f"{key if key in _KEYS else self._name(key)}: {self._inline(each, (*path, key))}"
                for key, each in value.items()
            )
            return f"{{{', '.join(pairs)}}}"
        return self._scalar(value, path)

    def _scalar(self, value: Data, path: tuple[str, ...]) -> str:
        if value is None or isinstance(value, bool):
            return {None: "null", True: "true", False: "false"}[value]
        if not isinstance(value, str):
            figure = isinstance(value, int | float) and _FIGURES & set(path)
            return f"{value:g}" if figure else self._hidden(str(value))
        return self._ways.get(path[-1], self._hidden)(value)

    def _path(self, text: str) -> str:
        return self._hidden(text) if looks_secret(text) or looks_random(text) else text

    def _format(self, text: str) -> str:
        return f'"{text}"' if text in _FORMATS else self._hidden(text)

    def _name(self, text: str) -> str:
        plain = RELAY_NAME.fullmatch(text.replace("/", "")) and len(text) <= _LONGEST_NAME
        if plain and not looks_secret(text) and not looks_random(text):
            return text
        return self._hidden(text)

    def _url(self, text: str) -> str:
        shown = self._redaction.url(text)
        self._redaction.hide(text, shown)
        return shown

    def _address(self, text: str) -> str:
        host, _, port = text.rpartition(":")
        if not port.isdecimal() or "@" in text:
            return self._hidden(text)
        return f'"{self._redaction.hide_host(host.strip("[]"))}:{port}"'

    def _file(self, text: str) -> str:
        if text.startswith(_PLAIN_FILES) and not looks_secret(text) and not looks_random(text):
            return text
        number = self._files.setdefault(text, len(self._files) + 1)
        shown = f"<file {number}>"
        self._redaction.hide(text, shown)
        self._redaction.hide(str(self._folder / text), shown)
        with contextlib.suppress(RuntimeError):  # no such user, whose home it would be in
            self._redaction.hide(str(self._folder / Path(text).expanduser()), shown)
        return shown

    def _hidden(self, text: str) -> str:
        self._redaction.hide(text)
        return REDACTED

    def _hide_all(self, words: list[Data]) -> None:
        for word in words:
            if isinstance(word, str):
                self._redaction.hide(word)
