"""Settles the LLM proxies between a relay and its API, by ``hops``.

Also what a hop and a relay have alike: headers of their own, and CA certificates.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from relay.config.addresses import parse_upstream
from relay.config.grants import locate
from relay.config.problems import Path as FieldPath
from relay.config.schema import Hop
from relay.config.settings import HeaderSettings, HopSettings
from relay.config.sources import Source
from relay.config.validation import Checker
from relay.config.yaml_document import Data

_EXAMPLE: Final = "for example {name: headroom, url: http://localhost:8787}"
_OWN_HEADERS: Final = "x-relay-"


def listed_hops(fields: Data) -> list[Data]:
    """Return the hops that a section declares, read from the raw data; none where it is wrong."""
    hops = fields.get("hops") if isinstance(fields, dict) else None
    return hops if isinstance(hops, list) else []


def has_hops(sections: Mapping[str, Data]) -> bool:
    """Whether any relay declares hops: only then is ``returns`` listened on."""
    relays = sections.get("relays")
    items = relays.values() if isinstance(relays, dict) else ()
    return any(map(listed_hops, (sections.get("claude"), *items)))


def read_hops(
    checker: Checker, path: FieldPath, items: Sequence[Data], folder: Path
) -> dict[FieldPath, HopSettings]:
    """Return the hops that can be read, by their places."""
    hops: dict[FieldPath, HopSettings] = {}
    names: set[str] = set()
    for index, item in enumerate(items):
        here = (*path, index)
        if not isinstance(item, dict):
            checker.complain(here, f"must be a mapping, {_EXAMPLE}")
        elif (hop := checker.model(here, Hop, item)) is not None:
            if hop.name in names:
                checker.complain((*here, "name"), "is declared twice; keep one")
            names.add(hop.name)
            hops[here] = _settings_of(checker, here, hop, folder)
    return hops


def _settings_of(checker: Checker, path: FieldPath, hop: Hop, folder: Path) -> HopSettings:
    return HopSettings(
        name=hop.name,
        upstream=parse_upstream(hop.url),
        if_down=hop.if_down,
        pass_=hop.pass_ if isinstance(hop.pass_, str) else locate(hop.pass_, folder),
        headers=read_headers(checker, path, hop.headers, folder),
        ca_file=read_ca_file(checker, path, hop.ca_file, folder),
    )


def read_headers(
    checker: Checker, path: FieldPath, headers: Mapping[str, Source], folder: Path
) -> tuple[HeaderSettings, ...]:
    """Return the headers that a hop or a relay wants for itself."""
    seen: set[str] = set()
    for name in headers:
        here = (*path, "headers", name)
        if name.lower().startswith(_OWN_HEADERS):
            checker.complain(here, "is one of the relay's own, which never leave it")
        if name.lower() in seen:
            checker.complain(here, "is said twice, in upper and lower case; keep one")
        seen.add(name.lower())
    return tuple(
        HeaderSettings(name.encode(), locate(source, folder)) for name, source in headers.items()
    )


def read_ca_file(checker: Checker, path: FieldPath, text: str | None, folder: Path) -> str | None:
    """Return where the CA certificates of a hop or a relay are."""
    if text is None:
        return None
    file = str(folder / Path(text).expanduser())
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError):
        message = "must be a readable file of CA certificates in PEM form"
        checker.complain((*path, "ca_file"), message)
    return file
