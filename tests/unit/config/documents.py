"""An agent.yaml, and what it comes to or what is said of it."""

from pathlib import Path

import pytest

from relay.config import ConfigurationError, Settings, load

# Made up, and of the shape of real ones.
API_KEY = "sk-ant-api03-Jr7Wm2Kx9Qv4Tz1Lb6Nc8Hd3Gf5Ys-pA0eUo"
RELAY_TOKEN = "relay-Zk3Nw8Qx5Tb1Lm7Vc4Rj9Hd2Gf6Ys0Pa_Eu-oIiUuYt"

SHORT = """\
grants: [anthropic]
claude:
  base_url: http://localhost:8787
"""


def read(file: Path, text: str, **environment: str) -> Settings:
    """Return what this text comes to under these variables, and a proxy that means nothing."""
    file.write_text(text, encoding="utf-8")
    given = {"RELAY_SECRETS": str(file.parent / "secrets"), "HTTPS_PROXY": "http://proxy.odd:3128"}
    return load(file, given | environment)


def mistakes(file: Path, text: str, **environment: str) -> list[str]:
    """Return what is said of a text that cannot be used, without the file's name."""
    with pytest.raises(ConfigurationError) as caught:
        read(file, text, **environment)
    lines = caught.value.explain()
    assert all(line.startswith(f"{file}:") for line in lines)
    assert "\n".join(lines) == str(caught.value)
    return [line.removeprefix(f"{file}:") for line in lines]


def remarks(file: Path, text: str, **environment: str) -> list[str]:
    """Return the warnings that a text comes to, without the file's name."""
    warnings = read(file, text, **environment).warnings
    assert all(line.startswith(f"{file}:") for line in warnings)
    return [line.removeprefix(f"{file}:") for line in warnings]


def relay_with(text: str, grants: str = "[anthropic]") -> str:
    """Return a configuration whose relay ``r`` has these further fields, on line 4."""
    return f"grants: {grants}\nrelays:\n  r:\n    {{url: http://localhost:8787, {text}}}\n"


def grant_with(text: str) -> str:
    """Return a configuration whose grant has these further fields, on line 2."""
    return (
        f"grants:\n  - {{name: anthropic, {text}}}\nclaude: {{base_url: http://localhost:8787}}\n"
    )
