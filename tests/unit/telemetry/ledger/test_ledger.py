"""Calls on their way to the sums and to the file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from relay.config import load
from relay.telemetry.access_log import set_up
from relay.telemetry.call import CallRecord
from relay.telemetry.ledger.ledger import Ledger
from relay.telemetry.metrics import Metrics
from relay.telemetry.prices import Prices
from relay.telemetry.recent_calls import RecentCalls
from relay.telemetry.recorder import Recorder
from tests.harness.messages import response_head
from tests.harness.model_answers import JSON, message_body

pytestmark = pytest.mark.usefixtures("logging_as_it_was")

AGENT = """
ledger: {{path: {path}}}
grants: [anthropic]
claude: {{base_url: 'http://localhost:8787'}}
clients: [{{name: agent, token: {{env: A}}, limits: [{{tokens: 1, per: day}}]}}]
"""


def a_call() -> CallRecord:
    """Return an agent's call that is sent."""
    record = CallRecord(method="POST", operation="messages", sent_at=1.0, client="agent")
    record.is_counted, record.request_bytes = True, 40_000
    return record


async def test_a_line_of_the_log_comes_between_no_call_and_its_cost(
    path: Path, tmp_path: Path
) -> None:
    """The first one's limit is told of, before which all calls are noted that are over.

    The second was left, in a session whose prompt was in the cache: so that is what it costs.
    """
    (tmp_path / "agent.yaml").write_text(AGENT.format(path=path))
    set_up("json")
    ledger = Ledger()
    ledger.configure(load(tmp_path / "agent.yaml", {}), Prices(unknown={"input": 15, "output": 75}))
    recorder = Recorder(Metrics(CollectorRegistry()), RecentCalls(), ledger.take)
    whole, left = a_call(), a_call()
    whole.answered(response_head(200, ("content-type", JSON)))
    assert whole.meter is not None
    whole.meter.feed(message_body(), whole.started)
    whole.succeeded()
    for record in (whole, left):
        recorder.end(record)
    recorder.count()
    await ledger.close()
    assert left.bill is not None
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT cache_read, estimate FROM calls ORDER BY id").fetchall()
    assert rows == [(7, 0), (None, left.bill.estimate)]
