"""Limits under test: what a message costs, who is under them, and what is used of them."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.harness.configuration import Config, configuration
from tests.harness.peer import Answer
from tests.harness.recordings import response
from tests.harness.relay import Relay
from tests.harness.upstream import Upstream

# Of claude-opus-4-8, with two searches: see tests/unit/telemetry/ledger/test_bill.py.
DOLLARS: Final = 0.020451
TOKENS: Final = 46
"""Of a message, without those that the cache had."""
SESSION: Final = "x-claude-code-session-id: %s"


def limited(port: int, *limits: dict[str, object], **changes: object) -> Config:
    """Return a configuration whose client is under these limits."""
    client = {"name": "agent", "token": {"file": "token"}, "limits": list(limits)}
    return configuration(port, clients=[client | changes.pop("client", {})], **changes)  # type: ignore[operator]  # a mapping


def refused(answer: Answer) -> dict[str, Any]:
    """Return the error of an answer that a limit refused."""
    assert answer.values("x-relay-error") == [b"limit"]
    error: dict[str, Any] = json.loads(answer.body)["error"]
    return error


async def used(relay: Relay) -> dict[tuple[str, ...], float]:
    """Return how much of each limit is used, as a share."""
    return await relay.samples("relay_limit_used_ratio", "client", "limit")


async def amounts(relay: Relay) -> dict[tuple[str, str], float]:
    """Return what is used of each limit, by client and limit; of sessions, by these."""
    page = json.loads((await relay.page("/calls")).body)
    found = {}
    for each in page["limits"]:
        name = each["limit"] if "session" not in each else f"{each['limit']} {each['session']}"
        found[each["client"], name.strip()] = each["used"]
    return found


def answer_in_background(upstream: Upstream) -> None:
    """Have a response be queued by POST, and be there by GET: 1,000 tokens in, 2,000 out."""
    usage = {"input_tokens": 1000, "output_tokens": 2000}
    begun = response(status="queued", output=[], usage=None)
    done = response(status="completed", output=[], usage=usage)
    upstream.answer_with(lambda sent: begun if sent.method == b"POST" else done)
