"""Client tokens that are files of a folder, followed as they come, change and go.

A file is a client: named as the file, its first line the token, ``expires`` and Unix seconds the
second. The folder is looked at on every question (one ``stat``), the files when it changed; the
one whose token is shown, each time. What may hang is looked at by a thread, once a second.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from relay.config.limits import ALL
from relay.config.values import is_name
from relay.credentials.looks import RACY_NANOSECONDS, LooksApart, Turn
from relay.credentials.mounts import may_hang
from relay.credentials.reading import usable
from relay.credentials.sources import read_text

TOKEN_LENGTH: Final = 16
"""Characters that a token has at least."""
CLIENTS: Final = 1_000
"""The files that count: the first by name."""
# A token that nobody has may be in a file that was written over: that does not change the folder.
_AGAIN_SECONDS: Final = 0.1
_EXPIRES: Final = re.compile(r"expires (\d{1,12})", re.ASCII)

_Stamp = tuple[int, ...]


class _Entry(NamedTuple):
    """A file of the folder."""

    stamp: _Stamp
    digest: bytes | None
    """Of its token; None where it has none that counts."""
    expires: float | None


@dataclass(frozen=True, slots=True)
class _Contents:
    """What a look at the folder has found."""

    stamp: _Stamp | None = None
    entries: Mapping[str, _Entry] = field(default_factory=dict)
    owners: Mapping[bytes, str] = field(default_factory=dict)
    """The names of clients, by their tokens' digests."""
    names: Collection[str] = ()
    """The same names, where each call finds one without going through all."""
    problem: str = ""


class TokenFolder:
    """The clients of one folder."""

    def __init__(self, name: str, path: str, reserved: Collection[str] = ()) -> None:
        """Follow a folder; ``reserved`` names are those of other clients."""
        self.name = name
        self._path = path
        self._reserved = frozenset((*reserved, name, ALL))
        self._contents = _Contents()
        self._looked_at = float("-inf")
        self._turn = Turn()
        self._apart = may_hang(path)
        self._looks = LooksApart(self._look_now)

    def __repr__(self) -> str:
        return f"<TokenFolder {self.name}: {len(self._contents.owners)} clients>"

    def owner(self, token: bytes) -> str | None:
        """Return whose token this is, unless it has expired."""
        self._follow()
        digest = _digest(token)
        name = self._contents.owners.get(digest)
        if not self._apart and self._is_doubtful(name):
            self._take(self._look_now())
            name = self._contents.owners.get(digest)
        if name is None:
            return None
        expires = self._contents.entries[name].expires
        return name if expires is None or time.time() < expires else None

    def names(self) -> Collection[str]:
        """Return the names of the clients there are."""
        self._follow()
        return self._contents.names

    @property
    def problem(self) -> str:
        """What is wrong with it; empty while nothing is."""
        self._follow()
        return self._contents.problem

    def _is_doubtful(self, name: str | None) -> bool:
        """Whether a file may say otherwise by now than it was read to say."""
        if name is not None:
            return _stamp(f"{self._path}/{name}") != self._contents.entries[name].stamp
        return time.monotonic() - self._looked_at >= _AGAIN_SECONDS

    def _follow(self) -> None:
        if self._apart:
            self._contents = self._looks.latest() or self._contents
        elif not self._turn.seen:
            stamp = _stamp(self._path)
            if stamp is None or stamp != self._contents.stamp or _is_racy(stamp):
                self._take(self._look_now())
            self._turn.see()

    def _take(self, contents: _Contents) -> None:
        self._contents = contents
        self._looked_at = time.monotonic()

    def _look_now(self) -> _Contents:
        stamp = _stamp(self._path)
        try:
            names = sorted(name for name in os.listdir(self._path) if self._counts(name))  # noqa: PTH208  # names, not paths
        except OSError as error:
            return _Contents(problem=f"{self._path} {_why(error)}")
        entries: dict[str, _Entry] = {}
        for name in names:
            entry = self._read(name)
            if entry is not None and len(entries) < CLIENTS:
                entries[name] = entry
        return _contents(stamp, entries)

    def _counts(self, name: str) -> bool:
        return not name.startswith(".") and is_name(name) and name not in self._reserved

    def _read(self, name: str) -> _Entry | None:
        """Return what a file says; None where it is no client's."""
        path = f"{self._path}/{name}"
        stamp, known = _stamp(path), self._contents.entries.get(name)
        if stamp is None:
            return None
        if known is not None and known.stamp == stamp and not _is_racy(stamp):
            return known
        try:
            text = read_text(path)
        except (OSError, UnicodeDecodeError):
            return None
        return _entry(stamp, text)


def folder_with(client: str, folders: Iterable[TokenFolder]) -> TokenFolder | None:
    """Return the folder that a client is of: a name that is in several is of the first."""
    return next((folder for folder in folders if client in folder.names()), None)


def labels_of(clients: Iterable[str], folders: Iterable[TokenFolder]) -> dict[str, str]:
    """Return what metrics call each client: its name, or of a folder's the folder's."""
    labels = {name: name for name in clients}
    for folder in folders:
        for name in folder.names():
            labels.setdefault(name, folder.name)
    return labels


def _entry(stamp: _Stamp, text: str) -> _Entry | None:
    first, _, rest = text.strip().partition("\n")
    token, rest = usable(first), rest.strip()
    expires = _EXPIRES.fullmatch(rest)
    if token is None or len(token) < TOKEN_LENGTH or (rest and expires is None):
        return None
    return _Entry(stamp, _digest(token.encode()), float(expires[1]) if expires else None)


def _contents(stamp: _Stamp | None, entries: Mapping[str, _Entry]) -> _Contents:
    """Return the clients; a token that is in two files is nobody's."""
    names: dict[bytes, list[str]] = {}
    for name, entry in entries.items():
        if entry.digest is not None:
            names.setdefault(entry.digest, []).append(name)
    owners = {digest: each[0] for digest, each in names.items() if len(each) == 1}
    doubled = [" and ".join(each) for each in names.values() if len(each) > 1]
    problem = f"one token is in several files, and nobody's: {'; '.join(doubled)}"
    clients = dict.fromkeys(owners.values())
    return _Contents(stamp, entries, owners, clients, problem if doubled else "")


def _digest(token: bytes) -> bytes:
    """Return what stands for a token: how long a search for it takes tells nothing of others."""
    return hashlib.sha256(token).digest()


def _stamp(path: str) -> _Stamp | None:
    try:
        status = os.stat(path)  # noqa: PTH116  # on every call: no Path objects
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode)


def _is_racy(stamp: _Stamp) -> bool:
    """Whether something may have changed since, without its time stamp moving."""
    return time.time_ns() - stamp[2] < RACY_NANOSECONDS


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "is not there yet; its clients get 401"
    return f"cannot be read: {(error.strerror or 'unknown').lower()}"
