"""Configurations that commands are tried with, and the tokens in files beside them."""

from __future__ import annotations

from pathlib import Path

from relay.config import Settings, load

TOKEN = "relay-Zk3Nw8Qx5Tb1Lm7Vc4Rj9Hd2Gf6Ys0Pa_Eu-oIiUuYt"
OTHER = "relay-Aa1Bb2Cc3Dd4Ee5Ff6Gg7Hh8Ii9Jj0Kk_Ll-mMnNoOpP"
BOTH = """\
grants:
  - {name: anthropic, source: {file: key}}
  - {name: openai, source: {file: missing}}
claude:
  base_url: http://localhost:8787
relays:
  openai:
    url: https://llm.example.com/proxy
    grant: openai
listen: ["127.0.0.1:8484", "docker0:8484"]
clients:
  - {name: agent, token: {file: token}}
  - {name: other, token: {file: other}}
  - {name: late, token: {file: late}}
"""
SHORT = "grants: [anthropic]\nclaude: {base_url: http://localhost:8787}\n"


def settings_of(folder: Path, text: str = BOTH) -> Settings:
    """Return the settings of a text, as in this folder."""
    file = folder / "agent.yaml"
    file.write_text(text)
    return load(file, {"RELAY_SECRETS": str(folder)})
