"""Settles where the relay listens: ``listen``, ``admin`` and ``returns``, or their variables.

A mistake in a variable is said to be there, since the file is innocent of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from relay.config.addresses import ListenAddress, parse_listen
from relay.config.hops import has_hops
from relay.config.problems import Path as FieldPath
from relay.config.validation import Checker
from relay.config.yaml_document import Data

_VARIABLES: Final = {
    "listen": "RELAY_LISTEN",
    "admin": "RELAY_ADMIN",
    "returns": "RELAY_RETURNS",
}


class ListenAddresses:
    """The addresses of one document, read and checked against one another."""

    def __init__(
        self,
        checker: Checker,
        sections: Mapping[str, Data],
        environment: Mapping[str, str],
        defaults: Mapping[str, str],
    ) -> None:
        self._checker = checker
        self._sections = sections
        self._environment = environment
        self._has_hops = has_hops(sections)
        self.listen = self._addresses("listen", defaults["listen"])
        self.admin = self._addresses("admin", defaults["admin"])
        self.returns = self._addresses("returns", defaults["returns"])

    @property
    def open(self) -> tuple[ListenAddress, ...]:
        """All that is listened on: without hops nobody does on ``returns``, and others may."""
        return (*self.listen, *self.admin, *(self.returns if self._has_hops else ()))

    def check(self) -> None:
        """Complain of addresses that are named twice, in one section or in two."""
        sections = {"listen": self.listen, "admin": self.admin, "returns": self.returns}
        for section, addresses in sections.items():
            if any(_share([each], addresses[:place]) for place, each in enumerate(addresses)):
                self._checker.complain(self._place_of(section), "names an address twice; keep one")
        if _share(self.listen, self.admin):
            self._checker.complain(("admin",), "must not be the same address as a listener")
        if not self._has_hops and self._sections.get("returns") is None:
            return  # a variable may be set for all, whether they have hops or not
        for section, addresses in (("listen", self.listen), ("admin", self.admin)):
            if _share(addresses, self.returns):
                message = f"must not be an address of {section}; name another"
                self._checker.complain(self._place_of("returns"), message)

    def remark(self) -> None:
        """Remark on what is hardly meant, of addresses that are right by themselves."""
        if self._sections.get("returns") is not None and not self._has_hops:
            self._checker.remark(("returns",), "is where hops come back, and no relay has any")
        for address in self.admin:
            if not address.is_loopback:
                self._checker.remark(
                    self._place_of("admin"),
                    f"shows metrics and calls to whoever reaches {address}, without a token; "
                    "127.0.0.1 shows them to this host alone",
                )

    def _override(self, section: str) -> str:
        """Return what the section's variable says, or nothing where the file counts."""
        return self._environment.get(_VARIABLES[section], "").strip()

    def _place_of(self, section: str) -> FieldPath:
        return (f"${_VARIABLES[section]}" if self._override(section) else section,)

    def _addresses(self, section: str, default: str) -> tuple[ListenAddress, ...]:
        if override := self._override(section):
            place = self._place_of(section)
            parts = [part.strip() for part in override.split(",") if part.strip()]
            if not parts:
                self._checker.complain(place, "names no address")
            read = [self._address(place, part) for part in parts]
        else:
            read = self._listed(section, default)
        return tuple(address for address in read if address is not None)

    def _listed(self, section: str, default: str) -> list[ListenAddress | None]:
        data = self._sections.get(section)
        if isinstance(data, str):
            data = [data]
        items = self._checker.sequence((section,), [default] if data is None else data)
        if not items and not self._checker.complains_of((section,)):
            self._checker.complain((section,), "must not be empty")
        return [self._address((section, index), item) for index, item in enumerate(items)]

    def _address(self, path: FieldPath, item: Data) -> ListenAddress | None:
        if not isinstance(item, str):
            self._checker.complain(path, 'must be text like "127.0.0.1:8484"; put it in quotes')
            return None
        try:
            return parse_listen(item)
        except ValueError as error:
            self._checker.complain(path, str(error))
            return None


def _share(some: Sequence[ListenAddress], others: Sequence[ListenAddress]) -> bool:
    return any(address.port and address in some for address in others)
