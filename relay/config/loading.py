"""Loads agent.yaml: finds it, checks every part, and settles what the parts mean together.

All mistakes are collected before anything is said, and a mistake in one section hides
none in another.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from relay.config.addresses import ListenAddress
from relay.config.built_in_grants import default_sources
from relay.config.clients import DeclaredClients, check_relays, read_clients
from relay.config.costs import read_costs
from relay.config.grants import DeclaredGrant, read_grants
from relay.config.ledger import read_ledger, read_timezone
from relay.config.limits import read_limits, remark_on_limits
from relay.config.listeners import ListenAddresses
from relay.config.problems import ConfigurationError, NoConfiguration, Problem, in_order
from relay.config.problems import Path as FieldPath
from relay.config.relays import read_relays
from relay.config.schema import Drain, Timeouts
from relay.config.settings import (
    ClientSettings,
    RelaySettings,
    Settings,
)
from relay.config.validation import Checker
from relay.config.yaml_document import Data, read_document

SECTIONS: Final = (
    *("grants", "claude", "relays", "egress", "listen", "admin", "returns"),
    *("clients", "timeouts", "drain", "costs", "ledger", "timezone", "limits"),
)
DEFAULT_LISTEN: Final = "127.0.0.1:8484"
DEFAULT_ADMIN: Final = "127.0.0.1:9484"
DEFAULT_RETURNS: Final = "127.0.0.1:8485"
PLACES: Final = ("agent.yaml", "/etc/relay/agent.yaml")
SECRETS_FOLDER: Final = "/run/secrets"
DEFAULT_CLIENT: Final = "agent"
TOKEN_VARIABLE: Final = "RELAY_TOKEN"


def find_file(path: str | None, environment: Mapping[str, str]) -> Path:
    """Return the configuration's path: the one given, else the first place that has one.

    Raises:
        NoConfiguration: There is none.
    """
    chosen = path or environment.get("RELAY_CONFIG")
    if chosen:
        return Path(chosen)
    for place in PLACES:
        if Path(place).is_file():
            return Path(place)
    places = " or ".join(PLACES)
    message = (
        f"not found: there is no {places}; relay init writes one, or name another "
        "with --config or $RELAY_CONFIG"
    )
    raise NoConfiguration([Problem(1, (), message)])


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read and resolve a configuration file.

    Raises:
        ConfigurationError: With every mistake in it.
    """
    try:
        document = read_document(path.read_text(encoding="utf-8"), SECTIONS)
        checker = Checker(document)
        return _Pass(checker, document.data, environment, path).settings()
    except OSError as error:
        raise NoConfiguration([Problem(1, (), _unreadable(path, error))]) from None
    except UnicodeDecodeError:
        problem = Problem(1, (), "is not UTF-8 text")
    except ConfigurationError as error:
        raise ConfigurationError(error.problems, str(path)) from None
    raise ConfigurationError([problem], str(path))


def _unreadable(path: Path, error: OSError) -> str:
    remedy = "; relay init writes one" if isinstance(error, FileNotFoundError) else ""
    return f"{path} cannot be read: {(error.strerror or 'unknown').lower()}{remedy}"


class _Pass:
    """One pass over one document."""

    def __init__(
        self, checker: Checker, data: Data, environment: Mapping[str, str], path: Path
    ) -> None:
        self._checker = checker
        self._environment = environment
        self._path = path
        self._folder = path.absolute().parent
        folders = environment.get("RELAY_SECRETS") or SECRETS_FOLDER
        self._secrets = tuple(folder for folder in folders.split(":") if folder)
        self._data = checker.mapping((), data)

    def settings(self) -> Settings:
        data, checker = self._data, self._checker
        if not data:
            if not checker.problems:
                checker.complain(
                    (), "is empty; it needs grants, and claude.hops, claude.base_url or relays"
                )
            raise ConfigurationError(checker.problems)
        grants = read_grants(checker, data.get("grants"), self._folder, self._secrets)
        clients = self._clients()
        limits = read_limits(checker, ("limits",), data.get("limits"))
        defaults = {"listen": DEFAULT_LISTEN, "admin": DEFAULT_ADMIN, "returns": DEFAULT_RETURNS}
        listeners = ListenAddresses(checker, data, self._environment, defaults)
        relays = read_relays(checker, data, grants, self._folder, listeners.open)
        self._check_exposure(listeners.listen)
        listeners.check()
        limits_of_time = checker.mapping(("timeouts",), data.get("timeouts"))
        timeouts = checker.model(("timeouts",), Timeouts, limits_of_time)
        costs = read_costs(checker, data.get("costs"))
        ledger = read_ledger(checker, data.get("ledger"), self._folder)
        timezone = read_timezone(checker, data.get("timezone"), self._environment)
        drain = checker.model((), Drain, {k: v for k, v in data.items() if k == "drain"})
        if checker.problems or timeouts is None or drain is None:
            self._name_misspelt_sections(checker.complain)
            raise ConfigurationError(checker.problems)
        self._remark(grants, relays)
        check_relays(checker, clients, {relay.name for relay in relays})
        if checker.problems:
            raise ConfigurationError(checker.problems)
        remark_on_limits(checker, clients, limits, ledger)
        listeners.remark()
        return Settings(
            file=str(self._path),
            relays=tuple(relays),
            clients=clients.clients,
            folders=clients.folders,
            limits=limits,
            listen=listeners.listen,
            admin=listeners.admin,
            returns=listeners.returns,
            timeouts=timeouts,
            drain=drain.drain,
            prices=costs.prices,
            factors=costs.factors,
            unknown=costs.unknown,
            ledger=ledger,
            timezone=timezone,
            warnings=tuple(f"{self._path}:{each}" for each in in_order(checker.remarks)),
        )

    def _clients(self) -> DeclaredClients:
        declared = read_clients(self._checker, self._data.get("clients"), self._folder)
        if not self._data.get("clients") and self._has_default_token():
            sources = default_sources(TOKEN_VARIABLE, self._secrets)
            return DeclaredClients((ClientSettings(DEFAULT_CLIENT, sources),))
        return declared

    def _has_default_token(self) -> bool:
        if self._environment.get(TOKEN_VARIABLE, "").strip():
            return True
        places = (f"{folder}/{TOKEN_VARIABLE.lower()}" for folder in self._secrets)
        return any(os.path.exists(place) for place in places)  # noqa: PTH110  # False where forbidden

    def _check_exposure(self, listen: tuple[ListenAddress, ...]) -> None:
        if self._data.get("clients") or self._has_default_token():
            return
        if any(not address.is_loopback for address in listen):
            self._checker.complain(
                ("listen",),
                "a listener that is not loopback needs a client: declare clients, "
                f"or give ${TOKEN_VARIABLE}",
            )

    def _remark(self, grants: list[DeclaredGrant], relays: list[RelaySettings]) -> None:
        remark = self._checker.remark
        self._name_misspelt_sections(remark)
        used = {relay.grant.name for relay in relays}
        for index, grant in enumerate(grants):
            if grant.name not in used:
                remark(("grants", index), f'grant "{grant.name}" serves no relay')

    def _name_misspelt_sections(self, say: Callable[[FieldPath, str], None]) -> None:
        """Say which top-level keys are nearly the relay's; all others are other tools'."""
        for key in self._data:
            if key not in SECTIONS and (meant := _meant(key)):
                say((key,), f"a top-level key is not the relay's; {meant}")


def _meant(key: str) -> str:
    """Return what a top-level key was meant to be, or nothing where it can be another tool's."""
    section, dot, _ = key.partition(".")
    if dot and section in SECTIONS:
        return f"indent it below {section}, without the dot"
    if key in ("base_url", "hops"):
        return "indent it below claude"
    nearest = difflib.get_close_matches(key.lower(), SECTIONS, n=1, cutoff=0.8)
    return f'did you mean "{nearest[0]}"?' if nearest else ""
