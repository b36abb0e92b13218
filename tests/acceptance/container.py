"""The relay in its image: on the host's network, hardened, with folders mounted as in compose.yaml.

It listens on loopback, on ports that it finds itself, and asks for a token there, as it would on
any other address. Its configuration is the shorter form, its secrets are files; what counts is
read from its log and its metrics, as by anyone who runs it.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from prometheus_client import Metric

from tests.harness import ROOT
from tests.harness.configuration import Config
from tests.harness.log import Log
from tests.harness.processes import run_to_end
from tests.harness.relay import Relay, Sample, read_log
from tests.harness.secrets import KEY, OAUTH, OPENAI_KEY, TOKEN

IMAGE: Final = "agent-relay-under-test"
BUILD_SECONDS: Final = 300.0
SECRETS: Final = {
    "anthropic_api_key": KEY,
    "claude_code_oauth_token": OAUTH,
    "openai_api_key": OPENAI_KEY,
    "relay_token": TOKEN,
}
_HARDENED: Final = (
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges:true",
    "--pids-limit=128",
    "--memory=512m",
    "--memory-swap=512m",
    "--ipc=none",
    "--init",
    "--no-healthcheck",  # it would look for ports that nobody chose
)
_ENVIRONMENT: Final = {
    "RELAY_LISTEN": "127.0.0.1:0",
    "RELAY_ADMIN": "127.0.0.1:0",
    "RELAY_LOG": "json",
}
_GROWING: Final = ("_total", "_count", "_sum", "_bucket")


class ContainedRelay(Relay):
    """The image at work. What it counts is counted from the last `begin_again`."""

    def __init__(self, path: Path, log: Log, name: str) -> None:
        super().__init__(path, log)
        self.name = name
        """The container's."""
        self._earlier: list[Metric] = []

    def url(self, relay: str = "anthropic") -> str:
        """Return the base address that a client is given."""
        return f"http://127.0.0.1:{self.port}/relay/{relay}"

    async def begin_again(self) -> None:
        """Forget the calls so far: in the log, and in what was counted."""
        await self.forget_calls()
        self._earlier = list(await super()._families("relay_"))

    async def samples(self, name: str, *labels: str, **where: str) -> dict[Sample, float]:
        """Return a metric's samples that are not 0, by the values of these labels."""
        now = await super().samples(name, *labels, **where)
        if not name.endswith(_GROWING):
            return now
        before = _samples(self._earlier, name, labels, where)
        grown = {key: value - before.get(key, 0) for key, value in now.items()}
        return {key: value for key, value in grown.items() if value}


def _samples(
    families: Iterable[Metric], name: str, labels: tuple[str, ...], where: dict[str, str]
) -> dict[Sample, float]:
    found: dict[Sample, float] = {}
    for each in (sample for family in families for sample in family.samples):
        if each.name == name and all(each.labels.get(key) == text for key, text in where.items()):
            key = tuple(each.labels[label] for label in labels)
            found[key] = found.get(key, 0) + each.value
    return found


def forwarding_to(url: str, unreachable: str) -> Config:
    """Return a configuration with a relay for each API at an address, and some that can't serve.

    `subscription` has an OAuth token, `unready` a key that is not there, and behind `away` is
    nobody.
    """
    later = {"name": "later", "source": {"file": "/run/secrets/later"}, "header": "x-api-key"}
    return {
        "grants": ["anthropic", "claude", "openai", later],
        "relays": {
            "anthropic": {"url": url, "grant": "anthropic"},
            "subscription": {"url": url, "grant": "claude"},
            "openai": {"url": url},
            "unready": {"url": url, "grant": "later", "api": "anthropic"},
            "away": {"url": unreachable, "grant": "anthropic"},
        },
    }


def write_agent_yaml(folder: Path, config: Config) -> Path:
    """Write the configuration into a folder of its own, as JSON, which is YAML."""
    folder.mkdir(exist_ok=True)
    path = folder / "agent.yaml"
    path.write_text(json.dumps(config))
    return path


async def docker(*arguments: str) -> str:
    """Run docker and return what it prints."""
    ended = await run_to_end(["docker", *arguments], fuse_seconds=BUILD_SECONDS)
    assert ended.status == 0, ended.err
    return ended.out.strip()


async def built_image() -> str:
    """Build the image from what is there, and return its id: a name may be given anew by others."""
    return await docker("build", "-q", "-t", IMAGE, str(ROOT))


@asynccontextmanager
async def relay_container(
    image: str, folder: Path, config: Config
) -> AsyncIterator[ContainedRelay]:
    """Run the image for the length of the context."""
    name = f"relay-acceptance-{uuid.uuid4().hex[:8]}"
    relay = ContainedRelay(write_agent_yaml(folder / "config", config), Log(), name)
    process = await asyncio.create_subprocess_exec(
        *_command(image, name, folder),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    reading = asyncio.create_task(read_log(process, relay.log))
    try:
        await relay.find_ports()
        yield relay
    finally:
        await relay.close_agents()
        await docker("kill", name)
        await process.wait()
        await reading
    relay.check_log()


def _command(image: str, name: str, folder: Path) -> list[str]:
    uid = os.getuid() or 12345
    _write_secrets(folder / "secrets", uid)
    folder.chmod(0o755)  # the container's user must get in
    command = ["docker", "run", "--rm", "--name", name, "--network=host", *_HARDENED]
    command += ["--user", f"{uid}:{uid}"]
    command += [f"--env={name}={value}" for name, value in _ENVIRONMENT.items()]
    command += ["-v", f"{folder}/config:/etc/relay:ro", "-v", f"{folder}/secrets:/run/secrets:ro"]
    return [*command, image]


def _write_secrets(folder: Path, uid: int) -> None:
    folder.mkdir()
    for name, value in SECRETS.items():
        file = folder / name
        file.write_text(value + "\n")
        file.chmod(0o400)
        if os.getuid() == 0:
            os.chown(file, uid, uid)
