"""``relay token``: fresh client tokens."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from typing import Final

from relay.commands import CommandError

TOKEN_BYTES: Final = 32


def fresh_token() -> str:
    """Return a new client token: 256 bits, in letters that need no quoting."""
    return f"relay-{secrets.token_urlsafe(TOKEN_BYTES)}"


def write_token(path: Path) -> bool:
    """Write a fresh token to a file that agents may read; False if one is there already.

    Raises:
        CommandError: The file cannot be written.
    """
    if path.is_file() and path.stat().st_size:
        return False
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(fresh_token() + "\n", encoding="ascii")
        temporary.chmod(0o444)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        reason = (error.strerror or "unknown").lower()
        raise CommandError(f"the token cannot be written to {path}: {reason}") from error
    return True
