"""The command line of ``relay doctor``, and what it prints."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from relay.cli import FAILED, OK, UNUSABLE, main
from relay.commands.doctor.findings import Findings, Reporter, fail, note, ok, warn
from tests.harness import ROOT
from tests.harness.secrets import KEY, TOKEN

pytestmark = pytest.mark.asyncio_loop

Output = pytest.CaptureFixture[str]
CONFIG: Final = """\
grants: [{name: anthropic, source: {file: key}}]
claude: {base_url: "http://127.0.0.1:1"}
admin: "127.0.0.1:2"
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose upstream nobody is, and no variable that the relay reads."""
    for name in ("RELAY_LISTEN", "RELAY_ADMIN", "RELAY_TOKEN", "RELAY_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RELAY_SECRETS", str(tmp_path))
    (tmp_path / "key").write_text(KEY)
    file = tmp_path / "agent.yaml"
    file.write_text(CONFIG)
    return file


async def findings() -> Findings:
    """Find one of each."""
    yield ok("a", "is well")
    yield note("b", "is not checked", "do this")
    yield warn("longer name", f"shows {KEY} and {TOKEN}", f"hide {TOKEN}")
    yield fail("d", "is wrong", "mend it")


async def test_the_findings_as_text() -> None:
    """One line each, what to do below it, and the sum; no secret."""
    out = io.StringIO()
    reporter = Reporter(out, [KEY, TOKEN, ""], as_json=False)
    await reporter.add("a section", findings())
    reporter.end()
    assert reporter.failed
    assert out.getvalue() == (
        "a section\n"
        "  ok    a           is well\n"
        "  note  b           is not checked\n"
        "                    -> do this\n"
        "  warn  longer name shows [redacted] and [redacted]\n"
        "                    -> hide [redacted]\n"
        "  FAIL  d           is wrong\n"
        "                    -> mend it\n"
        "1 failure, 1 warning\n"
    )


def test_a_failure_is_status_1(config: Path, capsys: Output) -> None:
    """As text by default."""
    assert main(["doctor", "--config", str(config)]) == FAILED
    out, err = capsys.readouterr()
    assert "  FAIL  connect     nothing listens at 127.0.0.1:1\n" in out
    assert out.startswith("relay anthropic -> http://127.0.0.1:1\n")
    assert out.endswith("1 failure, 1 warning\n")
    assert err == ""


def test_json_is_one_object(config: Path, capsys: Output) -> None:
    """With the same."""
    assert main(["doctor", "--config", str(config), "--json"]) == FAILED
    data = json.loads(capsys.readouterr().out)
    assert data["ok"] is False
    assert [each["check"] for each in data["checks"] if each["level"] == "FAIL"] == ["connect"]


def test_a_mistaken_configuration_is_status_2(config: Path, capsys: Output) -> None:
    """Explained as by every other command."""
    config.write_text("grants: []\n")
    assert main(["doctor", "--config", str(config)]) == UNUSABLE
    out, err = capsys.readouterr()
    assert out == ""
    assert "grants" in err


def test_from_an_agents_place_no_configuration_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """There is none in its container."""
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "--from-agent", "http://127.0.0.1:1"]) == FAILED
    assert "127.0.0.1:1 refuses: no relay listens there" in capsys.readouterr().out


def test_an_agents_address_that_is_none_is_status_2(capsys: Output) -> None:
    """And it is said what one looks like."""
    assert main(["doctor", "--from-agent", "10.84.84.1"]) == UNUSABLE
    assert capsys.readouterr().err.startswith("relay: the relay's address is a URL like")


def test_help_says_what_costs(capsys: Output) -> None:
    """Before it is spent."""
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--help"])
    assert caught.value.code == OK
    assert "up to 100 tokens" in " ".join(capsys.readouterr().out.split())


def test_serving_does_not_load_the_doctor() -> None:
    """What a start takes is not paid for another command."""
    program = (
        "import sys; import relay.app, relay.cli; sys.exit(any('doctor' in m for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
