"""Reads a variable or a file that holds a secret, once.

Values are stripped of white space and of the byte order mark that some editors begin a file with.
Reasons for there being none name variables and files, never contents. Commands are `command`'s.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from relay.config import CommandSource, EnvSource, FileSource
from relay.credentials.document import UNUSABLE, VALUE, read_document
from relay.credentials.reading import Reading, usable

NOT_SET: Final = "is not set"
NOT_THERE: Final = "is not there"
# No credential is larger; a mistaken path to something huge must not fill the memory.
VALUE_LIMIT_BYTES: Final = 1024 * 1024


def describe(source: EnvSource | FileSource | CommandSource) -> str:
    """Return where the value should come from, as one would tell a user."""
    if isinstance(source, EnvSource):
        return f"${source.env}"
    if isinstance(source, FileSource):
        place = source.file
    else:
        place = f"the command {os.path.basename(source.command[0])}"  # noqa: PTH119  # not a path of ours
    return f"{place} ({source.json_path})" if source.json_path else place


def read_environment(
    source: EnvSource, environment: Mapping[str, str], fields: tuple[str, ...] = VALUE
) -> Reading:
    """Read a variable; an empty one has no value.

    For several fields it is looked into as a file is: see ``document``.
    """
    text = environment.get(source.env, "")
    if not text.strip():
        return Reading(problem=NOT_SET)
    if fields != VALUE:
        return read_document(text, FileSource(file=source.env), fields)
    value = usable(text)
    return Reading(value) if value else Reading(problem=UNUSABLE)


def read_file(source: FileSource, fields: tuple[str, ...] = VALUE) -> Reading:
    """Read a file, or what stands in its JSON: see ``document``."""
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
    reading = read_document(content, source, fields)
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
