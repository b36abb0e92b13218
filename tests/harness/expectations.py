"""What several suites expect of the relay, whatever went wrong."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from typing import Final

from tests.harness import FUSE_SECONDS
from tests.harness.peer import Answer, Peer

GONE_SECONDS: Final = 1.0
"""How long an upstream call may outlive the reason for its end."""


def check_error(answer: Answer, status: int, outcome: str, error_type: str) -> None:
    """See that an answer is one of the relay's own, in Anthropic's shape."""
    assert answer.complete
    assert (answer.status, answer.outcome, answer.error["type"]) == (status, outcome, error_type)
    assert set(json.loads(answer.body)) == {"type", "error"}
    assert json.loads(answer.body)["type"] == "error"
    assert answer.values("server") == []
    text = answer.body.lower()
    for word in (b"localhost", b"127.0.0.1", b"python", b"aiohttp", b"errno", b"invalid x-api-key"):
        assert word not in text


async def check_gone(peer: Peer) -> None:
    """See that the relay ends a connection within a second."""
    async with asyncio.timeout(GONE_SECONDS):
        await peer.gone()


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds that nothing tells of, looked at every few milliseconds."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(FUSE_SECONDS):
        while not holds():
            turn = loop.create_future()
            loop.call_later(0.005, turn.set_result, None)
            await turn


def wait_for(holds: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + FUSE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        os.sched_yield()
