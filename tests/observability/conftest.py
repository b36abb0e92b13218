"""One Prometheus for all queries: it scrapes a relay that is well, and all kinds of others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from tests.harness.ports import free_ports
from tests.observability.exposition import Relay, served
from tests.observability.prometheus import Prometheus, running


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus with samples of four targets: well, troubled, dead, and not a relay at all."""
    with (
        served(Relay(troubled=False).registry) as well,
        served(Relay(troubled=True).registry) as troubled,
        served(CollectorRegistry()) as stranger,
    ):
        (dead,) = free_ports(1)
        ports = {"well": well, "troubled": troubled, "stranger": stranger, "dead": dead}
        targets = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        with running(tmp_path_factory.mktemp("prometheus"), targets) as found:
            yield found
