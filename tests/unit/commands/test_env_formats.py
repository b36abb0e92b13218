"""Variables as each program reads them: every notation is read back by its reader."""

import json
import tomllib
from pathlib import Path

import pytest
import yaml
from dotenv import dotenv_values

from relay.commands.env_formats import (
    NOTATIONS,
    Environment,
    codex_options,
    compose,
    docker,
    dotenv,
    failure,
    fish,
    settings,
    toml,
)

TOKEN = "relay-Zk3Nw8Qx5Tb1Lm7Vc4Rj9Hd2Gf6Ys0Pa_Eu-oIiUuYt"
VALUES = ["", TOKEN, "http://[::1]:8484/a", "a b", "#", "$HOME", '"', "it's", "a\\b", "`id`", "x'"]
VALUES += ["a\\", "a\\\\b", "a\\'$b", "\\n"]
NOTE = 'it\'s a note: $HOME `id` "$(id)"'


def of(value: str) -> Environment:
    """Return an environment with that value and another."""
    return Environment({"A": value, "B": "c"}, (NOTE,))


@pytest.mark.parametrize("value", VALUES)
def test_dotenv_is_read_back(tmp_path: Path, value: str) -> None:
    """By python-dotenv."""
    file = tmp_path / ".env"
    file.write_text("\n".join(dotenv(of(value))))
    assert dotenv_values(file, interpolate=False) == {"A": value, "B": "c"}


@pytest.mark.parametrize("value", VALUES)
def test_compose_is_yaml_with_dollars_doubled(value: str) -> None:
    """Compose takes the doubles for single ones."""
    read = yaml.safe_load("\n".join(compose(of(value))))
    assert read == {"environment": {"A": value.replace("$", "$$"), "B": "c"}}


@pytest.mark.parametrize("value", VALUES)
def test_docker_takes_values_as_they_stand(value: str) -> None:
    """It knows no quotes; a test with Docker reads them back."""
    assert list(docker(of(value))) == [f"# {NOTE}", f"A={value}", "B=c"]


def test_plain_values_are_not_quoted_in_dotenv() -> None:
    """A file of them suits docker run --env-file as well."""
    plain = Environment({"A": TOKEN, "B": "http://[::1]:1/x"})
    assert list(dotenv(plain)) == list(docker(plain)) == [f"A={TOKEN}", "B=http://[::1]:1/x"]


@pytest.mark.parametrize("value", VALUES)
def test_settings_hold_the_variables_and_stop_the_preflight(value: str) -> None:
    """It is a setting and no variable."""
    assert json.loads("\n".join(settings(of(value)))) == {
        "env": {"A": value, "B": "c"},
        "skipWebFetchPreflight": True,
    }


def test_codex_gets_its_provider_and_not_the_token() -> None:
    """Nothing else calls out."""
    environment = Environment({"OPENAI_API_KEY": TOKEN}, openai_url="http://h:1/relay/o/v1")
    text = "\n".join(toml(environment))
    assert TOKEN not in text
    assert tomllib.loads(text) == {
        "model_provider": "relay",
        "check_for_update_on_startup": False,
        "model_providers": {
            "relay": {
                "name": "relay",
                "base_url": "http://h:1/relay/o/v1",
                "env_key": "OPENAI_API_KEY",
                "wire_api": "responses",
                "supports_websockets": False,
            }
        },
        "analytics": {"enabled": False},
        "features": {"plugins": False},
    }


def test_codex_takes_the_same_on_its_command_line() -> None:
    """Each key of its file, dotted, with its value as TOML."""
    environment = Environment({}, openai_url="http://h:1/relay/o/v1")
    options = codex_options(environment)
    assert set(options[::2]) == {"-c"}
    read = tomllib.loads("\n".join(options[1::2]))
    assert read == tomllib.loads("\n".join(toml(environment)))


def test_fish_quotes_its_own_way() -> None:
    """In single quotes it knows two escapes; lists are added to."""
    lines = list(fish(Environment({"A": "it's a\\b $HOME", "NO_PROXY": "h"}, (NOTE,))))
    assert lines == [
        "set -gx A 'it\\'s a\\\\b $HOME';",
        "set -gx NO_PROXY (string join -n , -- $NO_PROXY 'h');",
    ]


@pytest.mark.parametrize("notation", NOTATIONS)
def test_failure_is_nothing_that_a_reader_takes(tmp_path: Path, notation: str) -> None:
    """A command that fails, a name with blanks, and no JSON, TOML or mapping."""
    line = failure(notation)
    if notation in ("shell", "fish"):
        assert line == "false"
        return
    assert " " in line.partition("=")[0]
    (tmp_path / ".env").write_text(line)
    assert dotenv_values(tmp_path / ".env") == {}
    assert not isinstance(yaml.safe_load(line), dict)
    with pytest.raises(json.JSONDecodeError):
        json.loads(line)
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads(line)
