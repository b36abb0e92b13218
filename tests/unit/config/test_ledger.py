"""What agent.yaml says of the ledger, the time zone and the costs, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.config import ConfigurationError, LedgerSettings, Settings, load
from relay.config.ledger import require_ledger_folder

BASE = "grants: [anthropic]\nclaude: {base_url: 'http://localhost:8787'}\n"


def loaded(folder: Path, text: str = "", **environment: str) -> Settings:
    """Return what a file with these lines comes to."""
    path = folder / "agent.yaml"
    path.write_text(BASE + text)
    return load(path, environment)


def problems(folder: Path, text: str) -> str:
    """Return what is said of a file with these lines."""
    with pytest.raises(ConfigurationError) as caught:
        loaded(folder, text)
    return str(caught.value)


def test_there_is_no_ledger_unless_one_is_named(tmp_path: Path) -> None:
    """The relay writes nothing that nobody asked for."""
    assert loaded(tmp_path).ledger is None
    assert loaded(tmp_path, "ledger:\n").ledger is None


def test_a_path_alone_will_do(tmp_path: Path) -> None:
    """Calls are kept for 90 days, and 1024 MB of them; a relative path begins at the file."""
    settings = loaded(tmp_path, "ledger: {path: ledger.db}")
    assert settings.ledger == LedgerSettings(str(tmp_path / "ledger.db"), 90, 1024)


def test_limits_are_taken(tmp_path: Path) -> None:
    """Of age and size."""
    settings = loaded(tmp_path, "ledger: {path: ledger.db, keep_days: 7, max_mb: 0.5}")
    assert settings.ledger == LedgerSettings(str(tmp_path / "ledger.db"), 7, 0.5)


def test_a_folder_that_is_not_there_is_a_mistake_for_whoever_serves(tmp_path: Path) -> None:
    """Another command may be run where the relay is not; it is told."""
    line = "ledger: {path: nowhere/ledger.db}"
    settings = loaded(tmp_path, line)
    with pytest.raises(ConfigurationError) as caught:
        require_ledger_folder(settings)
    said = str(caught.value)
    assert said.endswith(
        "agent.yaml:3: ledger.path: is in a folder that is not there; make it, or name another"
    )
    assert settings.warnings == (said,)
    require_ledger_folder(loaded(tmp_path, "ledger: {path: ledger.db}"))
    require_ledger_folder(loaded(tmp_path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ledger: /var/lib/ledger.db", "ledger: must be a mapping, for example ledger: {path: "),
        ("ledger: {}", "ledger.path: is required"),
        ("ledger: {path: .}", "ledger.path: is a folder; name a file in it"),
        ("ledger: {path: a.db, keep_days: 0}", "ledger.keep_days: must be greater than 0"),
        ("ledger: {path: a.db, keep_day: 1}", 'is an unknown key; did you mean "keep_days"?'),
        ("timezone: Europe/Atlantis", "timezone: must be the name of a time zone that is known"),
        ("timezone: ../../etc/passwd", "timezone: must be the name of a time zone that is known"),
        ("timezone: 1", "timezone: must be text"),
        ("costs: {factors: {fast: -1}}", "costs.factors.fast: must not be negative"),
        ("costs: {factors: [2]}", "costs.factors: must be a mapping"),
        ("costs: {unknown: {input: 1}}", "costs.unknown.output: is required"),
        ("ledgers: {path: a.db}\nlisten: 1", 'did you mean "ledger"?'),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, said: str) -> None:
    """Each with what would be right."""
    assert said in problems(tmp_path, text)


def test_the_time_zone_is_the_declared_one(tmp_path: Path) -> None:
    """Else that of the environment, if it is known; else UTC."""
    assert loaded(tmp_path, "timezone: Europe/Berlin", TZ="Asia/Tokyo").timezone == "Europe/Berlin"
    assert loaded(tmp_path, TZ="Asia/Tokyo").timezone == "Asia/Tokyo"
    assert loaded(tmp_path, TZ=":Asia/Tokyo").timezone == "Asia/Tokyo"
    assert loaded(tmp_path, TZ="CET-1CEST").timezone == "UTC"
    assert loaded(tmp_path).timezone == "UTC"


def test_costs_may_hold_multiples_and_a_price_for_the_unknown(tmp_path: Path) -> None:
    """Beside the prices of models, and without any."""
    text = "costs: {factors: {fast: 6}, unknown: {input: 0, output: 0}, m: {input: 1, output: 2}}"
    settings = loaded(tmp_path, text)
    assert settings.prices == {"m": {"input": 1, "output": 2}}
    assert settings.factors == {"fast": 6}
    assert settings.unknown == {"input": 0, "output": 0}


@pytest.mark.parametrize("text", ["", "costs: true", "costs: {}", "costs: {factors: {fast: 6}}"])
def test_what_nobody_knows_has_a_price_by_default(tmp_path: Path, text: str) -> None:
    """Dollars a million, above what agents use."""
    assert loaded(tmp_path, text).unknown == {"input": 15, "output": 75}
