"""Settles the relays that agent.yaml declares, by name or by the section ``claude``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, get_args

from relay.config.addresses import ListenAddress, parse_upstream
from relay.config.built_in_grants import GRANT_API
from relay.config.chains import PlacedRelay, check_chains
from relay.config.egress import read_ways_out
from relay.config.grants import DeclaredGrant, choose_grant
from relay.config.hops import listed_hops, read_ca_file, read_headers, read_hops
from relay.config.problems import Path as FieldPath
from relay.config.schema import Claude, Relay
from relay.config.settings import (
    DEFAULT_ALLOW,
    DEFAULT_END,
    GrantSettings,
    HopSettings,
    RelaySettings,
)
from relay.config.validation import Checker
from relay.config.values import NAME_RULE, is_name
from relay.config.yaml_document import Data
from relay.errors import Api

Served = tuple[GrantSettings, Api]

SHORTHAND_RELAY: Final = "anthropic"
"""The relay that ``claude.base_url`` and ``claude.hops`` stand for."""


def read_relays(
    checker: Checker,
    sections: Mapping[str, Data],
    grants: list[DeclaredGrant],
    folder: Path,
    own: Sequence[ListenAddress],
) -> list[RelaySettings]:
    """Return the relays that ``claude`` and ``relays`` declare.

    ``folder`` is where relative paths begin, ``own`` is where the relay itself listens.
    """
    reader = _RelayReader(checker, grants, folder)
    chains = reader.read(sections.get("claude"), sections.get("relays"))
    check_chains(checker, chains, own)
    return read_ways_out(checker, sections, chains, folder, own)


class _RelayReader:
    def __init__(
        self,
        checker: Checker,
        grants: list[DeclaredGrant],
        folder: Path,
    ) -> None:
        self._checker = checker
        self._grants = grants
        self._folder = folder
        self._base_url: str | None = None
        self._has_base_url = False
        self._shorthand_hops: list[Data] = []
        self._shorthand_grant: str | None = None

    def read(self, claude: Data, relays: Data) -> list[PlacedRelay]:
        raw_claude = self._checker.mapping(("claude",), claude)
        shorthand = self._checker.model(("claude",), Claude, raw_claude)
        self._base_url = shorthand.base_url if shorthand else None
        self._has_base_url = raw_claude.get("base_url") is not None
        self._shorthand_hops = listed_hops(raw_claude)
        self._shorthand_grant = _text(raw_claude.get("grant"))
        items = dict(self._checker.mapping(("relays",), relays))
        if (self._has_base_url or self._shorthand_hops) and SHORTHAND_RELAY not in items:
            items[SHORTHAND_RELAY] = None
        elif self._shorthand_grant is not None and SHORTHAND_RELAY not in items:
            self._checker.complain(("claude", "grant"), "needs base_url beside it")
        if not items and not self._complains_of_all():
            self._checker.complain(
                (), "no relay: set claude.hops or claude.base_url, or declare one in relays"
            )
        read = (self._read_relay(name, item) for name, item in items.items())
        return [chain for chain in read if chain is not None]

    def _complains_of_all(self) -> bool:
        return any(map(self._checker.complains_of, (("relays",), ("claude", "hops"))))

    def _is_shorthand(self, name: str) -> bool:
        declared = self._has_base_url or bool(self._shorthand_hops)
        return declared and name == SHORTHAND_RELAY

    def _path_of(self, name: str, item: Data) -> FieldPath:
        if item is None and self._is_shorthand(name):
            return ("claude", "base_url" if self._has_base_url else "hops")
        return ("relays", name)

    def _read_relay(self, name: str, item: Data) -> PlacedRelay | None:
        path = self._path_of(name, item)
        if not is_name(name):
            self._checker.complain(path, f"a relay's name {NAME_RULE}")
        raw = {} if item is None else item
        relay = self._checker.model(path, Relay, raw)
        served = self._choose_grant(path, name, raw)
        hops = self._read_hops(path, name, raw)
        if relay is None:
            return None
        ca_file = read_ca_file(self._checker, path, relay.ca_file, self._folder)
        headers = read_headers(self._checker, path, relay.headers, self._folder)
        url = self._choose_url(path, name, relay, served)
        if url is None or served is None:
            return None
        grant, api = served
        settings = RelaySettings(
            name=name,
            upstream=parse_upstream(url),
            grant=grant,
            api=api,
            allow=tuple(prefix.encode() for prefix in relay.allow or ()) or DEFAULT_ALLOW[api],
            ca_file=ca_file,
            max_body=relay.max_body,
            hops=tuple(hops.values()),
            headers=headers,
        )
        return PlacedRelay(settings, path, self._path_of_url(path, name, relay), tuple(hops))

    def _read_hops(self, path: FieldPath, name: str, raw: Data) -> dict[FieldPath, HopSettings]:
        """Read from the raw data, so that a mistake elsewhere in the relay hides none here."""
        items = listed_hops(raw)
        if name == SHORTHAND_RELAY and self._shorthand_hops:
            if items:
                self._checker.complain((*path, "hops"), "stands beside claude.hops; keep one")
            items, path = self._shorthand_hops, ("claude",)
        return read_hops(self._checker, (*path, "hops"), items, self._folder)

    def _choose_url(
        self, path: FieldPath, name: str, relay: Relay, served: Served | None
    ) -> str | None:
        if self._has_base_url and name == SHORTHAND_RELAY:
            if relay.url is not None and relay.url != self._base_url:
                message = "differs from claude.base_url; keep one of them"
                self._checker.complain((*path, "url"), message)
            return self._base_url
        if relay.url is None and (relay.hops or self._is_shorthand(name)):
            return self._default_end(path, served)
        if relay.url is None:
            self._checker.complain(path, "needs url, for example http://localhost:8787")
        return relay.url

    def _default_end(self, path: FieldPath, served: Served | None) -> str | None:
        """Return the API of a chain's grant: only those that come with the relay have one."""
        if served is None:
            return None
        grant, api = served
        if grant.name not in GRANT_API:
            key = "base_url" if path[0] == "claude" else "url"
            message = f"needs {key} beside hops: the API that they lead to"
            self._checker.complain(path[:1] if path[0] == "claude" else path, message)
            return None
        return DEFAULT_END[api]

    def _path_of_url(self, path: FieldPath, name: str, relay: Relay) -> FieldPath | None:
        if self._has_base_url and name == SHORTHAND_RELAY:
            return ("claude", "base_url")
        return (*path, "url") if relay.url is not None else None

    def _choose_grant(self, path: FieldPath, relay_name: str, raw: Data) -> Served | None:
        """Read from the raw data, so that a mistake elsewhere in the relay hides none here."""
        fields = raw if isinstance(raw, dict) else {}
        name, api = _text(fields.get("grant")), _api(fields.get("api"))
        if relay_name == SHORTHAND_RELAY and self._shorthand_grant is not None:
            if name not in (None, self._shorthand_grant):
                message = "differs from claude.grant; keep one of them"
                self._checker.complain((*path, "grant"), message)
            name, path = self._shorthand_grant, ("claude",)
        if name is None and api is None:
            api = GRANT_API.get(relay_name)  # a relay named after an API is that API's
        if not self._grants:
            if self._is_shorthand(relay_name):
                self._checker.complain(path, "needs a grant that can serve it: anthropic or claude")
            return None
        if self._is_shorthand(relay_name) and name is None:
            chosen = self._choose_for_shorthand(api)
        else:
            chosen = choose_grant(self._grants, name, api, "relays.<name>.grant")
        if isinstance(chosen, str):
            self._checker.complain(path, chosen)
            return None
        if chosen.settings is None:
            return None
        return chosen.settings, api or GRANT_API.get(chosen.name, "anthropic")

    def _choose_for_shorthand(self, api: Api | None) -> DeclaredGrant | str:
        """A custom grant never serves ``claude.base_url`` without being named."""
        grants = [grant for grant in self._grants if grant.name in GRANT_API]
        return choose_grant(grants, None, api or "anthropic", "claude.grant")


def _text(data: Data) -> str | None:
    return data if isinstance(data, str) else None


def _api(data: Data) -> Api | None:
    return next((api for api in get_args(Api) if api == data), None)
