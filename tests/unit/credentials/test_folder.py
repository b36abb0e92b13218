"""Clients that are files of a folder: who they are, as it changes, and who they are not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from relay.credentials import folder as module
from relay.credentials import looks
from relay.credentials.folder import CLIENTS, TokenFolder
from relay.credentials.mounts import may_hang
from tests.harness.clock import SetClock

TOKEN = "relay-Zk3Nw8Qx5Tb1Lm7Vc4Rj9Hd2Gf6Ys0Pa"
OTHER = "relay-Aa1Bb2Cc3Dd4Ee5Ff6Gg7Hh8Ii9Jj0Kk"


def followed(path: Path) -> TokenFolder:
    """Return the clients of a folder."""
    return TokenFolder("sandbox", str(path), ["agent"])


def put(path: Path, text: str = TOKEN) -> Path:
    """Put a file in the place of another, or where there was none."""
    new = path.with_name(f".{path.name}")
    new.write_text(text)
    return new.replace(path)


def test_a_file_is_a_client(tmp_path: Path) -> None:
    """By its name; the token is its first line."""
    put(tmp_path / "one", f"{TOKEN}\n")
    put(tmp_path / "two", OTHER)
    folder = followed(tmp_path)
    assert folder.owner(TOKEN.encode()) == "one"
    assert folder.owner(OTHER.encode()) == "two"
    assert folder.owner(b"relay-of-nobody-at-all") is None
    assert sorted(folder.names()) == ["one", "two"]
    assert TOKEN not in repr(folder)


def test_it_is_followed(tmp_path: Path) -> None:
    """Files that come, change and go, and ones that are written over."""
    folder = followed(tmp_path)
    assert folder.owner(TOKEN.encode()) is None
    path = put(tmp_path / "one")
    assert folder.owner(TOKEN.encode()) == "one"
    put(path, OTHER)
    assert folder.owner(TOKEN.encode()) is None
    assert folder.owner(OTHER.encode()) == "one"
    path.write_text("relay-yet-another-token")
    assert folder.owner(OTHER.encode()) is None
    path.unlink()
    assert folder.owner(b"relay-yet-another-token") is None


def test_what_is_written_over_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which does not change the folder: so whoever is unknown has the files looked at again."""
    path = put(tmp_path / "one")
    long_ago = time.time() - 60
    for each in (path, tmp_path):
        os.utime(each, (long_ago, long_ago))
    folder = followed(tmp_path)
    assert folder.owner(TOKEN.encode()) == "one"
    path.write_text(OTHER)
    monkeypatch.setattr(module, "_AGAIN_SECONDS", 0.0)
    assert folder.owner(OTHER.encode()) == "one"


def test_a_token_that_has_expired_is_nobodys(tmp_path: Path) -> None:
    """By the second line."""
    folder = followed(tmp_path)
    put(tmp_path / "late", f"{TOKEN}\nexpires {int(time.time()) + 60}\n")
    assert folder.owner(TOKEN.encode()) == "late"
    put(tmp_path / "late", f"{TOKEN}\nexpires {int(time.time()) - 1}\n")
    assert folder.owner(TOKEN.encode()) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".hidden", TOKEN),
        ("agent", TOKEN),
        ("all", TOKEN),
        ("none", TOKEN),
        ("sandbox", TOKEN),
        ("a b", TOKEN),
        ("short", "fifteen-letters"),
        ("empty", ""),
        ("more", f"{TOKEN}\nexpires soon"),
        ("binary", "\x00" * 20),
    ],
)
def test_what_is_no_client_is_left_out(tmp_path: Path, name: str, text: str) -> None:
    """Others' names among them, and lines that nobody knows."""
    (tmp_path / name).write_text(text)
    (tmp_path / "folder").mkdir()
    assert list(followed(tmp_path).names()) == []


def test_a_token_in_two_files_is_nobodys(tmp_path: Path) -> None:
    """Which is said, without it."""
    for name in ("one", "two"):
        put(tmp_path / name)
    put(tmp_path / "three", OTHER)
    folder = followed(tmp_path)
    assert folder.owner(TOKEN.encode()) is None
    assert folder.owner(OTHER.encode()) == "three"
    assert folder.problem == "one token is in several files, and nobody's: one and two"


def test_the_first_thousand_count(tmp_path: Path) -> None:
    """By name, of those that are clients."""
    for number in range(CLIENTS + 2):
        (tmp_path / f"c{number:04}").write_text(f"{TOKEN}-{number}" if number else "short")
    names = followed(tmp_path).names()
    assert (len(names), min(names), max(names)) == (CLIENTS, "c0001", f"c{CLIENTS:04}")


def test_a_folder_that_is_not_there_yet_is_said(tmp_path: Path) -> None:
    """And looked at when it is."""
    path = tmp_path / "later"
    folder = followed(path)
    assert folder.owner(TOKEN.encode()) is None
    assert folder.problem == f"{path} is not there yet; its clients get 401"
    path.mkdir()
    put(path / "one")
    assert folder.owner(TOKEN.encode()) == "one"
    assert folder.problem == ""


def test_a_folder_that_may_hang_is_looked_at_by_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first look is waited for, later ones are not."""
    assert not may_hang(str(tmp_path))
    clock = SetClock()
    monkeypatch.setattr(looks, "time", clock)
    monkeypatch.setattr(module, "may_hang", lambda _: True)
    put(tmp_path / "one")
    folder = followed(tmp_path)
    assert folder.owner(TOKEN.encode()) == "one"
    put(tmp_path / "two", OTHER)
    assert folder.owner(OTHER.encode()) is None
    clock.now += looks.APART_SECONDS
    while folder.owner(OTHER.encode()) is None:
        pass
    assert folder.owner(OTHER.encode()) == "two"


def test_a_look_that_failed_is_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is learnt from it, and the next one is begun in its time."""
    monkeypatch.setattr(module, "may_hang", lambda _: True)
    monkeypatch.setattr(looks, "APART_SECONDS", 0.0)
    put(tmp_path / "one")
    failing = [OSError(), MemoryError()]
    listed = os.listdir

    def fail_first(path: str) -> list[str]:
        if failing:
            raise failing.pop()
        return listed(path)

    monkeypatch.setattr(os, "listdir", fail_first)
    folder = followed(tmp_path)
    while folder.owner(TOKEN.encode()) is None:
        pass
    assert folder.owner(TOKEN.encode()) == "one"
