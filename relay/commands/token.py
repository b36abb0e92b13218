"""``relay token``: fresh client tokens."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path
from typing import Final

from relay.commands import CommandError
from relay.config.limits import ALL
from relay.config.values import NAME_RULE, is_name

TOKEN_BYTES: Final = 32


def fresh_token() -> str:
    """Return a new client token: 256 bits, in letters that need no quoting."""
    return f"relay-{secrets.token_urlsafe(TOKEN_BYTES)}"


def write_client(folder: Path, name: str, lasts_seconds: float | None) -> Path:
    """Write a client's token into a folder of clients, replacing one of that name; return its file.

    Raises:
        CommandError: The name is not allowed, or the file cannot be written.
    """
    if not is_name(name) or name == ALL or name.startswith("."):
        raise CommandError(f'a client\'s name {NAME_RULE}, nor "{ALL}"')
    path, lines = folder / name, [fresh_token()]
    if lasts_seconds is not None:
        lines.append(f"expires {int(time.time() + lasts_seconds)}")
    _put(path, "\n".join(lines), 0o400)
    return path


def write_token(path: Path) -> bool:
    """Write a fresh token to a file that agents may read; False if one is there already.

    Raises:
        CommandError: The file cannot be written.
    """
    if path.is_file() and path.stat().st_size:
        return False
    _put(path, fresh_token(), 0o444)
    return True


def _put(path: Path, text: str, mode: int) -> None:
    """Replace a file, whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        with open(handle, "w", encoding="ascii") as file:  # noqa: PTH123  # a descriptor, not a path
            file.write(text + "\n")
        temporary.chmod(mode)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        reason = (error.strerror or "unknown").lower()
        raise CommandError(f"the token cannot be written to {path}: {reason}") from error
