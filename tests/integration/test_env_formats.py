"""Variables as a POSIX shell reads them."""

import subprocess

import pytest

from relay.commands.env_formats import Environment, shell
from tests.unit.commands.test_env_formats import VALUES, of


@pytest.mark.parametrize("value", VALUES)
def test_shell_is_read_back(value: str) -> None:
    """By a POSIX shell, which takes nothing in it for a command."""
    script = "\n".join(["set -eu", *shell(of(value)), 'printf "%s|%s" "$A" "$B"'])
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{value}|c"


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, "10.84.84.1"), ("", "10.84.84.1"), ("corp,a b", "corp,a b,10.84.84.1")],
)
def test_shell_adds_to_what_need_not_go_through_a_proxy(before: str | None, after: str) -> None:
    """What else goes past the proxy still does."""
    lines = shell(Environment({"NO_PROXY": "10.84.84.1"}))
    script = "\n".join(["set -eu", *lines, 'printf "%s" "$NO_PROXY"'])
    environment = {} if before is None else {"NO_PROXY": before}
    done = subprocess.run(
        ["sh", "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == after
