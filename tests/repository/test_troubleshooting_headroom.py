"""The page docs/troubleshooting.md: what Headroom and the API answer, as it comes through.

Headroom is the stand-in for it, in a process of its own; what it cannot play is an upstream's.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from tests.harness import FUSE_SECONDS, ROOT
from tests.harness.configuration import configuration
from tests.harness.messages import MESSAGES, request
from tests.harness.peer import Agent
from tests.harness.relay import RelayProcess, relay_process
from tests.harness.upstream import running_upstream
from tests.repository.test_troubleshooting import PAGE, entry

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODES: Final = {
    "invalid x-api-key": ("401", 401, "upstream_error"),
    '{"detail":"Rate limited. Retry after 0.7s"}': ("local429", 429, "upstream_error"),
    "This request would exceed your account's rate limit. Please try again later.": (
        *("429", 429, "upstream_error"),
    ),
    "Service Unavailable": ("503text", 503, "upstream_error"),
    "Failed to connect to upstream API": ("502json", 502, "upstream_error"),
    "Overloaded": ("529", 529, "upstream_error"),
    "Upstream connection was interrupted": ("error_midstream", 200, "stream_error"),
}
"""What is shown: the stand-in's mode, the status, and the outcome in the log."""
EXPIRED: Final = (
    "OAuth token has expired. Please obtain a new token or refresh your existing token."
)


@dataclass
class Stage:
    """A relay before the stand-in."""

    relay: RelayProcess
    port: int

    async def play_next(self, mode: str) -> None:
        """Tell the stand-in how to answer the next call."""
        _, agent = await asyncio.get_running_loop().create_connection(Agent, "127.0.0.1", self.port)
        body = json.dumps({"mode": mode}).encode()
        answer = await agent.ask(request("/standin/next", body=body))
        assert answer.status == 200
        agent.leave()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Both in processes of their own."""
    headroom = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.headroom", "--port", "0"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert headroom.stdout is not None
    async with asyncio.timeout(FUSE_SECONDS):
        port = int((await headroom.stdout.readline()).rsplit(b":", 1)[1])
    async with relay_process(tmp_path_factory.mktemp("relay"), configuration(port)) as relay:
        yield Stage(relay, port)
    headroom.terminate()
    await headroom.wait()


@pytest.mark.parametrize("shown", MODES)
async def test_an_answer_of_headrooms(stage: Stage, shown: str) -> None:
    """It comes through with its status, and the relay does not sign it."""
    mode, status, outcome = MODES[shown]
    await stage.relay.forget_calls()
    await stage.play_next(mode)
    body = {"model": "claude-test", "stream": status == 200, "max_tokens": 9, "messages": []}
    answer = await stage.relay.ask(request(body=json.dumps(body).encode()))
    assert (answer.status, answer.outcome) == (status, "")
    # The stand-in's JSON has spaces where Headroom's own has none.
    assert shown in answer.body.decode().replace('": "', '":"')
    assert str(status) in entry(shown)
    (call,) = await stage.relay.log.calls()
    assert call["outcome"] == outcome
    assert f"`{outcome}`" in entry(shown) or outcome == "upstream_error"


async def test_an_expired_token(tmp_path: Path) -> None:
    """As the API says it; the relay reads the file again."""
    error = {"type": "authentication_error", "message": EXPIRED}
    body = json.dumps({"type": "error", "error": error}).encode()
    head = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with running_upstream() as upstream:
        upstream.answer_with(head + body)
        async with relay_process(tmp_path, configuration(upstream.port)) as relay:
            answer = await relay.ask(request(MESSAGES))
    assert (answer.status, answer.outcome, answer.error["message"]) == (401, "", EXPIRED)
    assert "401" in entry(EXPIRED)


async def test_every_answer_of_theirs_is_provoked() -> None:
    """The section shows nothing else."""
    section = PAGE.split("\n## Answers of Headroom's and of the API\n")[1].split("\n## ")[0]
    shown = [part.split("```\n")[1].rstrip("\n") for part in section.split("\n### ")[1:]]
    assert set(shown) == {*MODES, EXPIRED} - {"Upstream connection was interrupted"}
