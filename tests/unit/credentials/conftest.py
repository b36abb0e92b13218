"""A file that follows the test's clock, and runs of a command that the test plays."""

from pathlib import Path

import pytest

from relay.config import FileSource
from relay.credentials import command_value as command_module
from relay.credentials import credential as credential_module
from relay.credentials import file as file_module
from relay.credentials import looks, sources
from relay.credentials import reading as reading_module
from relay.credentials.command import Command
from relay.credentials.reading import Reading, Result
from tests.harness.clock import SetClock
from tests.unit.credentials.values import OLD, Runs, Secret


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """The clock that the credentials look at."""
    clock = SetClock(1000.0)
    for module in (credential_module, command_module, reading_module, file_module, looks):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def secret(tmp_path: Path, clock: SetClock) -> Secret:
    """A file that holds the old value, and was written a while ago."""
    secret = Secret(tmp_path / "key", clock)
    secret.write(f"{OLD}\n")
    clock.now += 10
    return secret


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[FileSource]:
    """Which files were read, not merely looked at."""
    seen: list[FileSource] = []

    def read_file(source: FileSource, fields: tuple[str, ...]) -> Reading:
        seen.append(source)
        return sources.read_file(source, fields)

    monkeypatch.setattr(file_module, "read_file", read_file)
    return seen


@pytest.fixture
def results() -> list[Result]:
    """What was told of further readings."""
    return []


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """What becomes of the commands' runs."""
    runs = Runs()
    monkeypatch.setattr(Command, "run", lambda _: runs())
    return runs
