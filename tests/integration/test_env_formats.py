"""Variables as a POSIX shell reads them."""

import subprocess

import pytest

from relay.commands.env_formats import Environment, failure, shell
from tests.unit.commands.test_env_formats import VALUES, of


@pytest.mark.parametrize("value", VALUES)
def test_shell_is_read_back(value: str) -> None:
    """By a POSIX shell, which takes nothing in it for a command."""
    script = "\n".join(["set -eu", *shell(of(value)), 'printf "%s|%s" "$A" "$B"'])
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{value}|c"


def test_shell_is_read_back_without_quotes_too() -> None:
    """An eval of which someone forgot the quotes still sets all of it."""
    lines = "\n".join(shell(of("http://[::1]:8484/a")))
    script = 'set -eu; eval $LINES_; printf "%s|%s" "$A" "$B"'
    done = subprocess.run(
        ["sh", "-c", script],
        env={"LINES_": lines},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "http://[::1]:8484/a|c"


def test_failure_stops_what_follows_in_a_shell() -> None:
    """With quotes and without."""
    for evaluated in ('eval "$(echo $LINE)"', "eval $(echo $LINE)"):
        script = f"{evaluated} && echo started"
        environment = {"LINE": failure("shell")}
        done = subprocess.run(
            ["sh", "-c", script], env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (1, "")


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
