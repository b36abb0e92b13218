"""The command line: what it takes, and what it says to a word that it does not know."""

import shlex

import pytest

from relay import DOCS
from relay.cli import COMMANDS
from relay.commands.arguments import EXAMPLES, parser

Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("chek", "there is no 'chek'; did you mean check?"),
        ("help tup", "there is no 'tup'; did you mean top?"),
        ("env codx", "there is no 'codx'; did you mean codex?"),
        ("env --format yaml", "there is no 'yaml'; choose from dotenv, "),
        ("top --intervall=2", "unrecognized arguments: --intervall=2; did you mean --interval?"),
        ("check a.yaml b.yaml", "unrecognized arguments: b.yaml\n"),
        ("--versio2", "unrecognized arguments: --versio2; did you mean --version?"),
        ("xyzzy", "there is no 'xyzzy'; choose from serve, init, "),
    ],
)
def test_what_was_probably_meant_is_named(line: str, said: str, capsys: Output) -> None:
    """Else what there is to choose from."""
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(line.split())
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_an_option_unknown_to_a_command_shows_that_commands_usage(capsys: Output) -> None:
    """Not that of all commands."""
    with pytest.raises(SystemExit):
        parser().parse_args(["top", "--nope"])
    assert capsys.readouterr().err.startswith("usage: relay top ")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_and_says_where_the_docs_are(command: str, capsys: Output) -> None:
    """Each example is a command line that parses."""
    with pytest.raises(SystemExit):
        parser().parse_args([command, "--help"])
    out = capsys.readouterr().out
    assert f"docs: {DOCS}/commands.md#relay-{command}" in out
    for example in EXAMPLES[command]:
        assert f"\n  {example}\n" in out
        line = example.removeprefix('eval "$(').split(")")[0].split(" -- ")[0]
        assert parser().parse_args(shlex.split(line)[1:]).command == command
