"""What ``relay env`` prints, read back by docker run and by Docker Compose themselves."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.commands.env_formats import Environment, compose, docker, dotenv

IMAGE = "python:3.13-slim-trixie"
VALUES = {
    "PLAIN": "relay-Zk3Nw8Qx5Tb1Lm7Vc4Rj9Hd2Gf6Ys0Pa_Eu-oIiUuYt",
    "URL": "http://[::1]:8484/relay/anthropic",
    "DOLLAR": "a$HOME${HOME}$$b",
    "HASH": "a #b",
    "DOUBLE": 'a"b',
    "BACKSLASH": "a\\b\\n",
    "APOSTROPHE": "it's",
    "COMMAND": "`id`$(id)",
}
PRINT = f"import json, os; print(json.dumps([os.environ[name] for name in {list(VALUES)}]))"
ENVIRONMENT = Environment(VALUES, ("a note",))


def run(*command: str) -> list[str]:
    """Run a command of Docker's whose container prints the values."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_docker_run_reads_its_notation(tmp_path: Path) -> None:
    """Every character as it stands."""
    file = tmp_path / "agent.env"
    file.write_text("\n".join(docker(ENVIRONMENT)))
    command = ["docker", "run", "--rm", "--network", "none", "--env-file", str(file)]
    assert run(*command, IMAGE, "python", "-c", PRINT) == list(VALUES.values())


def as_env_file(folder: Path) -> str:
    """Write the dotenv file and return the service's line for it."""
    (folder / "agent.env").write_text("\n".join(dotenv(ENVIRONMENT)))
    return "env_file: agent.env"


def as_environment(folder: Path) -> str:
    """Return the compose file's own lines."""
    return "\n    ".join(compose(ENVIRONMENT))


@pytest.mark.parametrize("write", [as_env_file, as_environment])
def test_compose_reads_its_notations(tmp_path: Path, write: Callable[[Path], str]) -> None:
    """A dotenv file, and what is pasted into a service."""
    file = tmp_path / "compose.yaml"
    service = f"image: {IMAGE}\n    network_mode: none\n    {write(tmp_path)}"
    file.write_text(f"name: relay-e2e-notations\nservices:\n  agent:\n    {service}\n")
    command = ["docker", "compose", "-f", str(file), "run", "--rm", "-T", "agent"]
    assert run(*command, "python", "-c", PRINT) == list(VALUES.values())
