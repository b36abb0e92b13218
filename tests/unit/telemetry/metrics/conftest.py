"""Metrics of two relays, and the clock that they look at."""

import pytest
from prometheus_client import CollectorRegistry

from relay.telemetry import call as call_module
from relay.telemetry.metrics import Metrics, limits
from tests.harness.clock import SetClock
from tests.unit.telemetry.metrics.scrapes import NOW, state


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of two relays and two clients."""
    metrics = Metrics(CollectorRegistry())
    metrics.prepare([state("anthropic"), state("openai")], ["agent", "other"])
    return metrics


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """The clock that calls and limits look at."""
    clock = SetClock(day=NOW)
    monkeypatch.setattr(call_module, "time", clock)
    monkeypatch.setattr(limits, "time", clock)
    return clock
