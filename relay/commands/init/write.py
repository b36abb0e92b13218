"""Files written whole or not at all, and never over what somebody else has written.

A file comes by rename, with its mode from the start. Everything is looked at before anything
is written: either all files can be, or none is.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from relay.commands import CommandError

PUBLIC: Final = 0o644
SECRET: Final = 0o600
_ASSIGNMENT: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")

State = Literal["wrote", "kept"]


@dataclass(frozen=True, slots=True)
class Draft:
    """A file to be written."""

    path: Path
    text: str = field(repr=False)
    mode: int = PUBLIC
    when_there: Literal["refuse", "keep", "update"] = "refuse"
    """``keep`` is for tokens and credentials; an ``update`` keeps all else that the file holds."""
    owner: tuple[int, int] | None = None


def write_all(drafts: Iterable[Draft], *, force: bool) -> list[tuple[State, Path]]:
    """Write the files, and return what was done with each.

    Raises:
        CommandError: One is there with another text, and there is no ``force``: then none was
            written; or one cannot be written.
    """
    planned = [(_state(draft, force=force), draft) for draft in drafts]
    for state, draft in planned:
        if state != "kept":
            _write(draft)
    return [(state, draft.path) for state, draft in planned]


def _state(draft: Draft, *, force: bool) -> State:
    current = read_text(draft.path)
    if current is None:
        return "wrote"
    if current == draft.text or (draft.when_there == "keep" and current.strip()):
        return "kept"
    if draft.when_there == "refuse" and current.strip() and not force:
        raise CommandError(f"{draft.path} is there, and says something else; --force replaces it")
    return "wrote"


def read_text(path: Path) -> str | None:
    """Return a file's text, without a byte order mark, or None where there is none.

    Raises:
        CommandError: It is there, and cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise CommandError(f"{path} cannot be read: {(reason or 'unknown').lower()}") from error


def _write(draft: Draft) -> None:
    path = Path(os.path.realpath(draft.path))  # a link stays one
    temporary = ""
    try:
        _make_folder(path.parent)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123  # a descriptor, not a path
            file.write(draft.text)
            file.flush()
            os.fchmod(handle, _mode(path, draft))
            if draft.owner is not None:
                os.fchown(handle, *draft.owner)
            os.fsync(handle)
        Path(temporary).replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        reason = (error.strerror or "unknown").lower()
        raise CommandError(f"{draft.path} cannot be written: {reason}") from error


def _make_folder(folder: Path) -> None:
    """Make a folder that the relay's user may look into, whatever the umask."""
    if not folder.is_dir():
        folder.mkdir(parents=True)
        folder.chmod(0o755)


def _mode(path: Path, draft: Draft) -> int:
    """Return the draft's mode, or that of the file that it updates."""
    if draft.when_there == "update" and path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    return draft.mode


def is_under_git(folder: Path) -> bool:
    """Whether what is written there could be committed."""
    inside = folder.resolve()
    return any((each / ".git").exists() for each in (inside, *inside.parents))


def ignored(text: str, names: Iterable[str]) -> str:
    """Return a .gitignore that keeps these files and folders of its own folder out, too."""
    lines = text.splitlines()
    known = {line.strip().strip("/").removesuffix("/*") for line in lines}
    lines += [f"/{name}" for name in names if name not in known and "*" not in known]
    return "\n".join([*lines, ""])


def variables_in(text: str) -> dict[str, str]:
    """Return the variables of a .env, as they stand there."""
    matches = (_ASSIGNMENT.fullmatch(line) for line in text.splitlines())
    return {match[1]: match[2] for match in matches if match}


def merged(
    text: str, variables: Mapping[str, str], outdated: Collection[str] = (), *, force: bool
) -> str:
    """Return a .env with these variables in it and without the outdated; all else stays.

    Raises:
        CommandError: It says something else of one of them, and there is no ``force``.
    """
    current = variables_in(text)
    for name, value in variables.items():
        if not force and current.get(name, value) != value:
            raise CommandError(f".env says something else of {name}; --force replaces it")
    lines = []
    for line in text.splitlines():
        match = _ASSIGNMENT.fullmatch(line)
        name = match[1] if match else ""
        if name not in outdated:
            lines.append(f"{name}={variables[name]}" if name in variables else line)
    lines += [f"{name}={value}" for name, value in variables.items() if name not in current]
    return "\n".join([*lines, ""])
