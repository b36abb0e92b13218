"""Settles the relays that agent.yaml declares, by name or by ``claude.base_url``."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, get_args

from relay.config.addresses import ListenAddress, UpstreamAddress, parse_upstream
from relay.config.grants import DeclaredGrant, choose_grant
from relay.config.problems import Path as FieldPath
from relay.config.schema import NAME_RULE, Claude, Relay, is_name
from relay.config.settings import DEFAULT_ALLOW, GRANT_API, GrantSettings, RelaySettings
from relay.config.validation import Checker
from relay.config.yaml_document import Data
from relay.errors import Api

SHORTHAND_RELAY: Final = "anthropic"
"""The relay that ``claude.base_url`` stands for."""


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
    reader = _RelayReader(checker, grants, folder, own)
    return reader.read(sections.get("claude"), sections.get("relays"))


class _RelayReader:
    def __init__(
        self,
        checker: Checker,
        grants: list[DeclaredGrant],
        folder: Path,
        own: Sequence[ListenAddress],
    ) -> None:
        self._checker = checker
        self._grants = grants
        self._folder = folder
        self._own = own
        self._base_url: str | None = None
        self._has_shorthand = False
        self._shorthand_grant: str | None = None

    def read(self, claude: Data, relays: Data) -> list[RelaySettings]:
        raw_claude = self._checker.mapping(("claude",), claude)
        shorthand = self._checker.model(("claude",), Claude, raw_claude)
        self._base_url = shorthand.base_url if shorthand else None
        self._has_shorthand = raw_claude.get("base_url") is not None
        self._shorthand_grant = _text(raw_claude.get("grant"))
        items = dict(self._checker.mapping(("relays",), relays))
        if self._has_shorthand and SHORTHAND_RELAY not in items:
            items[SHORTHAND_RELAY] = None
        elif self._shorthand_grant is not None and SHORTHAND_RELAY not in items:
            self._checker.complain(("claude", "grant"), "needs base_url beside it")
        if not items and not self._checker.complains_of(("relays",)):
            self._checker.complain((), "no relay: set claude.base_url, or declare one in relays")
        read = (self._read_relay(name, item) for name, item in items.items())
        return [relay for relay in read if relay is not None]

    def _read_relay(self, name: str, item: Data) -> RelaySettings | None:
        is_shorthand = self._has_shorthand and name == SHORTHAND_RELAY
        path: FieldPath = ("relays", name)
        if is_shorthand and item is None:
            path = ("claude", "base_url")
        if not is_name(name):
            self._checker.complain(path, f"a relay's name {NAME_RULE}")
        raw = {} if item is None else item
        relay = self._checker.model(path, Relay, raw)
        served = self._choose_grant(path, name, raw, is_shorthand=is_shorthand)
        url = self._choose_url(path, relay, is_shorthand=is_shorthand) if relay else None
        ca_file = self._ca_file((*path, "ca_file"), relay.ca_file) if relay else None
        if relay is None or url is None or served is None:
            return None
        grant, api = served
        allow = tuple(prefix.encode() for prefix in relay.allow or ()) or DEFAULT_ALLOW[api]
        upstream = parse_upstream(url)
        self._check_upstream(self._path_of_url(name), upstream, allow)
        return RelaySettings(
            name=name,
            upstream=upstream,
            grant=grant,
            api=api,
            allow=allow,
            ca_file=ca_file,
            max_body=relay.max_body,
        )

    def _choose_url(self, path: FieldPath, relay: Relay, *, is_shorthand: bool) -> str | None:
        if not is_shorthand:
            if relay.url is None:
                self._checker.complain(path, "needs url, for example http://localhost:8787")
            return relay.url
        if relay.url is not None and relay.url != self._base_url:
            self._checker.complain((*path, "url"), "differs from claude.base_url; keep one of them")
        return self._base_url

    def _path_of_url(self, name: str) -> FieldPath:
        is_shorthand = self._has_shorthand and name == SHORTHAND_RELAY
        return ("claude", "base_url") if is_shorthand else ("relays", name, "url")

    def _check_upstream(
        self, path: FieldPath, upstream: UpstreamAddress, allow: tuple[bytes, ...]
    ) -> None:
        if any(address.is_reached_at(upstream) for address in self._own):
            self._checker.complain(
                path, "is the relay's own address; name what it should forward to"
            )
        doubled = next((each for each in allow if _ends_with_a_part(upstream.prefix, each)), None)
        if doubled is not None:
            called = (upstream.prefix + doubled).decode()
            self._checker.remark(
                path, f"ends with what agents send too: calls would go to {called}; leave it out"
            )

    def _choose_grant(
        self, path: FieldPath, relay_name: str, raw: Data, *, is_shorthand: bool
    ) -> tuple[GrantSettings, Api] | None:
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
            if is_shorthand:
                self._checker.complain(path, "needs a grant that can serve it: anthropic or claude")
            return None
        if is_shorthand and name is None:
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

    def _ca_file(self, path: FieldPath, text: str | None) -> str | None:
        if text is None:
            return None
        file = str(self._folder / Path(text).expanduser())
        try:
            ssl.create_default_context(cafile=file)
        except (OSError, ssl.SSLError):
            self._checker.complain(path, "must be a readable file of CA certificates in PEM form")
        return file


def _ends_with_a_part(prefix: bytes, allowed: bytes) -> bool:
    """Whether a URL's path ends with an allowed path, or with the first segment of one."""
    first = b"/" + allowed.split(b"/")[1]
    return prefix.endswith((first, allowed.rstrip(b"/") or first))


def _text(data: Data) -> str | None:
    return data if isinstance(data, str) else None


def _api(data: Data) -> Api | None:
    return next((api for api in get_args(Api) if api == data), None)
