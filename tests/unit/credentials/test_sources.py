"""Reading a variable or a file once: a value, or a plain reason why there is none."""

import json
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.config import CommandSource, EnvSource, FileSource
from relay.credentials.reading import Reading, usable
from relay.credentials.sources import VALUE_LIMIT_BYTES, describe, read_environment, read_file

SECRET = "sk-ant-api03-Jr7Wm2Kx9Qv4Tz1Lb6Nc8Hd3Gf5Ys-pA0eUo"
FUSE_SECONDS = 20.0


def from_file(path: Path, json_path: str | None = None) -> Reading:
    """Read a file."""
    return read_file(FileSource(file=str(path), json_path=json_path))


# Values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (SECRET, SECRET),
        (f" \t{SECRET}\r\n\n", SECRET),
        ("a b~!", "a b~!"),
        ("", None),
        (" \n", None),
        ("a\nb", None),
        ("a\tb", None),
        ("a\x00b", None),
        ("a\x7f", None),
        ("caf\xe9", None),
        (f"\ufeff{SECRET}", SECRET),
        (f" \ufeff {SECRET}\n", SECRET),
        ("\ufeff", None),
        ("\ufeff\ufeffkey", None),
        ("key\ufeff", None),
    ],
)
def test_value_is_one_line_that_a_header_may_hold(text: str, value: str | None) -> None:
    """Stripped of the white space around it and of an editor's mark; anything else is no value."""
    assert usable(text) == value


def test_reading_does_not_show_its_value() -> None:
    """In logs and tracebacks, only why there is none."""
    assert SECRET not in repr(Reading(SECRET))
    assert "is empty" in repr(Reading(problem="is empty"))


# Variables


def test_variable_has_a_value() -> None:
    """Stripped, as everywhere."""
    assert read_environment(EnvSource(env="A"), {"A": f" {SECRET}\n"}) == Reading(SECRET)


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({}, "is not set"),
        ({"B": SECRET}, "is not set"),
        ({"A": ""}, "is not set"),
        ({"A": " \n"}, "is not set"),
        (
            {"A": f"{SECRET}\n{SECRET}"},
            "holds a line break, or another character that no header may",
        ),
        ({"A": f"{SECRET}\xe9"}, "holds a line break, or another character that no header may"),
    ],
)
def test_variable_without_a_usable_value_says_why(
    environment: dict[str, str], problem: str
) -> None:
    """Unset and empty are one: compose passes empty ones."""
    assert read_environment(EnvSource(env="A"), environment) == Reading(problem=problem)


def test_byte_order_mark_is_no_part_of_a_variables_value() -> None:
    """A shell may have read it from a file that has one."""
    assert read_environment(EnvSource(env="A"), {"A": f"\ufeff{SECRET}"}) == Reading(SECRET)


# Files


def test_file_has_a_value(tmp_path: Path) -> None:
    """Stripped, as everywhere."""
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    assert from_file(file) == Reading(SECRET)


def test_byte_order_mark_is_no_part_of_a_value(tmp_path: Path) -> None:
    """Editors write one, and nobody sees it, in a file of text or of JSON."""
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\r\n", encoding="utf-8-sig")
    assert from_file(file) == Reading(SECRET)
    file.write_text(json.dumps({"a": {"b": SECRET}}), encoding="utf-8-sig")
    assert from_file(file, "a.b") == Reading(SECRET)


def test_file_of_mode_0400_can_be_read_by_its_owner(tmp_path: Path) -> None:
    """As one keeps a key."""
    file = tmp_path / "key"
    file.write_text(SECRET)
    file.chmod(0o400)
    assert from_file(file) == Reading(SECRET)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"\xff\xfe", "is not text"),
        (
            f"{SECRET}\n{SECRET}\n".encode(),
            "holds a line break, or another character that no header may",
        ),
        (f"{SECRET}\ufeff".encode(), "holds a line break, or another character that no header may"),
        (SECRET.encode("utf-16"), "is not text"),
        (b"\xef\xbb\xbf\r\n", "is empty"),
    ],
)
def test_file_without_a_usable_value_says_why(tmp_path: Path, content: bytes, problem: str) -> None:
    """Without a word of what is in it."""
    file = tmp_path / "key"
    file.write_bytes(content)
    assert from_file(file) == Reading(problem=problem)


def test_missing_file_says_so(tmp_path: Path) -> None:
    """It may come yet."""
    assert from_file(tmp_path / "key").problem == "is not there"
    assert from_file(tmp_path / "folder/key").problem == "is not there"


def test_file_of_somebody_else_says_who_cannot_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The uid is what one has to know to mend it."""

    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr("relay.credentials.sources.os.open", refuse)
    assert from_file(tmp_path / "key").problem == f"cannot be read by uid {os.geteuid()}"


def test_named_pipe_does_not_hang(tmp_path: Path) -> None:
    """Nobody may ever write to it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # A writer would let a reader go on that waits for one.
    fuse = threading.Timer(FUSE_SECONDS, pipe.write_text, [SECRET])
    fuse.start()
    assert from_file(pipe).problem == "cannot be read"
    assert fuse.is_alive()
    fuse.cancel()


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/"])
def test_what_is_no_file_is_not_read(path: str) -> None:
    """A device may never end."""
    assert from_file(Path(path)).problem == "cannot be read"


def test_huge_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    """A mistaken path must not fill the memory."""
    file = tmp_path / "huge"
    file.write_bytes(b"a" * VALUE_LIMIT_BYTES + b"\n\n")
    assert from_file(file) == Reading("a" * VALUE_LIMIT_BYTES)


JSON = '{"a": {"b": {"c": " %s\\n"}, "n": 5, "e": "", "l": ["x"], "u": "\u00e9"}, "a.b": "no"}'


@pytest.mark.parametrize(
    ("path", "reading"),
    [
        ("a.b.c", Reading(SECRET)),
        ("a.b", Reading(problem="has no text at that path")),
        ("a.b.d", Reading(problem="has no text at that path")),
        ("a.b.c.d", Reading(problem="has no text at that path")),
        ("a.n", Reading(problem="has no text at that path")),
        ("a.l.0", Reading(problem="has no text at that path")),
        ("a..b", Reading(problem="has no text at that path")),
        ("a.e", Reading(problem="has no usable value at that path")),
        ("a.u", Reading(problem="has no usable value at that path")),
    ],
)
def test_value_may_stand_within_json(tmp_path: Path, path: str, reading: Reading) -> None:
    """At a dotted path, as in a tool's own credentials file."""
    file = tmp_path / "credentials.json"
    file.write_text(JSON % SECRET, encoding="utf-8")
    assert from_file(file, path) == reading


@pytest.mark.parametrize("content", ["", "{", f'{{"a": "{SECRET}', SECRET, "[" * 100_000])
def test_broken_json_is_said_to_be(tmp_path: Path, content: str) -> None:
    """Without a word of what is in it."""
    file = tmp_path / "credentials.json"
    file.write_text(content)
    assert from_file(file, "a") == Reading(problem="is not valid JSON")


@pytest.mark.parametrize("content", ["[]", '"text"', "5", "null"])
def test_json_of_another_kind_has_no_path(tmp_path: Path, content: str) -> None:
    """Only objects have keys."""
    file = tmp_path / "credentials.json"
    file.write_text(content)
    assert from_file(file, "a") == Reading(problem="has no text at that path")


@pytest.mark.parametrize(
    ("beside", "expires_at"),
    [
        ('"expiresAt": 1700000000000', 1_700_000_000),
        ('"expiresAt": 1700000000500.0', 1_700_000_000.5),
        ('"expiresAt": "soon"', None),
        ('"expiresAt": true', None),
        ('"expiresAt": null', None),
        ('"expiresAt": 0', None),
        ('"expiresAt": -1', None),
        ('"expiresAt": 1e300', None),
        ('"expiresAt": NaN', None),
        ('"expires": 1700000000000', None),
    ],
)
def test_login_has_an_end_where_its_file_says_so(
    tmp_path: Path, beside: str, expires_at: float | None
) -> None:
    """Beside the value, in milliseconds, as Claude Code writes it; nothing else is believed."""
    file = tmp_path / "credentials.json"
    file.write_text(f'{{"login": {{"token": "{SECRET}", {beside}}}, "expiresAt": 5}}')
    assert from_file(file, "login.token") == Reading(SECRET, expires_at=expires_at)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody on this host can enter."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.parametrize(
    ("mode", "readable"),
    [
        (0o644, True),
        (0o664, True),
        (0o666, True),
        (0o604, True),
        (0o444, False),
        (0o440, False),
        (0o640, False),
        (0o600, False),
        (0o400, False),
    ],
)
def test_file_left_open_to_others_is_known(open_folder: Path, mode: int, readable: bool) -> None:
    """By its mode; read-only for its owner too it is so by design, as mounted secrets are."""
    file = open_folder / "key"
    file.write_text(SECRET)
    file.chmod(mode)
    assert from_file(file) == Reading(SECRET, readable_by_all=readable)


def test_file_in_a_closed_folder_is_open_to_nobody(open_folder: Path) -> None:
    """Wherever on the way to it, and by whatever name it was reached."""
    (open_folder / "closed/inner").mkdir(parents=True)
    (open_folder / "closed").chmod(0o750)
    file = open_folder / "closed/inner/key"
    file.write_text(SECRET)
    (open_folder / "link").symlink_to(file)
    assert not from_file(file).readable_by_all
    assert not from_file(open_folder / "link").readable_by_all


def test_file_of_somebody_else_is_theirs_to_close(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be that the relay could not read it otherwise."""
    (open_folder / "key").write_text(SECRET)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert not from_file(open_folder / "key").readable_by_all


# For users


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (EnvSource(env="A_KEY"), "$A_KEY"),
        (FileSource(file="/run/key"), "/run/key"),
        (FileSource(file="/run/key", json_path="a.b"), "/run/key (a.b)"),
        (CommandSource(command=("/usr/bin/pass", "show", SECRET)), "the command pass"),
    ],
)
def test_source_is_described_without_arguments(
    source: EnvSource | FileSource | CommandSource, text: str
) -> None:
    """A command's arguments may hold a secret."""
    assert describe(source) == text
