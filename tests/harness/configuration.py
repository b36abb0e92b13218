"""Configurations of relays under test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.harness.secrets import FILES

Config = dict[str, Any]


def configuration(port: int, **changes: object) -> Config:
    """Return a configuration with the relay ``anthropic`` to that port, and a client."""
    base: Config = {
        "grants": [{"name": "anthropic", "source": {"file": "key"}}],
        "claude": {"base_url": f"http://127.0.0.1:{port}"},
        "listen": ["127.0.0.1:0"],
        "admin": "127.0.0.1:0",
        "clients": [{"name": "agent", "token": {"file": "token"}}],
    }
    return base | changes


def both_relays(port: int) -> Config:
    """Return what makes it a configuration with the relay ``openai`` as well."""
    return {
        "grants": [
            {"name": "anthropic", "source": {"file": "key"}},
            {"name": "openai", "source": {"file": "openai_key"}},
        ],
        "relays": {"openai": {"url": f"http://127.0.0.1:{port}"}},
    }


def write_configuration(folder: Path, config: Config | str) -> Path:
    """Write agent.yaml, as it is or as JSON, and beside it the files that hold the secrets."""
    for name, secret in FILES.items():
        if not (folder / name).exists():
            (folder / name).write_text(secret + "\n")
    path = folder / "agent.yaml"
    path.write_text(config if isinstance(config, str) else json.dumps(config))  # JSON is YAML
    return path
