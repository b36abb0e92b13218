"""Addresses as agent.yaml writes them: where to forward, and where to listen.

Pure parsing. The errors say what would be right and never repeat the value, for it may be
a secret in the wrong place.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from relay.config.problems import looks_secret
from relay.errors import RelayError
from relay.http.target import check_target

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
# Linux: IFNAMSIZ is 16 with the final NUL, and a name holds neither slash nor white space.
_INTERFACE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}")
_URL_EXAMPLE: Final = "for example http://localhost:8787"
_PROXY_EXAMPLE: Final = "for example http://proxy.corp:3128"
_LISTEN_EXAMPLE: Final = 'for example "127.0.0.1:8484", "[::1]:8484" or "docker0:8484"'


@dataclass(frozen=True, slots=True)
class UpstreamAddress:
    """Where calls are forwarded to; ``prefix`` is a path without its final slash."""

    scheme: str
    host: str
    port: int
    prefix: bytes

    @property
    def tls(self) -> bool:
        """Whether the connection is made with TLS."""
        return self.scheme == "https"

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port

    @property
    def authority(self) -> bytes:
        """The Host header for this address; a default port is left out (RFC 9110 §7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = self.port == _DEFAULT_PORTS[self.scheme]
        return (host if default else f"{host}:{self.port}").encode("ascii")

    @property
    def is_loopback(self) -> bool:
        """Whether only this host can be meant, as far as names tell without a resolver."""
        ip = _unmapped(_ip(self.host))
        return _is_localhost(self.host) if ip is None else ip.is_loopback or ip.is_unspecified

    def is_server_of(self, other: UpstreamAddress) -> bool:
        """Whether both are one listener's, whatever the path; names are not looked up."""
        if self.port != other.port:
            return False
        hosts = {_unmapped(_ip(each.host)) or _folded(each.host) for each in (self, other)}
        by_name = any(_is_localhost(each.host) for each in (self, other))
        return len(hosts) == 1 or (by_name and self.is_loopback and other.is_loopback)

    def overlaps(self, other: UpstreamAddress) -> bool:
        """Whether one of the two is the other, or stands below it."""
        ours, others = self.prefix + b"/", other.prefix + b"/"
        return self.is_server_of(other) and (ours.startswith(others) or others.startswith(ours))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority.decode()}{self.prefix.decode()}"


IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen: an IP address, or the name of an interface that may come later."""

    host: str
    port: int

    @property
    def ip(self) -> IpAddress | None:
        """The IP address, or None for an interface's name."""
        return _ip(self.host)

    @property
    def is_loopback(self) -> bool:
        """Whether only this host can reach the address."""
        return self.ip.is_loopback if self.ip else self.host == "lo"

    def is_reached_at(self, upstream: UpstreamAddress) -> bool:
        """Whether calls to an upstream come here, as far as names tell without a resolver."""
        if upstream.port != self.port:
            return False
        own, its = self.ip, _unmapped(_ip(upstream.host))
        if its is None:
            everywhere = own is not None and own.is_unspecified
            return _is_localhost(upstream.host) and (everywhere or self.is_loopback)
        # A connection to the unspecified address goes to this host's loopback.
        loopback = its.is_loopback or its.is_unspecified
        if own is None:
            return loopback and self.is_loopback
        if own.version != its.version:
            return False
        if own.is_unspecified:
            return loopback
        return its == own or (its.is_unspecified and own.is_loopback)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _ip(host: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _unmapped(ip: IpAddress | None) -> IpAddress | None:
    """Return the IPv4 address that an IPv6 one stands for, if it does (RFC 4291 §2.5.5.2)."""
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip


def _is_localhost(host: str) -> bool:
    """Whether a name is this host's loopback everywhere (RFC 6761 §6.3)."""
    name = _folded(host)
    return name == "localhost" or name.endswith(".localhost")


def _folded(host: str) -> str:
    return host.lower().removesuffix(".")


def parse_upstream(text: str) -> UpstreamAddress:
    """Parse an upstream's URL; raise ValueError with what would be right."""
    return _parse_url(text, _URL_EXAMPLE, "the credential comes from a grant")


def parse_proxy(text: str) -> UpstreamAddress:
    """Parse the URL of a proxy on the way out; raise ValueError with what would be right."""
    source = "credential names a source of user:password"
    address = _parse_url(text.removesuffix("/"), _PROXY_EXAMPLE, source)
    if address.prefix:
        raise ValueError(f"must be a host and its port, without a path, {_PROXY_EXAMPLE}")
    return address


def _parse_url(text: str, example: str, where_credentials_are: str) -> UpstreamAddress:
    if not text.isprintable() or text != text.strip():
        raise ValueError(f"is not a valid URL; {example}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"is not a valid URL; {example}") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError(f"must begin with http:// or https://, {example}")
    if not host or port == 0:
        raise ValueError(f"needs a host and a valid port, {example}")
    if "@" in parts.netloc:
        raise ValueError(f"must not hold a user or password; {where_credentials_are}")
    if "?" in text or "#" in text:
        raise ValueError("must not have a query or a fragment")
    if looks_secret(text):
        raise ValueError(f"looks as if a key were in it; {example}")
    _check_host(host, example, bracketed="[" in parts.netloc)
    prefix = parts.path.rstrip("/").encode("utf-8")
    try:
        check_target(b"GET", prefix or b"/")
    except RelayError:
        raise ValueError("has a path that cannot be forwarded; use plain segments") from None
    return UpstreamAddress(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], prefix)


def _check_host(host: str, example: str, *, bracketed: bool) -> None:
    if bracketed or ":" in host:
        try:
            ipaddress.IPv6Address(host.partition("%")[0])
        except ValueError:
            raise ValueError(f"has a malformed IPv6 address, {example}") from None
    elif not _HOST_NAME.fullmatch(host):
        raise ValueError(f"has a malformed host name, {example}")


def parse_listen(text: str) -> ListenAddress:
    """Parse ``host:port``, where host is an IP address, ``localhost`` or an interface.

    Raises:
        ValueError: With what would be right.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"must be host:port, {_LISTEN_EXAMPLE}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise ValueError(f"has a malformed address, {_LISTEN_EXAMPLE}")
    elif ":" in host:
        raise ValueError(f"needs square brackets around an IPv6 address, {_LISTEN_EXAMPLE}")
    if host == "localhost":
        host = "127.0.0.1"
    address = ListenAddress(host, int(port))
    if "%" in host or (address.ip is None and not _is_interface_name(host)):
        raise ValueError(
            f"needs an IP address or an interface's name before the port, {_LISTEN_EXAMPLE}"
        )
    return address


def _is_interface_name(host: str) -> bool:
    # Four numbers with dots are a mistyped address, whatever the kernel would allow.
    digits_and_dots = re.fullmatch(r"[0-9.]+", host) is not None
    return _INTERFACE_NAME.fullmatch(host) is not None and not digits_and_dots
