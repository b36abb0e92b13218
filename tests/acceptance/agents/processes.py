"""What any account of this host sees of processes, and what their own sees besides."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Seen:
    """A process."""

    command: str
    """Its command line, which everybody may read."""
    environment: dict[str, str]


def started_by(pid: int) -> list[Seen]:
    """Return the processes that one has started, and those that these have."""
    return list(_seen(_descendants(pid)))


def command_of(pid: int) -> str:
    """Return a process's command line."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


def _seen(pids: list[int]) -> Iterator[Seen]:
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            lines = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
            pairs = (line.partition("=") for line in lines if line)
            yield Seen(command_of(pid), {name: text for name, _, text in pairs})


def _descendants(pid: int) -> list[int]:
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The program's name may hold blanks and brackets.
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]
