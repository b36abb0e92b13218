"""The address of the admin listener on this host or in this container.

It is found without a valid configuration: a health check must work with a broken one as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from relay.commands import CommandError
from relay.config import (
    DEFAULT_ADMIN,
    ConfigurationError,
    ListenAddress,
    find_file,
    parse_listen,
)

# Whoever listens everywhere is called on loopback.
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared


def admin_address(named: str | None, environment: Mapping[str, str]) -> ListenAddress:
    """Return where the admin pages are, as the configuration says if it can be read.

    ``named`` is where the configuration is, if not where it is looked for.

    Raises:
        CommandError: The address makes no sense, or its interface has none.
    """
    variable = environment.get("RELAY_ADMIN", "").split(",")[0].strip()
    try:
        address = parse_listen(variable or _configured(named, environment) or DEFAULT_ADMIN)
    except ValueError as error:
        raise CommandError(f"{'$RELAY_ADMIN' if variable else 'admin'}: {error}") from error
    return interface_host(address)


def _configured(named: str | None, environment: Mapping[str, str]) -> str | None:
    from yaml import YAMLError, safe_load  # noqa: PLC0415  # only where there is a file to read

    try:
        data = safe_load(find_file(named, environment).read_text(encoding="utf-8"))
    except (ConfigurationError, OSError, ValueError, YAMLError):
        return None
    value = data.get("admin") if isinstance(data, dict) else None
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, str) else None


def interface_host(address: ListenAddress) -> ListenAddress:
    """Return the address with an interface's name replaced by its first address."""
    from relay.downstream.listener import interface_addresses  # noqa: PLC0415  # rarely needed

    if address.ip is not None:
        return address
    found = interface_addresses(address.host)
    if not found:
        raise CommandError(f"{address.host} has no address")
    return ListenAddress(found[0], address.port)


def callable_address(address: ListenAddress) -> ListenAddress:
    """Return an address to connect to: loopback for a listener on all addresses."""
    return ListenAddress(_EVERYWHERE.get(address.host, address.host), address.port)


def page_url(address: ListenAddress, page: str) -> str:
    """Return an admin page's URL."""
    return f"http://{callable_address(address)}{page}"
