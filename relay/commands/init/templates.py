"""The texts of the files, made from what was chosen. Writes nothing, and sees no secret."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

from relay import DOCS
from relay.commands.init.ask import ADMIN_PORT, PORT, Choices, is_api
from relay.commands.init.detect import (
    APIS,
    BRIDGE,
    LOGIN,
    LOGIN_JSON,
    Credential,
    Found,
    secret_name,
)
from relay.commands.init.way_out import SECRET_NAME, WayOut
from relay.config import return_variables
from relay.errors import Api

CONFIG_FOLDER: Final = "config"
"""A folder of its own, because it is mounted into the relay's container, and .env must not be."""
TOKEN_FILE: Final = "relay_token"
LEDGER: Final = "/var/lib/relay/ledger.db"
"""In the image's folder for it, where compose.yaml has a volume."""
GATEWAY: Final = "10.84.84.1"
# compose.yaml mounts the login's folder there.
_MOUNTED_LOGIN: Final = f"~/.claude/{LOGIN}"
# Expanded by Compose, for the user who starts the stack.
_USUAL_LOGIN_FOLDER: Final = "${HOME}/.claude"
# Written to .env by earlier versions; every command with -f ignored it.
_EARLIER_COMPOSE_FILES: Final = "compose.yaml:examples/claude-subscription/compose.yaml"
# compose.yaml's Headroom, and where compose.yaml puts what it wants to be called with.
_STACK_HEADROOM: Final = "http://headroom:8787"
_STACK_HEADERS: Final = "{X-Headroom-Proxy-Token: {file: /run/hop/headroom_proxy_token}}"
_RETURN_PORT: Final = "8485"


def agent_yaml(choices: Choices, found: Found) -> str:
    """Return the configuration."""
    return "\n".join([*_agent_yaml(choices, found), ""])


def _agent_yaml(choices: Choices, found: Found) -> Iterator[str]:
    yield f"# Written by relay init. What else can stand here: {DOCS}/configuration.md"
    yield "grants:"
    for name in choices.credentials:
        yield f"  - {_grant(name, choices, found)}"
    apis = apis_of(choices)
    if "anthropic" in apis:
        yield "claude:"
        yield from _way("  ", "base_url", "anthropic", choices, found)
    if "openai" in apis:
        yield "relays:"
        yield "  openai:"
        yield from _way("    ", "url", "openai", choices, found)
    if choices.egress is not None:
        yield f"egress: {_egress(choices.egress, choices, found)}"
    if choices.case == "host":
        yield from _listening(choices)
    else:
        yield f"ledger: {{path: {LEDGER}}}  # who used what, and at what cost: relay usage"


def _egress(egress: WayOut, choices: Choices, found: Found) -> str:
    url = f"url: {json.dumps(egress.url)}"
    if not egress.login and not found.proxy_login:
        return f"{{{url}}}"
    folder = "/run/secrets" if choices.case == "compose" else "secrets"
    return f"{{{url}, credential: {{file: {folder}/{SECRET_NAME}}}}}"


def apis_of(choices: Choices) -> tuple[Api, ...]:
    """Return the APIs that the credentials are for."""
    others = any(name != "openai" for name in choices.credentials)
    here: dict[Api, bool] = {"anthropic": others, "openai": "openai" in choices.credentials}
    return tuple(api for api, wanted in here.items() if wanted)


def _listening(choices: Choices) -> Iterator[str]:
    hosts = ["127.0.0.1", BRIDGE] if choices.bridge else ["127.0.0.1"]
    yield f"listen: {json.dumps([f'{host}:{choices.port}' for host in hosts])}"
    yield f'admin: "127.0.0.1:{choices.admin_port}"'
    yield "clients:"
    yield f"  - {{name: agent, token: {{file: {TOKEN_FILE}}}}}"


def _grant(name: Credential, choices: Choices, found: Found) -> str:
    """Return a grant: by its name alone where its default sources have it."""
    if name == "subscription":
        file = _MOUNTED_LOGIN if choices.case == "compose" else found.login_file
        return f"{{name: claude, source: {{file: {json.dumps(file)}, json: {LOGIN_JSON}}}}}"
    in_folder = name in choices.store or found.credentials.get(name, "").startswith("secrets/")
    if choices.case == "host" and in_folder:
        return f"{{name: {name}, source: {{file: secrets/{secret_name(name)}}}}}"
    return name


def _way(indent: str, key: str, api: Api, choices: Choices, found: Found) -> Iterator[str]:
    """Yield the lines that say where an API's calls go: a hop, a chosen URL, or the API itself."""
    if not choices.chain:
        url = APIS[api] if is_api(choices.upstream) else choices.upstream
        yield f"{indent}{key}: {url}"
        return
    yield f"{indent}hops:"
    yield f"{indent}  - name: headroom"
    if choices.stack_headroom:
        yield f"{indent}    url: {_STACK_HEADROOM}"
        yield f"{indent}    headers: {_STACK_HEADERS}"
    else:
        yield f"{indent}    # {assignment(api, found)}"
        yield f"{indent}    url: {choices.upstream}"


def assignment(api: Api, found: Found) -> str:
    """Return the assignment that has a Headroom on this host send on to the relay."""
    port = found.value("RELAY_RETURN_PORT", _RETURN_PORT)
    variable, *_ = return_variables(api, f"http://127.0.0.1:{port}/{api}/headroom")
    return f"in {variable.proxy}: {variable.assignment}"


def compose_variables(choices: Choices, found: Found, ids: tuple[int, int]) -> dict[str, str]:
    """Return the variables of .env, given the user that runs this."""
    variables = {"RELAY_CONFIG_DIR": f"./{CONFIG_FOLDER}"}
    by_login = "subscription" in choices.credentials
    # Files that only their owner may read need the relay to be their owner. Root's files are
    # given to the image's own user instead, but for the login, which stays Claude Code's.
    if ids[0] or by_login:
        variables |= {"RELAY_UID": str(ids[0]), "RELAY_GID": str(ids[1])}
    if choices.port != PORT or found.value("RELAY_PORT", ""):
        variables["RELAY_PORT"] = str(choices.port)
    if choices.admin_port != ADMIN_PORT or found.value("RELAY_ADMIN_PORT", ""):
        variables["RELAY_ADMIN_PORT"] = str(choices.admin_port)
    if choices.bridge:
        hosts = ("127.0.0.1", gateway(found), BRIDGE)
        variables["RELAY_LISTEN"] = ",".join(f"{host}:{choices.port}" for host in hosts)
    if by_login:
        variables["CLAUDE_CREDENTIALS_DIR"] = str(found.login_folder or _USUAL_LOGIN_FOLDER)
    return variables


def gateway(found: Found) -> str:
    """Return the address at which the stack's agents reach the relay."""
    return found.value("RELAY_GATEWAY", GATEWAY)


def outdated(choices: Choices, current: Mapping[str, str]) -> frozenset[str]:
    """Return variables that earlier versions wrote to .env and this choice does not use."""
    names: set[str] = set()
    if not choices.bridge and BRIDGE in current.get("RELAY_LISTEN", ""):
        names.add("RELAY_LISTEN")
    if current.get("COMPOSE_FILE") == _EARLIER_COMPOSE_FILES:
        names.add("COMPOSE_FILE")
    if "subscription" not in choices.credentials:
        names.add("CLAUDE_CREDENTIALS_DIR")
    return frozenset(names)
