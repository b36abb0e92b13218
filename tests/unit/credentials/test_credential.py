"""The current value of a credential, through every change of its sources.

Time is the test's: the modules' clock is replaced, so that nothing here has to wait.
"""

import asyncio
import json
from pathlib import Path

import pytest

from relay.config import CommandSource, EnvSource, FileSource
from relay.credentials.command_value import CommandValue
from relay.credentials.credential import REFUSED_INTERVAL_SECONDS, Credential
from relay.credentials.reading import Reading, Result
from tests.harness.clock import SetClock
from tests.unit.credentials.values import NEW, OLD, Runs, Secret, finish, soon

# Credentials


def credential_of(*declared: EnvSource | FileSource, **environment: str) -> Credential:
    """Return a credential with these sources under these variables."""
    return Credential("anthropic", declared, environment)


async def test_first_source_that_has_a_value_counts(secret: Secret) -> None:
    """The order is the declaration's."""
    file = FileSource(file=str(secret.path))
    both = credential_of(EnvSource(env="KEY"), file, KEY=NEW)
    assert (both.value(), both.origin()) == (NEW.encode(), "$KEY")
    only_file = credential_of(EnvSource(env="KEY"), file)
    assert (only_file.value(), only_file.origin()) == (OLD.encode(), str(secret.path))
    await both.settle()
    both.refused()
    both.close()
    assert both.value() == NEW.encode()


def test_missing_credential_says_where_it_should_be(secret: Secret) -> None:
    """Each source with its reason."""
    secret.path.unlink()
    credential = credential_of(EnvSource(env="KEY"), FileSource(file=str(secret.path)))
    assert not credential.ready
    assert credential.value() is None
    assert credential.origin() == ""
    assert credential.explain() == f"$KEY is not set, {secret.path} is not there"
    secret.write(NEW)
    assert credential.value() == NEW.encode()
    assert credential.explain() == "$KEY is not set"


def test_of_several_places_for_a_file_the_first_is_named(tmp_path: Path) -> None:
    """Where it might be as well helps nobody; what is wrong elsewhere does."""
    first, second, empty = (FileSource(file=f"{tmp_path}/{name}") for name in "abc")
    (tmp_path / "c").touch()
    credential = credential_of(first, second, empty)
    assert credential.explain() == f"{tmp_path}/a is not there, {tmp_path}/c is empty"


def test_a_variable_that_is_kept_in_a_file_is_followed(tmp_path: Path) -> None:
    """It is named as the variable; a set one goes before it, and a file in secrets after it."""
    secret = tmp_path / "key"
    secret.write_text(OLD)
    declared = (EnvSource(env="KEY"), FileSource(file=str(secret)))
    kept = tmp_path / "KEY"
    credential = credential_of(*declared, RELAY_VARIABLES=str(tmp_path))
    assert credential.value() == OLD.encode()
    kept.write_text(f"{NEW}\n")
    assert credential.value() == NEW.encode()
    assert credential.origin() == "$KEY"
    kept.unlink()
    assert credential.value() == OLD.encode()
    kept.write_text(OLD)
    set_one = credential_of(*declared, RELAY_VARIABLES=str(tmp_path), KEY=NEW)
    assert set_one.value() == NEW.encode()


def test_a_variable_that_is_neither_set_nor_kept_is_not_set(tmp_path: Path) -> None:
    """As if there were no folder."""
    credential = credential_of(EnvSource(env="KEY"), RELAY_VARIABLES=str(tmp_path), KEY=" ")
    assert credential.value() is None
    assert credential.explain() == "$KEY is not set"


@pytest.mark.parametrize(
    ("declared", "remedy"),
    [
        ((EnvSource(env="KEY"),), "set $KEY and restart"),
        ((FileSource(file="/x/key"),), "write /x/key"),
        (
            (EnvSource(env="KEY"), FileSource(file="/x/key"), FileSource(file="/y/key")),
            "set $KEY and restart or write /x/key",
        ),
        (
            (FileSource(file="/run/secrets/key"),),
            "write /run/secrets/key (under compose: in the folder secrets)",
        ),
    ],
)
def test_missing_credential_says_how_to_give_it(
    declared: tuple[EnvSource | FileSource, ...], remedy: str
) -> None:
    """A variable needs a restart, a file does not."""
    assert credential_of(*declared).remedy() == remedy


def test_credential_does_not_show_its_value(secret: Secret) -> None:
    """In no repr and no explanation, of itself or of its parts."""
    file = FileSource(file=str(secret.path))
    credential = credential_of(EnvSource(env="KEY"), file, KEY=NEW)
    assert repr(credential) == "<Credential anthropic ready>"
    assert repr(credential_of(EnvSource(env="KEY"))) == "<Credential anthropic missing>"
    assert credential.value() == NEW.encode()
    parts = [repr(value) for value in credential._values] + [
        repr(vars(value)) for value in credential._values if hasattr(value, "__dict__")
    ]
    shown = " ".join([repr(credential), str(credential), credential.explain(), *parts])
    assert OLD not in shown
    assert NEW not in shown


def test_refused_credential_is_read_again_but_not_too_often(
    secret: Secret, clock: SetClock, reads: list[FileSource]
) -> None:
    """A storm of 401s makes one reading every five seconds."""
    credential = credential_of(FileSource(file=str(secret.path)))
    assert credential.value() == OLD.encode()
    for expected in (2, 3):
        for _ in range(5):
            credential.refused()
            assert credential.value() == OLD.encode()
        assert len(reads) == expected
        clock.now += REFUSED_INTERVAL_SECONDS - 0.1
        credential.refused()
        assert credential.value() == OLD.encode()
        assert len(reads) == expected
        clock.now += 0.1


async def test_refused_command_runs_again_once(clock: SetClock, runs: Runs) -> None:
    """One at a time, and the next call carries the new value."""
    credential = Credential("anthropic", (CommandSource(command=("key",)),), {})
    (value,) = credential._values
    assert isinstance(value, CommandValue)
    settling = asyncio.ensure_future(credential.settle())
    await finish(runs, value, Reading(OLD))
    await soon(settling)
    for _ in range(5):
        credential.refused()
    assert credential.value() == OLD.encode()
    await finish(runs, value, Reading(NEW))
    assert credential.value() == NEW.encode()
    assert runs.count == 2


def test_intervals_are_those_that_are_promised() -> None:
    """Five seconds between readings after a 401."""
    assert REFUSED_INTERVAL_SECONDS == 5


def test_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read once, when the credential is made."""
    monkeypatch.setenv("RELAY_TEST_KEY", OLD)
    credential = Credential("anthropic", (EnvSource(env="RELAY_TEST_KEY"),))
    monkeypatch.setenv("RELAY_TEST_KEY", NEW)
    assert credential.value() == OLD.encode()


def test_readings_are_told_with_the_grants_name(secret: Secret) -> None:
    """A variable is never read again, and so never told of."""
    told: list[tuple[str, Result]] = []

    def on_read(name: str, result: Result) -> None:
        told.append((name, result))

    declared = (EnvSource(env="KEY"), FileSource(file=str(secret.path)))
    credential = Credential("claude", declared, {}, on_read)
    assert credential.value() == OLD.encode()
    secret.replace(NEW)
    assert credential.value() == NEW.encode()
    assert told == [("claude", "changed")]
    fixed = Credential("claude", declared[:1], {"KEY": OLD}, on_read)
    fixed.refused()
    assert fixed.value() == OLD.encode()
    assert told == [("claude", "changed")]


def test_storm_of_401s_is_one_reload(
    secret: Secret, clock: SetClock, reads: list[FileSource]
) -> None:
    """As many as there were readings."""
    told: list[Result] = []
    file = FileSource(file=str(secret.path))
    credential = Credential("claude", (file,), {}, lambda _, result: told.append(result))
    assert credential.value() == OLD.encode()
    for _ in range(20):
        credential.refused()
        assert credential.value() == OLD.encode()
    assert len(reads) == 2
    assert told == ["unchanged"]


# Several headers


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(
    ("text", "fields", "values"),
    [
        (OLD, ("", ""), (OLD, OLD)),
        (json.dumps({"token": OLD, "account": "a-1"}), ("token", "account"), (OLD, "a-1")),
        (json.dumps({"token": OLD}), ("token", "account"), None),
        (OLD, ("token", "account"), None),
    ],
)
def test_a_variable_fills_several_headers(
    tmp_path: Path, text: str, fields: tuple[str, ...], values: tuple[str, ...] | None, kept: bool
) -> None:
    """All of them or none: what names fields is never sent whole."""
    (tmp_path / "CORP").write_text(text)
    environment = {"RELAY_VARIABLES": str(tmp_path)} if kept else {"CORP": text}
    credential = Credential("corp", (EnvSource(env="CORP"),), environment, fields=fields)
    wanted = None if values is None else tuple(each.encode() for each in values)
    assert credential.values() == wanted
    assert (credential.explain() == "") == (values is not None)
    assert OLD not in credential.explain()
