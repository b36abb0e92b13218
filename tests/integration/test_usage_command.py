"""``relay usage``, as it is typed: from the file of a relay that runs, ran, or ran elsewhere."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from relay.cli import main
from relay.telemetry.ledger.batch import Batches
from relay.telemetry.ledger.file import LedgerFile
from relay.telemetry.ledger.row import Row
from relay.telemetry.ledger.schema import note
from tests.harness import ROOT
from tests.harness.configuration import configuration, write_configuration
from tests.harness.ledger import a_row, rows_in

pytestmark = pytest.mark.usefixtures("clock")

SESSION = "0c3e1f9a-29f1-4b38-9c50-6a1d2a1f0f11"
USED = {"input": 1234, "output": 567, "cache_read": 98_765, "cache_write_5m": 4321}
HOSTILE = "[bold]\x1b[2Jx\u202e"


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TZ", raising=False)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger is."""
    return tmp_path / "ledger.db"


def fill(path: Path, *rows: Row, timezone: str = "Asia/Tokyo") -> None:
    """Write calls as a relay in this time zone does."""
    with closing(LedgerFile(str(path))) as file:
        Batches(file.connection).write(list(rows))
        note(file.connection, "timezone", timezone)


def usage(*arguments: str | Path) -> int:
    """Type the command."""
    return main(["usage", *map(str, arguments)])


def test_the_configuration_says_where_it_is(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A relative path begins at its folder."""
    fill(path, a_row(cost=2_500_000, **USED))
    config = write_configuration(tmp_path, configuration(1, ledger={"path": "ledger.db"}))
    assert usage("--config", config) == 0
    assert "$2.50" in capsys.readouterr().out


@pytest.mark.parametrize("config", [configuration(1), configuration(1, ledger=None)])
def test_without_a_ledger_it_says_how_to_have_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: dict[str, object]
) -> None:
    """Exit status 2: it is the configuration."""
    assert usage("--config", write_configuration(tmp_path, config)) == 2
    assert "no ledger is configured; add ledger: {path: ledger.db} to " in capsys.readouterr().err


def test_a_ledger_that_is_not_there_is_no_crash(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is made by a relay that serves."""
    assert usage("--ledger", path) == 1
    assert f"relay: {path} is not there; a relay makes it" in capsys.readouterr().err
    assert not path.exists()


@pytest.mark.parametrize("report", ["", "daily", "weekly", "monthly", "models", "clients"])
def test_json_is_as_it_is_promised(
    path: Path, capsys: pytest.CaptureFixture[str], report: str
) -> None:
    """Every report has a name of its own for its rows, and the same figures."""
    fill(path, a_row(cost=1_500_000, **USED))
    assert usage(*filter(None, [report]), "--json", "--ledger", path) == 0
    answer = json.loads(capsys.readouterr().out)
    assert list(answer) == ["report", "since", "timezone", "rows", "total"]
    assert answer["timezone"] == "Asia/Tokyo"  # the file's, whatever this host's is
    assert answer["since"].endswith("T00:00:00+09:00")
    assert answer["report"] == report or "today"
    key = {"": "model", "daily": "day", "weekly": "week", "monthly": "month"}
    name, *figures = answer["rows"][0]
    assert name == key.get(report, report.removesuffix("s"))
    assert (
        figures
        == list(answer["total"])
        == [
            *("calls", "input", "cache_read", "cache_write", "output", "reasoning"),
            *("cost_usd", "unpriced_calls", "estimate_usd", "refused", "models"),
        ]
    )


def test_csv_has_the_same_columns_and_no_total(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Models joined by spaces, and nothing for what has no name."""
    rows = [a_row(session_id=SESSION, model=model, **USED) for model in ("b", "a")]
    fill(path, *rows, a_row(session_id=SESSION, agent_id="x", parent_agent_id="y"))
    assert usage("agents", "--csv", "--ledger", path) == 0
    main_agent, agent = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert list(agent)[:5] == ["agent", "session", "parent", "calls", "input"]
    assert (main_agent["agent"], main_agent["models"], main_agent["input"]) == ("", "a b", "2468")
    assert (agent["agent"], agent["session"], agent["parent"]) == ("x", SESSION, "y")


@pytest.mark.parametrize("session", ["=cmd|'/C calc'!A0", "+1+1", "-1", "@SUM(1)"])
def test_csv_holds_no_formula(path: Path, capsys: pytest.CaptureFixture[str], session: str) -> None:
    """What an agent calls its session is a text, also where somebody opens it in a spreadsheet."""
    fill(path, a_row(session_id=session, model=session))
    assert usage("sessions", "--csv", "--ledger", path) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["session"], row["models"], row["calls"]) == (f"'{session}", f"'{session}", "1")


@pytest.mark.parametrize("report", ["today", "daily", "sessions", "models", "clients", "agents"])
def test_a_table_fits_eighty_columns(
    path: Path, capsys: pytest.CaptureFixture[str], report: str
) -> None:
    """With names as long as they come, and sums of money that hurt."""
    large = dict.fromkeys(USED, 999999999)
    rows = [
        a_row(session_id=SESSION, agent_id=agent, model=model, cost=123_456_789_012, **large)
        for agent, model in ((None, "claude-sonnet-4-6-20260101"), ("a" * 128, "m" * 128))
    ]
    fill(path, *rows, a_row(cost=None, estimate=1, **USED), a_row(grant="claude", cost=1))
    assert usage(report, "--ledger", path) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "$246,913.58~*?" in out


def test_money_is_to_the_cent_and_what_is_not_certain_is_marked(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each mark is explained, and only those that are there."""
    fill(
        path,
        a_row(model="sure", cost=1_234_999),
        a_row(model="partly", cost=1_000_000, estimate=500_000),
        a_row(model="notional", cost=2_000_000, grant="claude"),
        a_row(model="unknown", cost=None, **USED),
        a_row(model=None, outcome="rejected", calls=3),
    )
    assert usage("--ledger", path) == 0
    out = capsys.readouterr().out
    shown = dict(re.findall(r"^ (\w+|–) .* (\$\S+) *$", out, re.MULTILINE))
    assert shown == {
        "sure": "$1.23",
        "partly": "$1.50~",
        "notional": "$2.00*",
        "unknown": "$0.00?",
        "total": "$4.73~*?",
    }
    assert "~ with $0.50 estimated" in out
    assert "* notional: a subscription is not billed by tokens" in out
    assert "? calls of models without a known price: 1" in out
    assert "refused, and not counted above: 3" in out
    assert usage("--ledger", path, "--client", "nobody") == 0
    assert capsys.readouterr().out.startswith("no calls since ")


@pytest.mark.parametrize(
    ("report", "title", "head"),
    [
        ("today", "by model", "model"),
        ("daily", "by day", "day"),
        ("weekly", "by week", "week of"),
        ("monthly", "by month", "month"),
        ("sessions", "by session", "session"),
        ("models", "by model", "model"),
        ("clients", "by client", "client"),
        ("agents", "by agent", "session, agent"),
    ],
)
def test_a_table_says_what_its_rows_are(
    path: Path, capsys: pytest.CaptureFixture[str], report: str, title: str, head: str
) -> None:
    """A week is called by its Monday, also where only its end is shown."""
    fill(path, a_row(**USED))
    assert usage(report, "--ledger", path, "--since", "1d") == 0
    first, _, heads, *_ = capsys.readouterr().out.splitlines()
    assert first == f"{title}, since 2026-11-25 (Asia/Tokyo)"
    assert re.split(" {2,}", heads.strip())[0] == head


@pytest.mark.parametrize("report", ["today", "daily", "sessions", "clients", "agents"])
def test_refused_calls_are_told_of_once(
    path: Path, capsys: pytest.CaptureFixture[str], report: str
) -> None:
    """Below the table, and in no row of it; without others there is no table."""
    refused = {"outcome": "rejected", "model": None, "client": "refused", "session_id": "refused"}
    fill(path, a_row(**refused, calls=7))
    assert usage(report, "--ledger", path) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("no calls since ")
    assert others == ["refused, and not counted above: 7"]
    fill(path, a_row(**USED))
    assert usage(report, "--ledger", path) == 0
    out = capsys.readouterr().out
    assert out.count("refused") == 1
    assert re.search(r"^ total +1 ", out, re.MULTILINE)


def test_a_table_shows_foreign_text_escaped(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a model or an agent calls itself moves no cursor and colours nothing."""
    fill(path, a_row(model=HOSTILE), a_row(session_id=HOSTILE, agent_id=HOSTILE, client=HOSTILE))
    for report in ("today", "sessions", "agents", "clients", "daily"):
        assert usage(report, "--ledger", path) == 0
        out = capsys.readouterr().out
        assert "[bold]" in out
        assert all(line.isprintable() for line in out.splitlines())


def test_agents_are_a_tree(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever says that they are each other's parents are shown once all the same."""
    parents = {None: None, "a": None, "b": "a", "c": "b", "x": "y", "y": "x", "z": "gone"}
    now = time.time()
    fill(
        path,
        *(
            a_row(session_id="s", agent_id=agent, parent_agent_id=parent, time=now - 60 + n)
            for n, (agent, parent) in enumerate(parents.items())
        ),
    )
    assert usage("agents", "--ledger", path) == 0
    out = capsys.readouterr().out
    tree = [line[1:12].rstrip() for line in out.splitlines() if "└" in line]
    assert tree == [
        "└ main",
        "  └ a",
        "    └ b",
        "      └ c",
        "  └ z",
        "  └ x",
        "    └ y",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "yesterday"], "--since must be like 7d, or a day like 2026-11-30"),
        (["--forget", "carol"], "--forget must be session:ID or client:NAME"),
        (["--forget", "session:"], "--forget must be session:ID or client:NAME"),
    ],
)
def test_what_makes_no_sense_is_said(
    path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """Exit status 2."""
    fill(path)
    assert usage(*arguments, "--ledger", path) == 2
    assert said in capsys.readouterr().err


def test_a_copy_can_be_read_elsewhere(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is made once, and never over another."""
    fill(path, a_row(cost=10_000))
    copy = tmp_path / "copy.db"
    assert usage("--export", copy, "--ledger", path) == 0
    assert usage("--export", copy, "--ledger", path) == 1
    assert f"{copy} is there already, and is not replaced" in capsys.readouterr().err
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert usage("--export", tmp_path / "no" / "copy.db", "--ledger", path) == 1
    assert "cannot be written: no such file or directory" in capsys.readouterr().err
    assert usage("--ledger", copy) == 0
    assert "$0.01" in capsys.readouterr().out


class ReadOnlyMount(sqlite3.Connection):
    """A ledger on one, as root meets it: what readers share cannot be written beside it."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:  # noqa: ANN401  # as there
        """Refuse to look at the file."""
        if sql == "PRAGMA application_id":
            error = sqlite3.OperationalError("unable to open database file")
            error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
            raise error
        return super().execute(sql, *values)


def test_where_it_cannot_be_read_it_says_what_to_do(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a mount that is read-only, for example."""
    fill(path, a_row())
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=ReadOnlyMount))
    assert usage("--ledger", path) == 1
    assert (
        "cannot be read here: its folder must be one that can be written; "
        "or read what relay usage --export made"
    ) in capsys.readouterr().err


def test_a_person_is_forgotten(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says how many rows there were."""
    fill(path, a_row(client="carol"), a_row(client="dave"), a_row(client="carol"))
    assert usage("--forget", "client:carol", "--ledger", path) == 0
    assert capsys.readouterr().out == (
        f"2 rows of that client are deleted from {path}; "
        "limits of a relay that runs go on counting them until it is started anew\n"
    )
    assert [row["client"] for row in rows_in(path)] == ["dave"]


def test_scripts_do_not_pay_for_the_table(path: Path) -> None:
    """Nor for aiohttp, which the rest of what the table uses brings along."""
    fill(path, a_row())
    code = (
        "import sys; from relay.cli import main; "
        f"main(['usage', '--json', '--ledger', {str(path)!r}]); "
        "print({'aiohttp', 'rich', 'genai_prices'} & {*sys.modules}, file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stderr == "set()\n"


def test_a_reader_that_is_gone_is_no_crash(path: Path) -> None:
    """As with ``relay usage --csv | head -1``."""
    fill(path, *(a_row(model=str(n)) for n in range(5000)))
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "relay", "usage", "models", "--csv", "--ledger", str(path)]
    ran = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (1, b"")


def test_what_is_left_of_limits_is_said(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the sums that the relay looks at: of each client, a folder's too, and of all."""
    now = time.time()
    fill(
        path,
        a_row(time=now, cost=2_000_000, estimate=500_000, input=10, cache_read=1000, output=5),
        a_row(time=now - 40 * 86_400, cost=9_000_000),
        a_row(time=now, client="job", cost=250_000),
        timezone="UTC",
    )
    (tmp_path / "clients").mkdir()
    (tmp_path / "clients" / "job").write_text("relay-of-a-job-that-runs")
    limits = [{"usd": 20, "per": "day"}, {"tokens": 100, "per": "hour"}, {"at_once": 2}]
    clients = [
        {"name": "agent", "token": {"file": "token"}, "limits": limits},
        {"name": "sandbox", "folder": "clients", "limits": [{"usd": 0.25, "per": "week"}]},
    ]
    of_all = [{"usd": 300, "per": "month"}, {"usd": 1, "per": "session"}]
    config = configuration(1, ledger={"path": "ledger.db"}, clients=clients, limits=of_all)
    file = write_configuration(tmp_path, config)
    assert usage("--config", file) == 0
    expected = [
        "agent: $17.50 left of $20.00 per day",
        "agent: 85 tokens left of 100 tokens per hour",
        "job: $0.00 left of $0.25 per week",
        "all together: $297.25 left of $300.00 per month",
    ]
    assert capsys.readouterr().out.splitlines()[-4:] == expected
    assert usage("--config", file, "--client", "job") == 0
    out = capsys.readouterr().out
    assert [line for line in expected if line in out] == expected[2:3]
    assert usage("--config", file, "--json") == 0
    assert "left" not in capsys.readouterr().out
