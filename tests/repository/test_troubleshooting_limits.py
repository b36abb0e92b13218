"""Answers of limits on the page docs/troubleshooting.md: each is provoked, and stands there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.harness.configuration import both_relays, configuration
from tests.harness.messages import CHAT, MESSAGES, request
from tests.harness.relay import running_relay
from tests.harness.upstream import Upstream
from tests.repository.test_troubleshooting import entry, lines_of

LIMITS = [{"usd": 0, "per": "day"}, {"at_once": 1}]


async def test_a_limit_that_is_reached(upstream: Upstream, tmp_path: Path) -> None:
    """The page has it with figures of its own; the status of the other shape is named."""
    config = configuration(upstream.port, limits=LIMITS[:1]) | both_relays(upstream.port)
    clients = [{"name": "agent", "token": {"file": "token"}, "limits": LIMITS[:1]}]
    async with running_relay(tmp_path, config | {"clients": clients, "limits": []}) as relay:
        lines = lines_of(await relay.ask(request()))
        found = entry(re.sub(r"at \S+ ", "at 2026-11-27 ", lines))
        answer = await relay.ask(request(CHAT))
        assert f"the status is {answer.status}" in found
        assert lines_of(answer).endswith(lines.partition("\n")[2])


async def test_too_many_at_once(upstream: Upstream, tmp_path: Path) -> None:
    """While another call is in flight."""
    async with running_relay(tmp_path, configuration(upstream.port, limits=LIMITS[1:])) as relay:
        first = await relay.agent()
        await first.send(request())
        await upstream.called()
        assert entry(lines_of(await relay.ask(request())))


async def test_batches(upstream: Upstream, tmp_path: Path) -> None:
    """Under a limit of all clients, too."""
    async with running_relay(tmp_path, configuration(upstream.port, limits=LIMITS[:1])) as relay:
        assert entry(lines_of(await relay.ask(request(f"{MESSAGES}/batches"))))
