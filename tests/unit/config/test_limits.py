"""What agent.yaml says of limits and of who is under them, and what is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from relay.config import ClientRules, FolderSettings, LimitSettings
from tests.unit.config.test_ledger import loaded, problems

CLIENT = "clients: [{name: agent, token: {env: A}, %s}]"
LEDGER = "ledger: {path: ledger.db}\n"


def test_there_is_none_unless_one_is_declared(tmp_path: Path) -> None:
    """Neither of a client nor of all; and a client may call every relay."""
    settings = loaded(tmp_path, CLIENT % "limits: []")
    assert (settings.has_limits, settings.counts_use, settings.limits) == (False, False, ())
    assert settings.clients[0].rules == ClientRules()


def test_limits_are_taken(tmp_path: Path) -> None:
    """Of dollars, tokens and calls; of a client, of each of a folder, and of all."""
    settings = loaded(
        tmp_path,
        LEDGER
        + "limits: [{usd: 0.1, per: hour}, {at_once: 8}]\n"
        + "clients:\n"
        + "  - {name: agent, token: {env: A}, relays: [anthropic], batches: true,\n"
        + "     limits: [{tokens: 1e6, per: session, warn: 0.5}, {usd: 0, per: session}]}\n"
        + "  - {name: sandbox, folder: clients, limits: [{usd: 5, per: month}]}\n",
    )
    assert settings.limits == (LimitSettings("usd", 0.1, "hour"), LimitSettings("at_once", 8))
    assert settings.clients[0].rules == ClientRules(
        relays=frozenset({"anthropic"}),
        limits=(
            LimitSettings("tokens", 1_000_000, "session", 0.5),
            LimitSettings("usd", 0, "session"),
        ),
        batches=True,
    )
    rules = ClientRules(limits=(LimitSettings("usd", 5, "month"),))
    assert settings.folders == (FolderSettings("sandbox", str(tmp_path / "clients"), rules),)
    assert [limit.name for limit in settings.limits] == ["usd_hour", "at_once"]
    assert settings.has_clients


def test_calls_at_once_need_no_prices(tmp_path: Path) -> None:
    """What calls used is no part of it, nor is a ledger."""
    settings = loaded(tmp_path, "limits: [{at_once: 1}]")
    assert (settings.has_limits, settings.counts_use) == (True, False)
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limits: {usd: 1, per: day}", "limits: must be a list, for example limits: [{usd: 20,"),
        ("limits: [5]", "limits[0]: must be a mapping"),
        ("limits: [{}]", "limits[0]: must be one of {usd: 20, per: day}, {tokens: "),
        ("limits: [{usd: 1, tokens: 1, per: day}]", "limits[0]: must be one of {usd: 20,"),
        ("limits: [{usd: 1}]", "limits[0].per: is required: hour, day, week, month or session"),
        ("limits: [{usd: 1, per: year}]", "limits[0].per: must be hour, day, week, month or ses"),
        ("limits: [{usd: -1, per: day}]", "limits[0].usd: must not be negative"),
        ("limits: [{usd: .inf, per: day}]", "limits[0].usd: must be a finite number"),
        ("limits: [{tokens: 1.5, per: day}]", "limits[0].tokens: must be a whole number"),
        ("limits: [{at_once: 0}]", "limits[0].at_once: must be greater than 0"),
        ("limits: [{at_once: 1, per: day}]", "limits[0].per: does not go with at_once"),
        ("limits: [{usd: 1, per: day, warn: 0}]", "limits[0].warn: must be greater than 0"),
        ("limits: [{usd: 1, per: day, warn: 80}]", "limits[0].warn: must not be greater than 1"),
        ("limits: [{usd: 1, per: day, til: 1}]", "is an unknown key"),
        (
            "limits: [{usd: 1, per: day}, {tokens: 1, per: day}, {usd: 2, per: day}]",
            "limits[2]: is a second limit of one kind and period; keep one",
        ),
        ("limits: [{at_once: 1}, {at_once: 2}]", "limits[1]: is a second limit of one kind"),
        (CLIENT % "limits: [{usd: 1}]", "clients[0].limits[0].per: is required"),
        (CLIENT % "limits: {usd: 1}", "clients[0].limits: must be a list, for example limits: ["),
        (CLIENT % "relays: [openai]", 'clients[0].relays: no relay is named "openai"'),
        (CLIENT % "batches: 1", "clients[0].batches: must be true or false"),
        ("clients: [{name: all, token: {env: A}}]", 'clients[0].name: must not be "all", which'),
        ("clients: [{name: all, folder: x}]", 'clients[0].name: must not be "all", which'),
        ("clients: [{name: a, folder: x, token: {env: A}}]", "clients[0].token: is an unknown"),
        ("clients: [{name: a, folder: x}, {name: a, folder: y}]", "is declared twice; keep one"),
        ("clients: [{folder: x}]", "clients[0].name: is required"),
        ("limit: [{usd: 1, per: day}]\nlisten: 1", 'did you mean "limits"?'),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, said: str) -> None:
    """Each with what would be right."""
    assert said in problems(tmp_path, text)


def test_what_limits_forget_is_said(tmp_path: Path) -> None:
    """A restart, where there is no ledger."""
    (said,) = loaded(tmp_path, CLIENT % "limits: [{usd: 1, per: day}]").warnings
    assert "clients[0].limits: are kept in memory alone: a restart begins them at zero;" in said
    assert loaded(tmp_path, LEDGER + CLIENT % "limits: [{usd: 1, per: day}]").warnings == ()


@pytest.mark.parametrize(
    ("limits", "keep_days", "said"),
    [
        ("[{usd: 1, per: month}]", 30, "less than the month that a limit is for: .* make it 31$"),
        ("[{usd: 1, per: day}, {tokens: 1, per: week}]", 6, "less than the week .* make it 7$"),
        ("[{usd: 1, per: month}]", 31, None),
        ("[{usd: 1, per: hour}, {usd: 1, per: session}, {at_once: 1}]", 1, None),
    ],
)
def test_a_ledger_that_forgets_sooner_than_a_limit_is_said(
    tmp_path: Path, limits: str, keep_days: int, said: str | None
) -> None:
    """A limit of a client's, or of all."""
    ledger = f"ledger: {{path: ledger.db, keep_days: {keep_days}}}\n"
    for text in (CLIENT % f"limits: {limits}", f"limits: {limits}"):
        warnings = loaded(tmp_path, ledger + text).warnings
        found = [each for each in warnings if "ledger.keep_days: is " in each]
        assert len(found) == (said is not None)
        assert all(re.search(said or "", each) for each in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CLIENT % "batches: true, limits: [{usd: 1, per: day}]", True),
        ("limits: [{tokens: 1, per: day}]\n" + CLIENT % "batches: true", True),
        (CLIENT % "batches: true, limits: [{at_once: 1}]", False),
        (CLIENT % "batches: true", False),
    ],
)
def test_what_limits_do_not_see_is_said(tmp_path: Path, text: str, *, expected: bool) -> None:
    """Batches, of a client under one of dollars or tokens."""
    said = "\n".join(loaded(tmp_path, LEDGER + text).warnings)
    assert ("clients[0].batches: limits do not see what batches cost" in said) is expected


def test_a_folder_of_clients_is_a_client(tmp_path: Path) -> None:
    """So a listener may be open to others."""
    text = 'listen: ["0.0.0.0:1"]\nclients: [{name: sandbox, folder: clients}]'
    assert loaded(tmp_path, text).has_clients
