"""Settles where the ledger is, and in which time zone its days are cut."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from relay.config.problems import ConfigurationError, Problem
from relay.config.schema import Ledger, Timezone
from relay.config.settings import LedgerSettings, Settings
from relay.config.validation import Checker
from relay.config.yaml_document import Data

DEFAULT_TIMEZONE: Final = "UTC"
TIMEZONE_VARIABLE: Final = "TZ"
_PATH: Final = ("ledger", "path")
_NO_FOLDER: Final = "is in a folder that is not there; make it, or name another"


def read_ledger(checker: Checker, data: Data, folder: Path) -> LedgerSettings | None:
    """Return the ledger that is declared, if one is."""
    if data is None:
        return None
    ledger = checker.model(("ledger",), Ledger, checker.mapping(("ledger",), data))
    if ledger is None:
        return None
    path = folder / Path(ledger.path).expanduser()
    if path.is_dir():
        checker.complain(_PATH, "is a folder; name a file in it")
    elif not path.parent.is_dir():
        checker.remark(_PATH, _NO_FOLDER)
    return LedgerSettings(str(path), ledger.keep_days, ledger.max_mb, checker.line(_PATH))


def require_ledger_folder(settings: Settings) -> None:
    """See that the ledger's folder is there: for whoever serves, not for commands elsewhere.

    Raises:
        ConfigurationError: It is not.
    """
    ledger = settings.ledger
    if ledger is not None and not Path(ledger.path).parent.is_dir():
        raise ConfigurationError([Problem(ledger.line, _PATH, _NO_FOLDER)], settings.file)


def read_timezone(checker: Checker, data: Data, environment: Mapping[str, str]) -> str:
    """Return the name of the time zone: the one declared, else ``TZ``'s, else UTC."""
    declared = checker.model((), Timezone, {} if data is None else {"timezone": data})
    if declared is not None and declared.timezone is not None:
        if not is_timezone(declared.timezone):
            example = "must be the name of a time zone that is known here, such as Europe/Berlin"
            checker.complain(("timezone",), example)
        return declared.timezone
    return environment_timezone(environment)


def environment_timezone(environment: Mapping[str, str]) -> str:
    """Return the zone that the variable names; UTC where it names none that is known."""
    name = environment.get(TIMEZONE_VARIABLE, "").removeprefix(":")
    return name if name and is_timezone(name) else DEFAULT_TIMEZONE


def is_timezone(name: str) -> bool:
    """Whether there is a time zone of this name here."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
