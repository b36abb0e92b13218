"""Settles the ways out: which relays reach their API through a proxy, by ``egress``.

A relay's own goes before the one for all, and ``null`` there is straight. Never through a proxy:
what goes to this host's loopback, and a credential that TLS would not hide from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from relay.config.addresses import ListenAddress, parse_proxy
from relay.config.chains import PlacedRelay
from relay.config.grants import locate
from relay.config.hops import read_ca_file
from relay.config.problems import Path as FieldPath
from relay.config.schema import Egress
from relay.config.settings import EgressSettings, RelaySettings
from relay.config.validation import Checker
from relay.config.yaml_document import Data

KEY: Final = "egress"
PROXY_VARIABLES: Final = ("https_proxy", "HTTPS_PROXY")
"""What names a proxy to others, and is never obeyed here; as curl has it the first goes before."""
_EXAMPLE: Final = 'for example {url: "http://proxy.corp:3128"}'


def read_ways_out(
    checker: Checker,
    sections: Mapping[str, Data],
    chains: Sequence[PlacedRelay],
    folder: Path,
    own: Sequence[ListenAddress],
) -> list[RelaySettings]:
    """Return the relays of these chains, each with its way out.

    ``folder`` is where relative paths begin, ``own`` is where the relay itself listens.
    """
    read = partial(_read, checker, folder, own)
    general = read((KEY,), sections.get(KEY))
    special = {name: read(path, data) for name, path, data in _declared(sections)}
    relays = []
    for chain in chains:
        name = chain.relay.name
        if special.get(name) is not None and chain.relay.upstream.is_loopback:
            message = "is not taken: calls to this host's own loopback go straight"
            checker.remark((*chain.path, KEY), message)
        relays.append(_lead_out(checker, chain, special.get(name, general)))
    if general is not None and not any(relay.egress == general for relay in relays):
        checker.remark((KEY,), "is a way out that no relay takes")
    return relays


def _declared(sections: Mapping[str, Data]) -> list[tuple[str, FieldPath, Data]]:
    """Return the ways out of single relays, also of those that are wrong otherwise."""
    relays = sections.get("relays")
    items = relays.items() if isinstance(relays, dict) else ()
    return [
        (name, ("relays", name, KEY), item[KEY])
        for name, item in items
        if isinstance(item, dict) and KEY in item
    ]


def _read(
    checker: Checker, folder: Path, own: Sequence[ListenAddress], path: FieldPath, data: Data
) -> EgressSettings | None:
    """Return a way out; None for straight, or where it is wrong."""
    if data is None:
        return None
    if not isinstance(data, dict):
        checker.complain(path, f"must be a mapping, {_EXAMPLE}")
        return None
    egress = checker.model(path, Egress, data)
    if egress is None:
        return None
    proxy = parse_proxy(egress.url)
    if any(address.is_reached_at(proxy) for address in own):
        message = "is the relay's own address; name the proxy on the way out"
        checker.complain((*path, "url"), message)
    return EgressSettings(
        proxy,
        read_ca_file(checker, path, egress.ca_file, folder),
        locate(egress.credential, folder) if egress.credential else (),
    )


def _lead_out(checker: Checker, chain: PlacedRelay, egress: EgressSettings | None) -> RelaySettings:
    relay = chain.relay
    if egress is None or relay.upstream.is_loopback:
        return relay
    if not relay.upstream.tls:
        checker.complain(
            chain.end_path,
            "is plain http, so that the proxy of egress could read the credential; name an "
            f"https:// address, or go there straight: relays: {{{relay.name}: {{egress: null}}}}",
        )
    return replace(relay, egress=egress)
