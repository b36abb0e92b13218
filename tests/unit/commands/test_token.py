"""What ``relay token`` makes and writes."""

import re
import time
from pathlib import Path

import pytest

from relay.commands import CommandError
from relay.commands.token import fresh_token, write_client, write_token
from relay.credentials.folder import TokenFolder
from tests.harness.agent_yaml import TOKEN


def test_tokens_are_long_fresh_and_plain() -> None:
    """256 bits, of letters that need no quoting anywhere."""
    tokens = {fresh_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"relay-[A-Za-z0-9_-]{43}", token) for token in tokens)


def test_token_is_written_for_everybody_who_mounts_the_volume(tmp_path: Path) -> None:
    """Readable by any user, writable by none, and whole from the start."""
    file = tmp_path / "relay_token"
    assert write_token(file)
    assert re.fullmatch(r"relay-[A-Za-z0-9_-]{43}\n", file.read_text())
    assert file.stat().st_mode & 0o777 == 0o444
    assert list(tmp_path.iterdir()) == [file]


def test_token_that_is_there_is_kept(tmp_path: Path) -> None:
    """A restart must not lock the agents out."""
    file = tmp_path / "relay_token"
    file.write_text(TOKEN)
    assert not write_token(file)
    assert file.read_text() == TOKEN


def test_empty_token_file_is_filled(tmp_path: Path) -> None:
    """Somebody's touch is no token."""
    file = tmp_path / "relay_token"
    file.touch()
    assert write_token(file)
    assert file.stat().st_size


def test_token_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """With the file and the reason, and without the token."""
    file = tmp_path / "nowhere/relay_token"
    with pytest.raises(CommandError, match=f"cannot be written to {file}: no such file") as caught:
        write_token(file)
    assert "relay-" not in str(caught.value)


def test_a_client_is_written_into_its_folder(tmp_path: Path) -> None:
    """For its owner alone, in place of one that is there, and whole from the start."""
    folder = TokenFolder("sandbox", str(tmp_path))
    tokens = []
    for lasts in (None, 60.0):
        path = write_client(tmp_path, "job-1", lasts)
        assert path == tmp_path / "job-1"
        assert path.stat().st_mode & 0o777 == 0o400
        token, *rest = path.read_text().splitlines()
        tokens.append(token)
        assert folder.owner(token.encode()) == "job-1"
    assert folder.owner(tokens[0].encode()) is None
    (expires,) = rest
    assert 0 <= int(expires.removeprefix("expires ")) - time.time() <= 60
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "none", "all", f"sk-ant-{'a1' * 9}"])
def test_a_name_that_no_client_can_have_is_refused(tmp_path: Path, name: str) -> None:
    """A relay would leave it out."""
    with pytest.raises(CommandError, match="a client's name must be letters, digits"):
        write_client(tmp_path, name, None)
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """With the file and the reason."""
    with pytest.raises(CommandError, match="nowhere/job-1: no such file"):
        write_client(tmp_path / "nowhere", "job-1", None)
