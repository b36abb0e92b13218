"""Who may call: the rules on Host, Origin and client tokens.

With client tokens, the token decides. Without them only loopback is listened on, and what
must be kept out is the user's own browser: a page that rebinds its name to 127.0.0.1 sends
a foreign Host, a page that merely posts there says so in Sec-Fetch-Site.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final

from relay.config import GrantSettings, ListenAddress
from relay.credentials.credential import Credential
from relay.credentials.folder import TokenFolder, folder_with
from relay.errors import BadHost, ForeignHost, OriginRefused, TokenRefused
from relay.http.memo import Memo
from relay.http.message import RequestHead

NO_CLIENT: Final = "none"

_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::[0-9]{0,5})?")
_BEARER: Final = re.compile(rb"bearer +([^ ].*)", re.IGNORECASE)
_STANDARD: Final = frozenset({b"x-api-key", b"authorization"})
_OWN_PAGES: Final = frozenset({b"none", b"same-origin"})


class AccessPolicy:
    """Admits requests that come to a set of listen addresses."""

    def __init__(
        self,
        addresses: Iterable[ListenAddress],
        clients: Sequence[Credential],
        folders: Sequence[TokenFolder] = (),
    ) -> None:
        self._own = {address.host for address in addresses}
        self._clients = clients
        self._folders = folders
        self._has_clients = bool(clients or folders)

    def check_host(self, head: RequestHead, local: str) -> None:
        """Raise unless the Host is well-formed and, where no token protects, our own.

        ``local`` is the address the connection came to, whatever the listener's was.
        """
        host = check_host_form(head)
        if not self._has_clients and not self._is_own(host, local):
            raise ForeignHost

    def _is_own(self, host: str, local: str) -> bool:
        host = host.removeprefix("[").removesuffix("]").lower()
        if host in self._own or host in ("localhost", local):
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def check_origin(self, head: RequestHead) -> None:
        """Raise for whatever a web page sends (https://fetch.spec.whatwg.org/#origin-header)."""
        if head.values(b"origin"):
            raise OriginRefused
        sites = head.values(b"sec-fetch-site")
        if not self._has_clients and any(site.lower() not in _OWN_PAGES for site in sites):
            raise OriginRefused

    def admit(self, head: RequestHead) -> str:
        """Return the client's name; every token presented must be the same client's.

        Raises:
            TokenRefused: None was presented, or one was wrong.
        """
        if not self._has_clients:
            return NO_CLIENT
        names = {self._owner(token) for token in presented_tokens(head)}
        name = names.pop() if len(names) == 1 else None
        if name is None:
            raise TokenRefused
        return name

    def _owner(self, token: bytes | None) -> str | None:
        """Return whose token this is, in a time that does not depend on it."""
        owner = None
        for client in self._clients:
            value = client.value()
            if hmac.compare_digest(value or b"", token or b"") and value and token:
                owner = client.name
        if owner is None and token:
            owner = self._owner_in_folders(token)
        return owner

    def _owner_in_folders(self, token: bytes) -> str | None:
        for folder in self._folders:
            name = folder.owner(token)
            # Else a client would be under the rules of the one that has its name.
            if name is not None and folder_with(name, self._folders) is folder:
                return name
        return None


def check_host_form(head: RequestHead) -> str:
    """Return the host of the one Host field; raise BadHost unless it is well-formed."""
    values = head.values(b"host")
    host = _hosts[values[0]] if len(values) == 1 else None
    if host is None:
        raise BadHost
    return host


def comes_from_page(head: RequestHead) -> bool:
    """Whether a web page sends this (https://fetch.spec.whatwg.org/#origin-header)."""
    if head.values(b"origin"):
        return True
    return any(site.lower() not in _OWN_PAGES for site in head.values(b"sec-fetch-site"))


def _read_host(value: bytes) -> str | None:
    """Return the host that a Host field names (RFC 9110 §7.2), or None if it is malformed."""
    match = _HOST.fullmatch(value)
    return match[1].decode("ascii") if match else None


_hosts: Final = Memo(_read_host)


def presented_tokens(head: RequestHead, grant: GrantSettings | None = None) -> list[bytes | None]:
    """Return the tokens of a request; None stands for a credential of another kind.

    They stand where SDKs put a key, or where ``grant`` has its credential. A header with nothing
    in it is none: SDKs send one where a variable is set and empty.
    """
    tokens: list[bytes | None] = [value for value in head.values(b"x-api-key") if value]
    for value in head.values(b"authorization"):
        if value and value.lower() != b"bearer":
            match = _BEARER.fullmatch(value)
            tokens.append(match[1] if match else None)
    if grant is not None and (key := grant.header.lower()) not in _STANDARD:
        tokens += [_without_form(value, grant) for value in head.values(key) if value]
    return tokens


def _without_form(value: bytes, grant: GrantSettings) -> bytes | None:
    """Return the credential in a grant's own header, or None where it has another form."""
    if not (value.startswith(grant.prefix) and value.endswith(grant.suffix)):
        return None
    return value.removeprefix(grant.prefix).removesuffix(grant.suffix)
