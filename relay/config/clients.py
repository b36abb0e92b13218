"""Settles who may call: clients with a token each, and folders of them."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from relay.config.grants import locate
from relay.config.limits import ALL, read_limits
from relay.config.problems import Path as FieldPath
from relay.config.schema import Client, ClientFolder
from relay.config.settings import ClientRules, ClientSettings, FolderSettings
from relay.config.validation import Checker
from relay.config.yaml_document import Data

_NOT_ALL: Final = f'must not be "{ALL}", which stands for all clients together'


@dataclass(frozen=True, slots=True)
class DeclaredClients:
    """The clients, and the folders of further ones."""

    clients: tuple[ClientSettings, ...] = ()
    folders: tuple[FolderSettings, ...] = ()
    places: tuple[tuple[FieldPath, ClientRules], ...] = ()
    """What each of them may do, with its place in agent.yaml."""


def read_clients(checker: Checker, data: Data, folder: Path) -> DeclaredClients:
    """Return the clients that are declared; ``folder`` is where relative paths begin."""
    clients: dict[str, ClientSettings | FolderSettings] = {}
    places = []
    for index, item in enumerate(checker.sequence(("clients",), data)):
        path = ("clients", index)
        client = _read(checker, path, item, folder)
        if client is None:
            continue
        if client.name in clients:
            checker.complain((*path, "name"), "is declared twice; keep one")
        if client.name == ALL:
            checker.complain((*path, "name"), _NOT_ALL)
        clients[client.name] = client
        places.append((path, client.rules))
    return DeclaredClients(
        tuple(each for each in clients.values() if isinstance(each, ClientSettings)),
        tuple(each for each in clients.values() if isinstance(each, FolderSettings)),
        tuple(places),
    )


def _read(
    checker: Checker, path: FieldPath, item: Data, folder: Path
) -> ClientSettings | FolderSettings | None:
    if isinstance(item, dict) and "folder" in item:
        of_folder = checker.model(path, ClientFolder, item)
        if of_folder is None:
            return None
        place = str(folder / Path(of_folder.folder).expanduser())
        return FolderSettings(of_folder.name, place, _rules(checker, path, of_folder, item))
    client = checker.model(path, Client, item)
    if client is None:
        return None
    sources = locate(client.token, folder)
    return ClientSettings(client.name, sources, _rules(checker, path, client, item))


def _rules(
    checker: Checker, path: FieldPath, client: Client | ClientFolder, item: Data
) -> ClientRules:
    relays = None if client.relays is None else frozenset(client.relays)
    declared = item.get("limits") if isinstance(item, dict) else None
    limits = read_limits(checker, (*path, "limits"), declared)
    return ClientRules(relays, limits, client.batches)


def check_relays(checker: Checker, declared: DeclaredClients, relays: Container[str]) -> None:
    """Complain of relays that a client may call and that there are not."""
    for path, rules in declared.places:
        for name in sorted(rules.relays or ()):
            if name not in relays:
                checker.complain((*path, "relays"), f'no relay is named "{name}"')
