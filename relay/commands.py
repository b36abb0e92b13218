"""What `relay check`, `relay token` and `relay health` do."""

from __future__ import annotations

import contextlib
import http.client
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from relay.config import DEFAULT_ADMIN, ListenAddress, RelaySettings, Settings, parse_listen
from relay.credentials import Credential

TOKEN_BYTES: Final = 32
HEALTH_SECONDS: Final = 5.0


class CommandError(Exception):
    """A command cannot do what it is asked; the text says why."""


async def credentials_of(settings: Settings) -> tuple[list[Credential], list[Credential]]:
    """Return the grants and the clients' tokens, each read once."""
    grants = [Credential(grant.name, grant.sources) for grant in settings.grants]
    clients = [Credential(client.name, client.sources) for client in settings.clients]
    for credential in (*grants, *clients):
        await credential.settle()
    return grants, clients


async def describe(settings: Settings) -> list[str]:
    """Return the lines that say what would be served; of secrets, only where they are."""
    grants, clients = await credentials_of(settings)
    states = {grant.name: _state(grant) for grant in grants}
    lines = [f"listen    {address}" for address in settings.listen]
    lines += [f"admin     {address}" for address in settings.admin]
    for relay in settings.relays:
        lines += _describe_relay(relay, states[relay.grant.name])
    lines += [f"client    {client.name}: token {_state(client)}" for client in clients]
    if not clients:
        lines.append("client    whoever is on this host: no clients are declared")
    limits = settings.timeouts.model_dump()
    lines.append("timeouts  " + ", ".join(f"{name} {value:g} s" for name, value in limits.items()))
    lines.append(f"drain     {settings.drain:g} s")
    lines += [f"warning   {warning}" for warning in settings.warnings]
    return lines


def _describe_relay(relay: RelaySettings, state: str) -> list[str]:
    paths = " ".join(prefix.decode() for prefix in relay.allow)
    return [
        f"relay     /relay/{relay.name} forwards to {relay.upstream}, API {relay.api}",
        f"            paths       {paths}",
        f"            credential  {relay.grant.name}, {state}",
    ]


def _state(credential: Credential) -> str:
    if credential.ready:
        return f"is there, from {credential.origin()}"
    return f"is MISSING: {credential.explain()}"


def fresh_token() -> str:
    """Return a new client token: 256 bits, in letters that need no quoting."""
    return f"relay-{secrets.token_urlsafe(TOKEN_BYTES)}"


def write_token(path: Path) -> bool:
    """Write a fresh token to a file that agents may read; False if one is there already.

    Raises:
        CommandError: The file cannot be written.
    """
    if path.is_file() and path.stat().st_size:
        return False
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(fresh_token() + "\n", encoding="ascii")
        temporary.chmod(0o444)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        reason = (error.strerror or "unknown").lower()
        raise CommandError(f"the token cannot be written to {path}: {reason}") from error
    return True


def admin_address(settings_admin: str | None, environment: Mapping[str, str]) -> ListenAddress:
    """Return where the admin pages of this container or host are."""
    text = environment.get("RELAY_ADMIN", "").split(",")[0].strip() or settings_admin
    return parse_listen(text or DEFAULT_ADMIN)


def ask(address: ListenAddress, page: str) -> tuple[int, str]:
    """Return an admin page's status and text.

    Raises:
        CommandError: Nobody answers there.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104  # compared
    connection = http.client.HTTPConnection(host, address.port, timeout=HEALTH_SECONDS)
    try:
        connection.request("GET", page)
        response = connection.getresponse()
        return response.status, response.read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise CommandError(f"no relay answers at {address}") from error
    finally:
        connection.close()


def configured_admin(path: Path) -> str | None:
    """Return the file's ``admin`` if it can be read; a health check needs no valid file."""
    from yaml import YAMLError, safe_load  # noqa: PLC0415  # only where there is a file to read

    try:
        data = safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError):
        return None
    value = data.get("admin") if isinstance(data, dict) else None
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, str) else None


def interface_host(address: ListenAddress) -> ListenAddress:
    """Return the address with an interface's name replaced by its first address."""
    from relay.listeners import interface_addresses  # noqa: PLC0415  # rarely needed

    if address.ip is not None:
        return address
    found = interface_addresses(address.host)
    if not found:
        raise CommandError(f"{address.host} has no address")
    return ListenAddress(found[0], address.port)
