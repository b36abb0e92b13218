"""Metrics of two relays, and the clock that they look at."""

import pytest
from prometheus_client import CollectorRegistry

from relay.telemetry import call as call_module
from relay.telemetry.metrics import Metrics, limits
from tests.unit.telemetry.metrics.scrapes import Clock, state


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of two relays and two clients."""
    metrics = Metrics(CollectorRegistry())
    metrics.prepare([state("anthropic"), state("openai")], ["agent", "other"])
    return metrics


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that calls and limits look at."""
    clock = Clock()
    monkeypatch.setattr(call_module, "time", clock)
    monkeypatch.setattr(limits, "time", clock)
    return clock
