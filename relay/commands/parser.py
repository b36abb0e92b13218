"""argparse's parser, with a hint for words that it does not know."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Sequence


class Parser(argparse.ArgumentParser):
    """A parser that suggests the nearest word for an unknown one."""

    def _check_value(self, action: argparse.Action, value: str) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(each) for each in action.choices]
            hint = _nearest(value, known) or f"; choose from {', '.join(known)}"
            raise argparse.ArgumentError(action, f"there is no {value!r}{hint}")

    def parse_known_args(  # type: ignore[override]  # argparse's own overloads, for any namespace
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's, but an unknown option is an error of the command, with its usage."""
        if self._subparsers is None:
            # Before argparse takes what stands behind a misspelt option for something else.
            self._refuse([word for word in args or () if self._is_unknown(word)])
        options, unknown = super().parse_known_args(args, namespace)
        self._refuse(unknown)
        return options, unknown

    def _is_unknown(self, word: str) -> bool:
        name = word.partition("=")[0]
        return name.startswith("--") and not any(each.startswith(name) for each in self._named())

    def _named(self) -> list[str]:
        return [name for action in self._actions for name in action.option_strings]

    def _refuse(self, unknown: Sequence[str]) -> None:
        if unknown:
            hint = _nearest(unknown[0].partition("=")[0], self._named())
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")


def _nearest(word: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
