"""The API at the end of the line and the relay's image in front of it, for every client's tests.

All of it runs on one event loop for the whole session: a module of tests says
`pytestmark = pytest.mark.asyncio(loop_scope="session")`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from tests.acceptance import environments
from tests.acceptance.api import Api, running_api
from tests.acceptance.claude import Claude, installed_claude
from tests.acceptance.container import ContainedRelay, built_image, forwarding_to, relay_container
from tests.harness.upstream import Upstream, running_upstream


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Only processes and sockets are waited for: asyncio's own loop does."""
    return {"asyncio": asyncio.new_event_loop}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the relay was tested with."""
    if environments.versions:
        terminalreporter.section("clients")
        for name, version in sorted(environments.versions.items()):
            terminalreporter.write_line(f"{name} {version}")


@pytest.fixture(scope="session")
def nowhere() -> Iterator[str]:
    """An address where nobody listens, nor will for as long as the tests run."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_api() -> AsyncIterator[Api]:
    """The API at the end of the line."""
    async with running_api() as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def relay_image() -> str:
    """The id of the image, built from what is there."""
    return await built_image()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_relay(
    relay_image: str, shared_api: Api, nowhere: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ContainedRelay]:
    """The relay in its container."""
    folder = tmp_path_factory.mktemp("relay")
    config = forwarding_to(shared_api.url, nowhere)
    async with relay_container(relay_image, folder, config) as running:
        yield running


@pytest.fixture
def api(shared_api: Api) -> Iterator[Api]:
    """The API with nothing planned and an empty record; at the end it is asked for faults."""
    shared_api.begin_again()
    yield shared_api
    shared_api.check()


@pytest_asyncio.fixture(loop_scope="session")
async def relay(shared_relay: ContainedRelay, api: Api) -> AsyncIterator[ContainedRelay]:
    """The relay with an empty log, counting from here; at the end no secret is in its log."""
    await shared_relay.begin_again()
    yield shared_relay
    shared_relay.check_log()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def trap() -> AsyncIterator[Upstream]:
    """Where an LLM proxy may be led to; it refuses in its own way, and keeps count."""
    async with running_upstream() as running:
        running.answer_with(b"HTTP/1.1 418 X\r\ncontent-length: 0\r\n\r\n")
        yield running


@pytest.fixture
def caught(trap: Upstream) -> Upstream:
    """The trap, with nothing in it."""
    trap.requests.clear()
    return trap


@pytest.fixture(scope="session")
def claude_python() -> Path:
    """A Python with the Agent SDK, and Claude Code in it."""
    return installed_claude()


@pytest_asyncio.fixture(loop_scope="session")
async def claude(claude_python: Path, tmp_path: Path) -> AsyncIterator[Claude]:
    """Claude Code with an empty home; at the end it has tried to reach nobody but the relay."""
    async with running_upstream() as outside:
        outside.answer_with(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
        yield Claude(claude_python, tmp_path / "claude", outside)
        assert [request.start for request in outside.requests] == []
