"""Claude Code's subagents, as the relay's own pages and `relay usage` tell them apart."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.api import Api, Plan, Usage, says, uses
from tests.acceptance.claude import FUSE_SECONDS, Claude
from tests.harness import ROOT
from tests.harness.configuration import configuration
from tests.harness.processes import run_to_end
from tests.harness.relay import LocalRelay, running_relay

pytestmark = pytest.mark.asyncio(loop_scope="session")


def delegates(prompt: str) -> Plan:
    """Plan that the work is given to a subagent, which is waited for."""
    order = {"description": "look", "prompt": prompt, "subagent_type": "general-purpose"}
    return uses("Agent", order | {"run_in_background": False}, Usage(input=10, output=1))


async def test_a_subagents_subagent_is_seen_as_such(
    api: Api, claude: Claude, tmp_path: Path
) -> None:
    """In the log, on /calls and in the ledger: session, agent, and the agent that began it."""
    claude.tools = ["Agent"]
    port = int(api.url.rpartition(":")[2])
    ledger = tmp_path / "ledger.db"
    config = configuration(port, ledger={"path": str(ledger)})
    async with running_relay(tmp_path, config) as relay:
        api.plan(
            delegates("Look deeper."),
            delegates("Look still deeper."),
            says("Deepest.", Usage(input=40, output=4)),
            says("Deeper.", Usage(input=20, output=2)),
            says("Done.", Usage(input=10, output=1)),
        )
        url = f"http://127.0.0.1:{relay.port}/relay/anthropic"
        session = await claude.run(url, "Look.")
        assert session.results == ["Done."]
        lines = await relay.log.calls(5)
        page = await calls_of(relay)
    name = session.of("ResultMessage")[0]["session_id"]
    child, grandchild = (
        api.messages[number].values("x-claude-code-agent-id")[0] for number in (1, 2)
    )
    assert child != grandchild
    places = [(name, None, None), (name, child, None), (name, grandchild, child)]
    assert [place_of(line) for line in lines] == [*places, *reversed(places[:2])]
    assert [place_of(call) for call in page] == [place_of(line) for line in lines]
    rows = await reported(ledger)
    assert {(row["session"], row["agent"], row["parent"]): row["input"] for row in rows} == dict(
        zip(places, (20, 30, 40), strict=True)
    )


def place_of(call: dict[str, Any]) -> tuple[str | None, ...]:
    """Return session, agent and parent of a call, as the log and /calls have it."""
    return tuple(call.get(key) for key in ("session_id", "agent_id", "parent_agent_id"))


async def calls_of(relay: LocalRelay) -> list[dict[str, Any]]:
    """Return the last calls as /calls has them."""
    page: dict[str, list[dict[str, Any]]] = json.loads((await relay.page("/calls")).body)
    return page["recent"]


async def reported(ledger: Path) -> list[dict[str, Any]]:
    """Return the rows of `relay usage agents`."""
    command = [sys.executable, "-m", "relay", "usage", "agents", "--json", "--ledger", str(ledger)]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    ended = await run_to_end(command, environment, fuse_seconds=FUSE_SECONDS)
    assert ended.status == 0, ended.err
    rows: list[dict[str, Any]] = json.loads(ended.out)["rows"]
    return rows
