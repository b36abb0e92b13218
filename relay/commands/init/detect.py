"""Finds what is on this host and in the folder, so that it need not be asked for.

Reads variables, files, Headroom's own page and the network interfaces; changes nothing. Of secrets
it notes only where they are.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args

from relay.commands.client import BlockingClient, NoAnswer, json_object
from relay.commands.doctor.headroom import PAGE, version_on
from relay.commands.init.way_out import SECRET_NAME, WayOut, named_by
from relay.commands.init.write import read_text, variables_in
from relay.config import GRANT_VARIABLES, EnvSource, FileSource, UpstreamAddress, parse_upstream
from relay.credentials.sources import read_environment, read_file
from relay.downstream.listener import interface_addresses
from relay.errors import Api

Credential = Literal["anthropic", "claude", "subscription", "openai"]
"""A grant; ``subscription`` is the grant ``claude`` from Claude Code's own login on this host."""

BRIDGE: Final = "docker0"
HEADROOM: Final = "http://localhost:8787"
APIS: Final[Mapping[Api, str]] = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com",
}
LOGIN: Final = ".credentials.json"
LOGIN_JSON: Final = "claudeAiOauth.accessToken"
# The first that says where Claude Code 2.1.330 keeps its login.
_LOGIN_FOLDERS: Final = ("CLAUDE_SECURESTORAGE_CONFIG_DIR", "CLAUDE_CONFIG_DIR")
_COMPOSE_FILES: Final = ("compose.yaml", "compose.yml", "docker-compose.yml")
# Headroom is on this host, and answers at once; anything slower is not it.
_HEADROOM_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Found:
    """What was found: credentials with where they are, Docker's bridge, a compose file."""

    credentials: Mapping[Credential, str]
    bridge: str
    compose_file: bool
    relays_folder: bool
    """Whether that compose file is the relay's own, which reads what is written."""
    login_file: str
    """The path of Claude Code's login, for messages."""
    login_folder: Path | None
    """Its folder, if there is a login."""
    stack: Mapping[str, str] = field(repr=False)
    """The variables that Compose would use: those of .env and of the environment."""
    way_out: WayOut | None = None
    """The proxy that a variable names."""
    proxy_login: bool = False
    """Whether user and password of a proxy are in ``secrets`` already."""

    def value(self, name: str, default: str) -> str:
        """Return a variable that Compose would use."""
        return self.stack.get(name) or default


def look_around(folder: Path, environment: Mapping[str, str], bridge: str = BRIDGE) -> Found:
    """Look around for a relay that is set up in this folder."""
    named = next((value for name in _LOGIN_FOLDERS if (value := environment.get(name))), "")
    login = Path(named or f"{environment.get('HOME') or '/'}/.claude")
    stack = variables_in(read_text(folder / ".env") or "") | dict(environment)
    found: dict[Credential, str] = {}
    for name in get_args(Credential):
        place = _login_at(login) if name == "subscription" else _place(name, folder, environment)
        if name != "subscription" and not place and stack.get(GRANT_VARIABLES[name]):
            place = ".env"
        if place:
            found[name] = place
    compose_files = [each for name in _COMPOSE_FILES if (each := folder / name).is_file()]
    return Found(
        credentials=found,
        bridge=next(iter(interface_addresses(bridge)), ""),
        stack=stack,
        login_file=f"{named or '~/.claude'}/{LOGIN}",
        compose_file=bool(compose_files),
        relays_folder=any("RELAY_CONFIG_DIR" in (read_text(each) or "") for each in compose_files),
        login_folder=login if "subscription" in found else None,
        way_out=named_by(environment),
        proxy_login=read_file(FileSource(file=str(folder / "secrets" / SECRET_NAME))).value
        is not None,
    )


def _place(grant: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Return where a grant's value is: the file in ``secrets``, else the variable."""
    secret = f"secrets/{secret_name(grant)}"
    if read_file(FileSource(file=str(folder / secret))).value is not None:
        return secret
    variable = GRANT_VARIABLES[grant]
    return f"${variable}" if value_of(grant, environment) is not None else ""


def secret_name(grant: str) -> str:
    """Return the name of a grant's file in a folder of secrets."""
    return GRANT_VARIABLES[grant].lower()


def value_of(grant: str, environment: Mapping[str, str]) -> str | None:
    """Return the value of a grant's variable."""
    return read_environment(EnvSource(env=GRANT_VARIABLES[grant]), environment).value


def _login_at(folder: Path) -> str:
    source = FileSource(file=str(folder / LOGIN), json_path=LOGIN_JSON)
    return source.file if read_file(source).value else ""


def taken(port: int) -> bool:
    """Whether something listens at this port of loopback."""
    with socket.socket() as handle:
        handle.settimeout(_HEADROOM_SECONDS)
        return handle.connect_ex(("127.0.0.1", port)) == 0


def headroom_version(upstream: str) -> str | None:
    """Return the version of the Headroom at a URL, or None."""
    address = parse_upstream(upstream)
    if address.tls:
        return None  # Headroom speaks plain HTTP; this is an API, and is not asked
    return version_on(_page(address), otherwise="unknown")


def _page(address: UpstreamAddress) -> dict[str, object]:
    try:
        with BlockingClient() as client:
            return json_object(client.ask(f"{address}{PAGE}", seconds=_HEADROOM_SECONDS).body)
    except NoAnswer:
        return {}
