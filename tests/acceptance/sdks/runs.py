"""A client's calls, straight to the API and through the relay, to be held side by side."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.acceptance import environments
from tests.acceptance.container import ContainedRelay, docker
from tests.acceptance.sdks.provider import Provider
from tests.harness.peer import Ending, Request
from tests.harness.processes import run_to_end
from tests.harness.relay import Sample
from tests.harness.secrets import KEY, OPENAI_KEY, TOKEN

CLIENTS: Final = Path(__file__).with_name("clients")
LOCKS: Final = Path(__file__).with_name("locks")
FUSE_SECONDS: Final = 120.0
# How long whoever left is waited for at the end of the line; the relay has a second for it.
HANG_UP_SECONDS: Final = 5.0
Facts = dict[str, object]
Calls = list[tuple[str, int, str]]
"""Operation, status (0: none came) and outcome of each, from the log."""
CASES: Final[dict[str, dict[str, Calls]]] = {
    api: {name: [*map(tuple, case["log"])] for name, case in cases.items() if "log" in case}
    for api, cases in json.loads((CLIENTS / "cases.json").read_text()).items()
}
"""By API and name, the cases that come to the same with the relay and without it."""

_BOUNDARY: Final = re.compile(rb"boundary=\"?([^\";]+)")
_LEFT_OUT: Final = (b"x-api-key", b"authorization", b"connection")


@dataclass(frozen=True)
class Client:
    """An SDK in one of its versions."""

    language: str
    api: str
    generation: str

    def __str__(self) -> str:
        return f"{self.language}-{self.generation}"

    @property
    def key(self) -> str:
        """The real credential of its API."""
        return KEY if self.api == "anthropic" else OPENAI_KEY

    @property
    def path(self) -> str:
        """What of its API's path belongs to the base address."""
        return "" if self.api == "anthropic" else "/v1"

    def command(self) -> list[str]:
        """Return how it is started."""
        if self.language == "python":
            python = environments.python_with(LOCKS / f"sdks-{self.generation}.txt")
            return [str(python), str(CLIENTS / "sdk.py"), self.api]
        packages = environments.node_modules(LOCKS / "node")
        package = packages / f"{self.api}-{self.generation}"
        return [str(node_in(packages)), str(CLIENTS / "sdk.mjs"), str(package), self.api]

    async def run(self, base_url: str, key: str, cases: list[str]) -> dict[str, Facts]:
        """Make the calls of these cases and return what came of each."""
        return await self.start({"NO_PROXY": "127.0.0.1"}, base_url + self.path, key, *cases)

    async def start(self, environment: Mapping[str, str], *arguments: str) -> dict[str, Facts]:
        """Start it with these arguments and return what it says."""
        ended = await run_to_end(
            [*self.command(), *arguments],
            {"PATH": os.environ["PATH"], **environment},
            fuse_seconds=FUSE_SECONDS,
        )
        assert ended.status == 0, ended.err
        lines = [json.loads(line) for line in ended.out.splitlines()]
        facts = {each.pop("case"): each for each in lines}
        if self.language == "typescript":
            environments.versions[f"{self.api} ({self})"] = str(facts["version"]["version"])
        return facts


SDKS: Final = {
    f"{api}-{language}-{generation}": Client(language, api, generation)
    for api in CASES
    for language in ("python", "typescript")
    for generation in ("current", "previous")
}


def node_in(packages: Path) -> Path:
    """Return the Node that is locked beside the SDKs: the newest of them want it."""
    (found,) = packages.glob("node-linux-*/bin/node")
    return found


@dataclass(frozen=True)
class Run:
    """What came of a client's cases, what the API got of them, and where it found a token."""

    facts: dict[str, Facts]
    requests: list[Request]
    faults: list[str]
    left: list[Ending]
    """How connections with an open answer ended: by the client's side hanging up."""


async def told(relay: ContainedRelay, agent: str, api: str, *arguments: str) -> str:
    """Return what ``relay env`` says to an agent, asked in the relay's container."""
    here = ("--relay", api, "--host", f"127.0.0.1:{relay.port}")
    return await docker("exec", relay.name, "relay", "env", agent, *here, *arguments)


async def directly(client: Client, provider: Provider, cases: list[str]) -> Run:
    """Have a client call the API itself, with the real key."""
    provider.forget()
    facts = await client.run(provider.url, client.key, cases)
    return await _run(provider, facts)


async def through(
    relay: ContainedRelay,
    client: Client,
    provider: Provider,
    cases: list[str],
    token: str = TOKEN,
    name: str = "",
) -> Run:
    """Have a client call through a relay, by default the one named for its API."""
    provider.forget()
    facts = await client.run(relay.url(name or client.api), token, cases)
    return await _run(provider, facts)


@dataclass(frozen=True)
class Pair:
    """The same cases without the relay and with it, and what the relay says of its own."""

    client: Client
    direct: Run
    relayed: Run
    calls: Calls
    tokens: dict[Sample, float]
    """By model and type, from the metrics."""


async def side_by_side(client: Client, provider: Provider, relay: ContainedRelay) -> Pair:
    """Run a client's cases both ways."""
    cases = [*CASES[client.api]]
    direct = await directly(client, provider, cases)
    await relay.begin_again()
    relayed = await through(relay, client, provider, cases)
    lines = await relay.log.calls(len(relayed.requests))
    calls = [(line["operation"], line.get("status", 0), line["outcome"]) for line in lines]
    where = {"relay": client.api, "client": "agent"}
    tokens = await relay.samples("relay_tokens_total", "model", "type", **where)
    return Pair(client, direct, relayed, calls, tokens)


async def _run(provider: Provider, facts: dict[str, Facts]) -> Run:
    left: list[Ending] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HANG_UP_SECONDS):
            while len(left) < provider.left_open:
                left.append(await provider.left.get())
    return Run(facts, list(provider.requests), list(provider.faults), left)


def as_sent(request: Request) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """Return a request's start, its header lines by name, and its body, all without chance in it.

    What the relay is to change is left out: the credential, and what concerns one connection.
    """
    fields = [(name.lower(), value) for name, value in request.fields]
    kept = sorted(pair for pair in fields if pair[0] not in _LEFT_OUT)
    found = _BOUNDARY.search(b" ".join(request.values("content-type")))
    if not found:
        return request.start, kept, request.body
    boundary = found[1]
    kept = [(name, value.replace(boundary, b"BOUNDARY")) for name, value in kept]
    return request.start, kept, request.body.replace(boundary, b"BOUNDARY")


def part(of: object, *path: str | int) -> object:
    """Return what is at a path in data from JSON."""
    for step in path:
        assert isinstance(of, dict | list)
        of = of[step]  # type: ignore[index]  # a wrong kind of step fails the test, as it should
    return of
