"""What ``relay init`` says: what it found, what is missing, and the commands that come next."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from relay.commands.init.ask import Choices
from relay.commands.init.detect import (
    BRIDGE,
    LOGIN,
    Credential,
    Found,
    secret_name,
    taken,
)
from relay.commands.init.templates import apis_of, assignment, gateway
from relay.commands.init.way_out import SECRET_NAME
from relay.config import GRANT_VARIABLES

_TERMS: Final = "https://www.anthropic.com/legal/consumer-terms"


def what_was_found(choices: Choices, found: Found) -> Iterator[str]:
    """Yield the lines before anything is written."""
    if choices.case == "compose" and not found.relays_folder:
        yield "note      this is not the relay's folder: what is written is for its compose.yaml,"
        yield "          which stands in a clone of the relay; without one, --for host"
    if choices.headroom:
        yield f"found     Headroom {choices.headroom} at {choices.upstream}"
    elif choices.stack_headroom:
        yield "note      Headroom: compose.yaml's own, which never sees the credential"
    elif urlsplit(choices.upstream).scheme == "http":
        started = "headroom proxy" + (", set as below" if choices.chain else "")
        start = f"; start it: {started}" if choices.case == "host" else ""
        yield f"missing   no Headroom answers at {choices.upstream} yet{start}"
    for name in choices.credentials:
        yield from _credential(name, choices, found)
    yield from _way_out(choices, found)
    if found.bridge:
        yield f"found     {BRIDGE} at {found.bridge}"
    elif choices.bridge:
        yield f"missing   {BRIDGE}; the relay listens there once Docker has made it"
    for port in (choices.port, choices.admin_port):
        if taken(port):
            flag = "--port" if port == choices.port else "--admin-port"
            text = f"something listens at 127.0.0.1:{port} already: a relay, or else {flag}"
            yield f"note      {text} chooses another"


def _credential(name: Credential, choices: Choices, found: Found) -> Iterator[str]:
    place = found.credentials.get(name)
    if place:
        yield f"found     {name}: {place}"
        if place.startswith("$") and name not in choices.store:
            yield f"note      {_where_needed(place, choices, name)}"
    elif name == "subscription":
        yield f"missing   Claude Code's login, ~/.claude/{LOGIN}: run claude, and log in"
    else:
        variable, file = GRANT_VARIABLES[name], f"secrets/{secret_name(name)}"
        where = f"set ${variable}" + (f", or write {file}" if choices.case == "compose" else "")
        yield f"missing   {name}: {where}"
    if name in ("claude", "subscription"):
        yield f"note      for your own subscription on your own machine: {_TERMS}"
    if name == "subscription" and choices.case == "compose" and not os.getuid():
        yield "note      the login is root's: so the relay will run as root; better be another user"


def _way_out(choices: Choices, found: Found) -> Iterator[str]:
    way, egress = found.way_out, choices.egress
    if way is not None and not way.url:
        text = "names no http:// or https:// proxy; where one is needed, it is set by egress"
        yield f"note      ${way.variable} {text}"
    if egress is None:
        return
    place = f"${egress.variable}" if egress.variable else "--egress"
    yield f"found     the proxy {egress.url} on the way to the API: {place}"
    if egress.login and not (choices.store_login or found.proxy_login):
        instead = f"--store copies what ${egress.variable} says"
        yield f"missing   secrets/{SECRET_NAME}: write the proxy's user:password there; {instead}"


def _where_needed(place: str, choices: Choices, name: Credential) -> str:
    instead = f"--store keeps it in secrets/{secret_name(name)} instead"
    if choices.case == "compose":
        return f"{place} must be set when docker compose up runs first; {instead}"
    return f"{place} must be set wherever relay serve runs; {instead}"


def next_steps(choices: Choices, found: Found, folder: Path) -> Iterator[str]:
    """Yield the commands, each on a line of its own."""
    if folder.resolve() != Path.cwd():
        yield f"cd {shlex.quote(str(folder))}"
    if choices.chain and not choices.stack_headroom:
        for api in apis_of(choices):
            yield f"# {assignment(api, found)}"
    if choices.case == "compose":
        yield from _compose_steps(choices, found)
    else:
        yield from _host_steps(choices, folder.resolve() / "agent.yaml")


def _compose_steps(choices: Choices, found: Found) -> Iterator[str]:
    host = "host.docker.internal" if choices.bridge else gateway(found)
    yield f"docker compose {'--profile headroom ' if choices.stack_headroom else ''}up -d"
    yield f"docker compose exec -T relay relay env --host {host} > agent.env"


def _host_steps(choices: Choices, file: Path) -> Iterator[str]:
    config = f"--config {shlex.quote(str(file))}"
    yield "relay serve"
    yield "# in another shell, in your project's folder:"
    if choices.bridge:
        yield f"relay env {config} --host host.docker.internal > agent.env"
    elif choices.credentials == ("openai",):
        yield f'eval "$(relay env openai {config} --format shell)"'
    else:
        yield f"relay run {config} -- claude"
