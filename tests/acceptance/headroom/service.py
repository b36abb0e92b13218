"""Headroom itself, by the image and the service of compose.yaml: what users get, hardening and all.

Only its place (on the host's loopback) and where it sends on to are the test's own, and what a test
wants otherwise. What it would send to OpenAI or Google goes to a trap that keeps count. Its own log
tells what it was asked, so that a page which the agent must not reach is known not to have been
asked for.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from tests.acceptance import environments
from tests.acceptance.container import IMAGE, docker
from tests.harness import ROOT
from tests.harness.messages import request
from tests.harness.peer import Agent, Answer
from tests.harness.ports import free_ports
from tests.harness.processes import run_to_end
from tests.harness.secrets import KEY
from tests.harness.upstream import Upstream

ON_HOST: Final = "tests/acceptance/headroom/on_host.yaml"
READY_SECONDS: Final = 240.0
RUN_SECONDS: Final = 300.0
_ASK_AGAIN_SECONDS: Final = 0.2
_ASKED: Final = re.compile(r"event=proxy_inbound_request .*?path=(\S*)")
_HEALTH_CHECK: Final = "/livez"
_AS_IT_IS: Final[Mapping[str, str]] = {}
_ROUTES: Final = """
import json
from headroom.proxy.models import ProxyConfig
from headroom.proxy.server import create_app
print(json.dumps(sorted({route.path for route in create_app(ProxyConfig()).routes})))
"""


@dataclass
class Headroom:
    """A running Headroom."""

    name: str
    port: int

    @property
    def url(self) -> str:
        """Where the relay finds it."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Agent]:
        """Be connected to it without the relay, as someone on its host could."""
        loop = asyncio.get_running_loop()
        _, agent = await loop.create_connection(Agent, "127.0.0.1", self.port)
        try:
            yield agent
        finally:
            agent.leave()
            await agent.lost.wait()

    async def ask(self, target: str, *lines: str, method: str = "GET", body: str = "") -> Answer:
        """Ask it without the relay; the real key is sent unless another credential is."""
        token = None if any("authorization" in line for line in lines) else KEY
        data = body.encode() if body else None
        async with self.connection() as agent:
            return await agent.ask(request(target, *lines, method=method, body=data, token=token))

    async def log(self) -> str:
        """Return all that it has said so far."""
        status, said = await _run("docker", "logs", self.name)
        assert status == 0, said
        return said

    async def paths_asked(self) -> list[str]:
        """Return the path of every request so far, but for its health check's."""
        return [path for path in _ASKED.findall(await self.log()) if path != _HEALTH_CHECK]

    async def routes(self) -> list[str]:
        """Return the paths of all it serves, as its own program lists them."""
        said = await docker("exec", self.name, "python", "-c", _ROUTES)
        routes = json.loads(said.splitlines()[-1])
        assert isinstance(routes, list)
        return routes

    async def crash(self) -> None:
        """End it without a word."""
        await docker("kill", self.name)

    async def start_again(self) -> None:
        """Start it, as it was, and wait until it is there."""
        await docker("start", self.name)
        await self.healthy()

    async def healthy(self) -> None:
        """Wait until its health check says so; nothing tells of itself."""
        never = asyncio.Event()
        for _ in range(int(READY_SECONDS / _ASK_AGAIN_SECONDS)):
            health = await docker("inspect", "-f", "{{.State.Health.Status}}", self.name)
            if health == "healthy":
                return
            try:
                await asyncio.wait_for(never.wait(), _ASK_AGAIN_SECONDS)
            except TimeoutError:
                continue
        raise AssertionError(await self.log())


async def build() -> None:
    """Build the image as compose.yaml says, and note the version."""
    status, said = await _compose({}, "build", "--quiet", "headroom")
    assert status == 0, said
    version = await docker("run", "--rm", "--network=none", f"{IMAGE}-headroom", "--version")
    environments.versions["Headroom"] = version.split()[-1]


# A busy machine takes longer for the first prompt, which else is passed on as it is.
_PATIENT: Final = {"HEADROOM_COLD_START_FAST_PASS_TIMEOUT_SECONDS": "60"}


@asynccontextmanager
async def running_headroom(
    api_url: str,
    trap: Upstream,
    *more: str,
    without: Iterable[str] = (),
    port: int = 0,
    environment: Mapping[str, str] = _AS_IT_IS,
) -> AsyncIterator[Headroom]:
    """Run the service in front of an API for the length of the context."""
    headroom = Headroom(f"relay-acceptance-{uuid.uuid4().hex[:8]}", port or free_ports(1)[0])
    elsewhere = f"http://127.0.0.1:{trap.port}"
    own = {"HEADROOM_PORT": str(headroom.port), "OPENAI_TARGET_API_URL": elsewhere}
    own |= {"GEMINI_TARGET_API_URL": elsewhere, **_PATIENT, **environment}
    command = ["run", "--detach", "--no-deps", "--name", headroom.name]
    command += [word for name, value in own.items() for word in ("-e", f"{name}={value}")]
    command.append("headroom")
    arguments = [each for each in await _arguments() if each not in without]
    variables = {"HEADROOM_UPSTREAM": api_url}
    status, said = await _compose(variables, *command, *arguments, *more)
    assert status == 0, said
    try:
        await headroom.healthy()
        yield headroom
    finally:
        await docker("rm", "--force", headroom.name)


async def _arguments() -> list[str]:
    status, said = await _compose({}, "config", "--format=json")
    assert status == 0, said
    command = json.loads(said[said.index("{") :])["services"]["headroom"]["command"]
    assert isinstance(command, list)
    return command


async def _compose(variables: dict[str, str], *arguments: str) -> tuple[int, str]:
    project = ["docker", "compose", "-f", "compose.yaml", "-f", ON_HOST]
    project += ["--project-name", "relay-acceptance", "--profile", "headroom"]
    return await _run(*project, *arguments, variables=variables | {"RELAY_IMAGE": IMAGE})


async def _run(*command: str, variables: Mapping[str, str] = _AS_IT_IS) -> tuple[int, str]:
    environment = os.environ | variables
    ended = await run_to_end(command, environment, fuse_seconds=RUN_SECONDS, folder=ROOT)
    return ended.status, ended.out + ended.err
