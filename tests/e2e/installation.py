"""The relay's folder as a user has it, with settings, secrets and files of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

from tests.e2e.stack import Stack

CALL: Final = (
    "import json, os, urllib.request as u;"
    "t = open(os.environ['ANTHROPIC_AUTH_TOKEN_FILE']).read().strip();"
    "b = json.dumps({'model': 'claude-haiku-4-5', 'max_tokens': 1, 'messages': []}).encode();"
    "q = u.Request(os.environ['ANTHROPIC_BASE_URL'] + '/v1/messages', data=b,"
    " headers={'authorization': 'Bearer ' + t, 'content-type': 'application/json'});"
    "print(u.urlopen(q, timeout=20).status, os.getcwd())"
)


def let_in(folder: Path) -> None:
    """Have the container's user get into a folder."""
    for each in (folder, *folder.parents[:2]):
        each.chmod(0o755)


class Installation:
    """The relay's folder as a user has it, and a user's terminals."""

    def __init__(self, stack: Stack, image: str) -> None:
        self.stack = stack
        self.folder = stack.folder / "relay"
        self.project = stack.folder / "project"
        self.project.mkdir()
        (self.folder / "secrets").mkdir(parents=True)
        self.settings = stack.variables | {"RELAY_IMAGE": image}
        del self.settings["RELAY_SECRETS_DIR"]
        self.settings["RELAY_CONFIG_DIR"] = "./config"

    def bring(self, tree: Path) -> None:
        """Put the files of a version into the folder, in place of those that are there."""
        shutil.copy(tree / "compose.yaml", self.folder)
        shutil.copytree(tree / "examples", self.folder / "examples", dirs_exist_ok=True)

    def write_settings(self, **further: str) -> None:
        """Write .env beside compose.yaml."""
        lines = (f"{name}={value}\n" for name, value in (self.settings | further).items())
        (self.folder / ".env").write_text("".join(lines))

    def write_agent_yaml(self, grants: str) -> None:
        """Write the configuration, towards the stand-in."""
        (self.folder / "config").mkdir(exist_ok=True)
        url = f"http://localhost:{self.stack.headroom_port}"
        text = f"{grants}\nclaude:\n  base_url: {url}\n"
        (self.folder / "config/agent.yaml").write_text(text)

    def write_secret(self, value: str) -> None:
        """Write the key's file, for the relay's user alone to read."""
        file = self.folder / "secrets/anthropic_api_key"
        file.write_text(value)
        file.chmod(0o400)
        if os.getuid() == 0:
            os.chown(file, self.stack.uid, self.stack.uid)

    def compose(self, *arguments: str, **variables: str) -> str:
        """Run ``docker compose -f ~/relay/compose.yaml`` in a terminal with these variables."""
        return self.compose_in(self.project, *arguments, **variables)

    def compose_in(self, folder: Path, *arguments: str, **variables: str) -> str:
        """Run it in another folder."""
        command = ["docker", "compose", "-f", str(self.folder / "compose.yaml"), *arguments]
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | {"PWD": str(folder)} | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, **variables: str) -> dict[str, str]:
        """Make a call from the sandbox; return the headers that arrived at the stand-in."""
        self.stack.forget_records()
        said = self.compose("run", "--rm", "-T", "claude", "python", "-c", CALL, **variables)
        assert said.split() == ["200", str(self.project)]
        (record,) = self.stack.records("done", 1)
        headers = record["headers"]
        assert isinstance(headers, list)
        return {name.lower(): value for name, value in headers}

    def relay(self) -> dict[str, Any]:  # JSON
        """Return what Docker knows of the relay's container."""
        container = self.compose("ps", "--quiet", "relay").strip()
        done = subprocess.run(
            ["docker", "inspect", container], capture_output=True, text=True, check=True
        )
        (found,) = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found
