"""Relays under test, in this process or in one of their own.

Each relay that ran is asked at its end whether a secret is in its log.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from relay.admin.events import Events
from relay.app import App
from relay.config import load
from relay.proxy.readiness import states_of
from tests.harness import FUSE_SECONDS, ROOT
from tests.harness.configuration import Config, write_configuration
from tests.harness.log import Log
from tests.harness.messages import CHUNKED, PIECE, chunk, chunked_request, request
from tests.harness.peer import Agent, Answer, Caller, Request
from tests.harness.secrets import SECRETS
from tests.harness.upstream import Upstream

Sample = tuple[str, ...]


class Relay:
    """A relay that runs, in this process or in one of its own."""

    def __init__(self, path: Path, log: Log) -> None:
        self.path = path
        self.folder = path.parent
        self.log = log
        self.port = 0
        self.admin_port = 0
        self.return_port = 0
        self._agents: list[Agent] = []

    async def find_ports(self) -> None:
        """Learn from the log where it listens."""
        self.admin_port = int((await self.log.says(r"^admin pages on .*:(\d+)$"))[1])
        self.port = int((await self.log.says(r"^relays on .*:(\d+)$"))[1])

    async def find_return_port(self) -> None:
        """Learn from the log where hops come back."""
        self.return_port = int((await self.log.says(r"^returns on .*:(\d+)$"))[1])

    async def agent(self, *, receive_buffer: int | None = None, port: int = 0) -> Agent:
        """Connect an agent."""
        handle = socket.socket()
        if receive_buffer is not None:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        handle.setblocking(False)  # noqa: FBT003  # the name says what it is
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(handle, ("127.0.0.1", port or self.port))
        except (OSError, asyncio.CancelledError):
            handle.close()
            raise
        _, agent = await loop.create_connection(Agent, sock=handle)
        self._agents.append(agent)
        return agent

    async def ask(self, data: bytes) -> Answer:
        """Send a request on a connection of its own and read its answer."""
        agent = await self.agent()
        answer = await agent.ask(data)
        agent.leave()
        return answer

    async def page(self, path: str, *lines: str, method: str = "GET") -> Answer:
        """Ask for an admin page."""
        agent = await self.agent(port=self.admin_port)
        head = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.admin_port}", *lines]
        answer = await agent.ask("\r\n".join([*head, "", ""]).encode())
        agent.leave()
        return answer

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        """Return the status and the report of /readyz."""
        page = await self.page("/readyz")
        return page.status, json.loads(page.body)

    async def samples(self, name: str, *labels: str, **where: str) -> dict[Sample, float]:
        """Return a metric's samples that are not 0, by the values of these labels."""
        found: dict[Sample, float] = {}
        for family in await self._families(name):
            for each in family.samples:
                fits = all(each.labels.get(key) == value for key, value in where.items())
                if each.name == name and fits and each.value:
                    key = tuple(each.labels[label] for label in labels)
                    found[key] = found.get(key, 0) + each.value
        return found

    async def _families(self, name: str) -> Iterable[Metric]:
        text = (await self.page("/metrics")).body.decode()
        assert name in text
        assert not any(secret in text for secret in SECRETS)
        # The parser takes longer than all else: it gets the lines that were asked for.
        return families_of("".join(line for line in text.splitlines(keepends=True) if name in line))

    async def outcomes(self, count: int = 1) -> dict[Sample, float]:
        """Return ``relay_requests_total`` by outcome and code, once so many calls are over."""
        await self.log.calls(count)
        return await self.samples("relay_requests_total", "outcome", "code")

    async def reloads(self) -> float:
        """Return ``relay_config_reloads_total``, of those that succeeded and those that did not."""
        return sum((await self.samples("relay_config_reloads_total", "result")).values())

    async def in_flight(self) -> float:
        """Return ``relay_requests_in_flight`` of all relays together."""
        return sum((await self.samples("relay_requests_in_flight", "relay")).values())

    async def forget_calls(self) -> None:
        """Empty the log, once all calls so far are in it."""
        while await self.in_flight():
            pass
        # Lines come in order: behind this one there is none of the calls before it.
        await self.ask(request("/relay/nobody/last"))
        while not any(line.get("path") == "/relay/nobody/last" for line in self.log.lines):
            await self.log.more()
        self.check_log()
        self.log.text.clear()

    async def close_agents(self) -> None:
        """Drop the agents that are still there."""
        for agent in self._agents:
            agent.transport.abort()
        for agent in self._agents:
            await agent.lost.wait()

    def check_log(self) -> None:
        """See that no secret is in the log, and no traceback."""
        for line in self.log.text:
            assert not any(secret in line for secret in SECRETS), line
            assert "Traceback" not in line, line


class LocalRelay(Relay):
    """A relay in this process."""

    app: App

    async def all_closed(self) -> None:
        """Wait until there is no agent's connection any more."""
        connections = self.app._agents.connections
        while len(connections):
            connections._changed.clear()
            await connections._changed.wait()

    async def _families(self, name: str) -> Iterable[Metric]:
        # What a scrape would show, without the writing and parsing of a thousand lines.
        self.app._recorder.flush()
        metrics = self.app._metrics
        metrics.show(states_of(self.app.lifecycle.runtime))
        return metrics._registry.restricted_registry([name]).collect()


class RelayProcess(Relay):
    """A relay in a process of its own."""

    process: asyncio.subprocess.Process
    reading: asyncio.Task[None] | None = None
    """Reads its log, up to the end of that."""

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def exit_status(self) -> int:
        """Wait for its end, and for the last line of its log where that is read."""
        async with asyncio.timeout(FUSE_SECONDS):
            if self.reading is not None:
                await self.reading
            return await self.process.wait()

    def stopping_seconds(self) -> float:
        """Return how long it was stopping, by its log: without its process's own end."""
        begun, ended = (self._time_of(text) for text in ("stopping: ", "stopped"))
        return (ended - begun).total_seconds()

    def _time_of(self, beginning: str) -> datetime:
        lines = self.log.lines
        (line,) = (each for each in lines if each.get("message", "").startswith(beginning))
        return datetime.fromisoformat(line["time"])


def events_of(relay: LocalRelay) -> Events:
    """Return what tells the relay's page what runs."""
    listener = relay.app._admin._listener
    assert listener is not None
    return listener._events


def families_of(text: str) -> list[Metric]:
    """Return the metrics in Prometheus' text format."""
    return list(text_string_to_metric_families(text))


def update_configuration(relay: Relay, config: Config) -> None:
    """Put another configuration in the file's place, as editors do."""
    new = relay.folder / "new.yaml"
    new.write_text(json.dumps(config))
    new.replace(relay.path)


@asynccontextmanager
async def running_relay(folder: Path, config: Config) -> AsyncIterator[LocalRelay]:
    """Run a relay in this process for the length of the context."""
    log = Log()
    logger = logging.getLogger("relay")
    logger.addHandler(log)
    level = logger.level
    logger.setLevel(logging.INFO)
    relay = LocalRelay(write_configuration(folder, config), log)
    relay.app = App(load(relay.path))
    running = asyncio.create_task(relay.app.run())
    try:
        await relay.find_ports()
        yield relay
    finally:
        await relay.close_agents()
        relay.app.stop()
        relay.app.stop()
        async with asyncio.timeout(FUSE_SECONDS):
            await running
        logger.removeHandler(log)
        logger.setLevel(level)
    relay.check_log()


@asynccontextmanager
async def relay_process(
    folder: Path,
    config: Config | str,
    environment: Mapping[str, str] | None = None,
    *prefix: str,
) -> AsyncIterator[RelayProcess]:
    """Run ``python -m relay serve`` for the length of the context."""
    relay = RelayProcess(write_configuration(folder, config), Log())
    given = {
        key: os.environ[key] for key in ("PATH", "COVERAGE_PROCESS_START") if key in os.environ
    }
    relay.process = await asyncio.create_subprocess_exec(
        *(*prefix, sys.executable, "-m", "relay", "serve", "--config", str(relay.path)),
        cwd=ROOT,
        env=given | {"RELAY_LOG": "json", "RELAY_SECRETS": str(folder)} | dict(environment or {}),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    relay.reading = asyncio.create_task(read_log(relay.process, relay.log))
    try:
        await relay.find_ports()
        yield relay
    finally:
        await relay.close_agents()
        if relay.process.returncode is None:
            relay.process.kill()
        await relay.process.wait()
        await relay.reading
    relay.check_log()


async def read_log(process: asyncio.subprocess.Process, log: Log) -> None:
    """Take the lines of a relay's log up to its end."""
    assert process.stderr is not None
    async for line in process.stderr:
        log.take(line.decode())


async def begin_upload(agent: Agent, upstream: Upstream) -> tuple[Caller, Request]:
    """Begin a call whose request has begun, with ``up``, and not ended."""
    await agent.send(chunked_request() + chunk(b"up"))
    caller = await upstream.accepted()
    got = await caller.head()
    assert await caller.piece(got) == b"up"
    return caller, got


async def begin_stream(relay: Relay, upstream: Upstream) -> tuple[Agent, Caller]:
    """Begin a call whose answer has begun and not ended."""
    agent = await relay.agent()
    await agent.send(request())
    caller, _ = await upstream.called()
    await caller.send(CHUNKED + chunk(PIECE))
    return agent, caller
