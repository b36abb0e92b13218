"""examples/swarm: read by Docker's own tools."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.repository.manifests import SWARM, stack


@pytest.mark.parametrize("name", ["stack.yaml", "agents.yaml"])
def test_stack_file_is_valid(name: str) -> None:
    """By the schema of Compose, whose fields a stack file has; and its variables are filled in."""
    command = ["docker", "compose", "--file", str(SWARM / name), "config", "--format", "json"]
    environment = {"PATH": os.environ["PATH"], "TOKEN_SECRET": "relay_token_2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    assert set(read["services"]) == set(stack(name)["services"])
    assert read["secrets"]["relay_token"]["name"] == "relay_token_2"
