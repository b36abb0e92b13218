"""``relay usage``: what calls used and cost, from the ledger's file.

It asks no relay: the file is read beside the one that writes it, or where none runs. ``--json``
and ``--csv`` are for scripts, ``table`` is for people; ``--export`` and ``--forget`` show nothing.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Final, Literal, NamedTuple, TextIO, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from relay.commands import BadArguments, CommandError
from relay.config import Settings
from relay.config.ledger import environment_timezone
from relay.telemetry.ledger.file import Unusable
from relay.telemetry.ledger.reader import Reader, reading
from relay.telemetry.ledger.report import Question, Report, Totals, as_data, report_of, rows_of
from relay.telemetry.ledger.upkeep import Whom, export, forget
from relay.telemetry.periods import day_of, first_day

Form = Literal["table", "json", "csv"]
_FORGOTTEN: Final = (
    "{count} rows of that {whom} are deleted from {path}; "
    "limits of a relay that runs go on counting them until it is started anew\n"
)
_FORMULAS: Final = ("=", "+", "-", "@")
_SINCE: Final = "--since must be like 7d, or a day like 2026-11-30"


class LedgerPlace(NamedTuple):
    """Where a ledger is, and the time zone for one that does not say its own."""

    path: Path
    timezone: str
    settings: Settings | None = None
    """The configuration that names it, whose limits are looked at."""


@dataclass(frozen=True, slots=True)
class Action:
    """What is asked for."""

    question: Question
    form: Form = "table"
    export_to: Path | None = None
    forget: tuple[Whom, str] | None = None


def ledger_of(
    named: Path | None, settings: Settings | None, environment: Mapping[str, str]
) -> LedgerPlace:
    """Return the ledger that is named, or the configuration's.

    Raises:
        BadArguments: There is none.
    """
    if named is not None:
        return LedgerPlace(named, environment_timezone(environment))
    if settings is None or settings.ledger is None:
        raise BadArguments(
            "no ledger is configured; add ledger: {path: ledger.db} to agent.yaml, "
            "in the container {path: /var/lib/relay/ledger.db}; or name one with --ledger"
        )
    return LedgerPlace(Path(settings.ledger.path), settings.timezone, settings)


def action_of(options: argparse.Namespace) -> Action:
    """Return what the arguments ask for.

    Raises:
        BadArguments: They make no sense.
    """
    if options.since is not None:
        try:
            first_day(options.since, day_of(time.time(), UTC))
        except ValueError:
            raise BadArguments(_SINCE) from None
    form: Form = "json" if options.json else "csv" if options.csv else "table"
    question = Question(options.report, options.since, options.client)
    return Action(question, form, options.export, _whom(options.forget))


def _whom(text: str | None) -> tuple[Whom, str] | None:
    if text is None:
        return None
    kind, _, name = text.partition(":")
    for known in get_args(Whom):
        if kind == known and name:
            return known, name
    raise BadArguments("--forget must be session:ID or client:NAME")


def run(ledger: LedgerPlace, action: Action, out: TextIO) -> None:
    """Do what is asked for.

    Raises:
        CommandError: It cannot be done.
    """
    try:
        if action.export_to is not None:
            _export(ledger.path, action.export_to, out)
        elif action.forget is not None:
            whom, name = action.forget
            count = forget(ledger.path, whom, name)
            out.write(_FORGOTTEN.format(count=count, whom=whom, path=ledger.path))
        else:
            _show(ledger, action, out)
    except Unusable as error:
        raise CommandError(f"{ledger.path} {error}") from error


def _export(path: Path, target: Path, out: TextIO) -> None:
    try:
        export(path, target)
    except FileExistsError:
        raise CommandError(f"{target} is there already, and is not replaced") from None
    except OSError as error:
        reason = (error.strerror or "unknown").lower()
        raise CommandError(f"{target} cannot be written: {reason}") from error
    out.write(f"{target}: a whole copy of {path}\n")


def _show(ledger: LedgerPlace, action: Action, out: TextIO) -> None:
    with reading(ledger.path) as reader:
        report = report_of(reader, action.question, _zone(reader, ledger), time.time())
        left = _left(reader, ledger, action) if action.form == "table" else []
    if action.form == "json":
        out.write(json.dumps(as_data(report), indent=2) + "\n")
    elif action.form == "csv":
        _write_csv(report, out)
    else:
        from relay.commands.usage.table import draw  # noqa: PLC0415  # scripts pay nothing for it

        draw(report, out, left)
    out.flush()


def _left(reader: Reader, ledger: LedgerPlace, action: Action) -> list[str]:
    """Return what is left of limits, where any are configured."""
    if ledger.settings is None or not ledger.settings.counts_use:
        return []
    from relay.commands.usage.left import lines  # noqa: PLC0415  # scripts pay nothing for it

    return lines(reader, ledger.settings, action.question.client)


def _zone(reader: Reader, ledger: LedgerPlace) -> ZoneInfo:
    name = reader.timezone or ledger.timezone
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CommandError(f"the time zone {name} is not known here; install tzdata") from error


def _write_csv(report: Report, out: TextIO) -> None:
    columns = [*report.names, *Totals().figures()]
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows_of(report):
        models = row["models"]
        assert isinstance(models, list)
        cells = {**row, "models": " ".join(models)}
        writer.writerow({name: _no_formula(value) for name, value in cells.items()})


def _no_formula(value: object) -> object:
    """Return what no spreadsheet would run: names are agents' own words (CWE-1236)."""
    if isinstance(value, str) and value.startswith(_FORMULAS):
        return f"'{value}"
    return value
