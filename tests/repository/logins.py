"""Agents' own logins, which examples have the relay follow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml


def write_login(file: Path, login: object) -> None:
    """Write a login as its agent does: whole, with mode 0600, by rename."""
    file.parent.mkdir(exist_ok=True)
    other = file.with_name(f"{file.name}.new")
    other.touch(0o600)
    other.write_text(json.dumps(login))
    other.replace(file)


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a relay whose user has this home."""
    free = "127.0.0.1:0"
    return {"HOME": str(home), "RELAY_LISTEN": free, "RELAY_ADMIN": free, "RELAY_SECRETS": "/none"}


def relay_service(folder: Path) -> dict[str, Any]:
    """Return what a folder's compose file says of the relay."""
    file = folder / "compose.yaml"
    relay: dict[str, Any] = yaml.safe_load(file.read_text())["services"]["relay"]
    return relay
