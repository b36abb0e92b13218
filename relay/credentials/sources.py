"""Reads a variable or a file that holds a secret, once.

A reading is a value or the plain reason why there is none. Values are stripped of white
space and of the byte order mark that some editors begin a file with. Reasons name variables
and files, never contents. Commands are `command`'s.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from relay.config import CommandSource, EnvSource, FileSource

NOT_SET: Final = "is not set"
NOT_THERE: Final = "is not there"
_MARK: Final = "\ufeff"
# No credential is larger; a mistaken path to something huge must not fill the memory.
VALUE_LIMIT_BYTES: Final = 1024 * 1024
# The end of the year 9999, beyond which no date can be shown.
_LATEST_MILLISECONDS: Final = 253_402_300_800_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source held: a value, or the reason for none."""

    value: str | None = field(default=None, repr=False)
    problem: str = ""
    certain: bool = True
    """Whether it was looked at, and not just out of reach for a moment."""
    expires_at: float | None = None
    """When the value ends, in Unix seconds, where that is said beside it."""
    readable_by_all: bool = False
    """Whether everybody on this host can read the file, and its owner, the relay, can mend it."""


Result = Literal["changed", "unchanged", "failed"]
"""What came of reading a source again."""


def compare(before: Reading, after: Reading) -> Result:
    """Return what came of a further reading."""
    if after.value is None:
        return "failed"
    return "unchanged" if after.value == before.value else "changed"


def describe(source: EnvSource | FileSource | CommandSource) -> str:
    """Return where the value should come from, as one would tell a user."""
    if isinstance(source, EnvSource):
        return f"${source.env}"
    if isinstance(source, FileSource):
        return f"{source.file} ({source.json_path})" if source.json_path else source.file
    return f"the command {os.path.basename(source.command[0])}"  # noqa: PTH119  # not a path of ours


def usable(text: str) -> str | None:
    """Return a text's value: without white space around it, or None where no header may hold it."""
    text = text.strip().removeprefix(_MARK).strip()
    return text if text and text.isascii() and text.isprintable() else None


def read_environment(source: EnvSource, environment: Mapping[str, str]) -> Reading:
    """Read a variable; an empty one has no value."""
    text = environment.get(source.env, "")
    if not text.strip():
        return Reading(problem=NOT_SET)
    value = usable(text)
    return Reading(value) if value else Reading(problem="holds characters that no header may")


def read_file(source: FileSource) -> Reading:
    """Read a file, or what stands at a dotted path in its JSON."""
    try:
        content, status = _read_regular_file(source.file)
    except FileNotFoundError:
        return Reading(problem=NOT_THERE)
    except PermissionError:
        return Reading(problem=f"cannot be read by uid {os.geteuid()}", certain=False)
    except OSError:
        return Reading(problem="cannot be read", certain=False)
    except UnicodeDecodeError:
        return Reading(problem="is not text")
    json_path = source.json_path
    reading = _read_text(content) if json_path is None else _read_json(content, json_path)
    return replace(reading, readable_by_all=_is_readable_by_all(source.file, status))


def _is_readable_by_all(path: str, status: os.stat_result) -> bool:
    """Whether a file of the relay's own was left open to others, by their way to it too.

    What is another's, or read-only for its owner as well, is so by design: secrets that Docker
    and Kubernetes mount, and files that agents read. And it could not be mended from here.
    """
    left_open = status.st_mode & stat.S_IROTH and status.st_mode & stat.S_IWUSR
    if not left_open or status.st_uid != os.geteuid():
        return False
    try:
        folders = Path(os.path.realpath(path)).parents
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in folders)
    except OSError:
        return False


def _read_text(content: str) -> Reading:
    if not content.strip():
        return Reading(problem="is empty")
    value = usable(content)
    return Reading(value) if value else Reading(problem="holds characters that no header may")


def read_text(path: str) -> str:
    """Return a file's text.

    Raises:
        OSError: It is no file, or cannot be read.
        UnicodeDecodeError: It is no text.
    """
    return _read_regular_file(path)[0]


def _read_regular_file(path: str) -> tuple[str, os.stat_result]:
    # O_NONBLOCK: a named pipe in its place must not hang the relay.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor, not a path
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
        return file.read(VALUE_LIMIT_BYTES).decode("utf-8-sig"), status


def _read_json(content: str, path: str) -> Reading:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return Reading(problem="is not valid JSON")
    beside: object = None
    for key in path.split("."):
        beside = data
        data = data.get(key) if isinstance(data, dict) else None
    if not isinstance(data, str):
        return Reading(problem="has no text at that path")
    value = usable(data)
    if not value:
        return Reading(problem="has no usable value at that path")
    return Reading(value, expires_at=_expiry(beside))


def _expiry(beside: object) -> float | None:
    """Return when a value ends by the ``expiresAt`` beside it: in ms, as Claude Code writes it."""
    end = beside.get("expiresAt") if isinstance(beside, dict) else None
    if not isinstance(end, (int, float)) or isinstance(end, bool):
        return None
    return end / 1000 if 0 < end < _LATEST_MILLISECONDS else None
